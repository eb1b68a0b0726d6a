"""One audit from its options to its report: the levels in order, each told what earlier ones found."""

import contextlib
import fcntl
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capacity.audit.again import has_tables, retabulate
from capacity.audit.currency import Standing, check_currency, standings
from capacity.audit.determinism import check_determinism
from capacity.audit.disclosure import check_disclosure
from capacity.audit.engine import check_engine
from capacity.audit.execution import Choice, check_execution
from capacity.audit.findings import LEVELS, Level
from capacity.audit.folder import Folder, Published, read_folder
from capacity.audit.integrity import check_integrity, damaged
from capacity.audit.inventory import check_inventory
from capacity.audit.machine import check_machine, differences
from capacity.audit.report import Report
from capacity.audit.tables import check_rows
from capacity.config.models import Config
from capacity.config.resolve import Grid
from capacity.environment import git_state
from capacity.errors import UserError
from capacity.planning import published


@dataclass(frozen=True)
class Options:
    """What to audit and how far."""

    results: Path
    config: Config
    grid: Grid
    levels: tuple[int, ...] = tuple(LEVELS)
    jobs: int = 1
    choice: Choice = field(default_factory=Choice)
    whole: bool = True  # False for an archive from which files were left out
    records: Path | None = None  # the engine's own, where they lie beside the results
    subject: dict[str, Any] = field(default_factory=dict)


def fixed_paths(grid: Grid) -> list[Published]:
    """What the present configuration publishes, whatever artefact lies there now."""
    return [Published(order.stage, files, id_file) for order, files, id_file in published(grid)]


def run_audit(options: Options, say: Callable[[str], None] = lambda line: None) -> Report:
    """Do the levels that are asked for. Raises UserError where the folder cannot be audited at all."""
    if not options.results.is_dir():
        raise UserError(f"{options.results}: no such folder; build a table first, or name another with --results")
    report = Report({"results": str(options.results), "auditing commit": git_state()["commit"], **options.subject})
    with still(options.results), tempfile.TemporaryDirectory(prefix="audit-") as scratch:
        folder = read_folder(options.results, fixed_paths(options.grid), options.whole)
        work = Work(options, folder, Path(scratch))
        for number in sorted(set(options.levels)):
            started = time.monotonic()
            level = work.level(number)
            level.seconds = time.monotonic() - started
            report.levels.append(level)
            say(f"level {number}, {level.title}: {level.grade}")
    return report


class Work:
    """The levels of one audit over one folder."""

    def __init__(self, options: Options, folder: Folder, scratch: Path):
        self.options, self.folder, self.scratch = options, folder, scratch
        self.damaged: set[str] = set()
        self.execution_level: Level | None = None

    def level(self, number: int) -> Level:
        """Do one level."""
        levels = (
            *(self.inventory, self.integrity, self.currency, self.execution),
            *(self.determinism, lambda: check_machine(self.folder), self.disclosure),
        )
        return levels[number - 1]()

    def inventory(self) -> Level:
        grid = self.options.grid
        declared = [name for order in grid.orders.values() for name in (order.name, *(m.name for m in order.members))]
        level = check_inventory(self.folder, declared, self.options.records)
        self.damaged |= set(self.folder.unreadable)
        return level

    def integrity(self) -> Level:
        level = check_integrity(self.folder, self.options.jobs)
        self.damaged |= damaged(level, self.folder.artefacts)
        for root in self.folder.roots():
            artefact = self.folder.artefacts.get(root)
            if artefact and has_tables(artefact):
                check_rows(artefact, self.folder, level)
                if root not in self.damaged:
                    retabulate(self.folder, artefact, self.options.config, self.scratch, level)
        return level

    def execution(self) -> Level:
        found: dict[str, Standing] = standings(self.folder)
        o = self.options
        self.execution_level = check_execution(
            self.folder, o.grid, o.config, o.choice, found, differences(self.folder), o.jobs, self.scratch
        )
        return self.execution_level

    def determinism(self) -> Level:
        return check_determinism(self.folder, self.options.grid, self.options.config, self.options.jobs, self.scratch)

    def disclosure(self) -> Level:
        return check_disclosure(self.folder, self.options.config, self.execution_level)

    def currency(self) -> Level:
        level = check_currency(self.folder, self.options.grid)
        if self.folder.whole:
            check_engine(self.folder, self.options.grid, self.options.config, self.damaged, self.scratch, level)
        else:
            level.facts["engine's dry run"] = "not done: files were left out of the archive"
        return level


@contextlib.contextmanager
def still(results: Path) -> Iterator[None]:
    """Keep runs of this folder from beginning while it is looked at. Raises UserError where one is under way."""
    path = results / "engine.lock"
    if not path.is_file():
        yield
        return
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"{results}: a run is under way here ({file.read().strip()[:100]}); wait for it, or audit a copy"
            ) from None
        yield
