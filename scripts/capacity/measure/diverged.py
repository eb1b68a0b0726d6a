"""Learning rates at which a training of a study diverged: no number was made, and the others count."""

import re
from collections.abc import Iterator
from pathlib import Path

from capacity.artefacts.manifest import MANIFEST
from capacity.jobs.activity import log_of
from capacity.plan.failures import last_line
from capacity.plan.grid import Grid

SAID = re.compile(r"lr: \S+; the loss is \S+ by step \d+")  # as `capacity.training.loop` ends such a training


def diverged(grid: Grid, results: Path) -> set[tuple[str, float]]:
    """Model and learning rate of each training whose job ended so, in this run or an earlier one of the same spec."""
    return set(_diverged(grid, results))


def _diverged(grid: Grid, results: Path) -> Iterator[tuple[str, float]]:
    for row in grid.table.settings["rows"]:
        spec = grid.specs[f"checkpoints/{row['checkpoint_id']}"]
        log = log_of(spec, results)
        made = (results / spec.name / MANIFEST).is_file()
        if not made and log.is_file() and SAID.match(last_line(log)):
            yield row["model"], row["lr"]
