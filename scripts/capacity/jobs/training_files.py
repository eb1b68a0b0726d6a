"""What a training under way shows to others: its position, replaced every two seconds, and its curve, which grows.

Both lie beside the resume state, outside the artefact. A session writes the curve anew from the rows that its saved
state has, so that rows after the resumed step are gone; the artefact's own metrics.csv is written from the same rows at
the end. A disk that takes nothing stops a training when it saves, never here.
"""

import contextlib
import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from capacity.artefacts.manifest import write_atomically
from capacity.jobs.run_loggers import start_loggers

POSITION, CURVE = "progress.json", "metrics.csv"
SECONDS = 2.0  # between writes

Row = dict[str, float]  # step, loss, lr; exposures and tokens where they are counted


@dataclass(frozen=True)
class Position:
    """Where a training is. exposures: in all; None where they are not counted. loss: of the latest step, nats a token.

    seconds_left: None before the first step of a session. time: time.time() of this position.
    """

    step: int
    steps: int
    exposures: int | None
    loss: float
    tokens_per_second: float
    seconds_left: float | None
    time: float


class TrainingFiles:
    """Files of one session. folder: of the resume state. rows: those of metrics.csv so far, from a number on."""

    def __init__(self, folder: Path, rows: Callable[[int], list[Row]]):
        self.folder, self._rows = folder, rows
        self._written = 0
        self._loggers = start_loggers(folder)
        with contextlib.suppress(OSError):
            (folder / CURVE).unlink(missing_ok=True)

    def write(self, position: Position) -> None:
        """Replace the position, and append the rows that are new, whole lines at once."""
        new = self._rows(self._written)
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            if new:
                with open(self.folder / CURVE, "a", encoding="utf-8") as file:
                    file.write(_lines(new, head=not self._written))
                self._written += len(new)
                self._log(new)
            write_atomically(self.folder / POSITION, json.dumps(asdict(position)), durable=False)

    def _log(self, rows: list[Row]) -> None:
        for row in rows:
            for logger in self._loggers:
                numbers = {name: value for name, value in row.items() if name != "step"}
                logger.log_metrics(numbers, step=int(row["step"]))

    def close(self) -> None:
        """Have the loggers write what they still hold."""
        for logger in self._loggers:
            logger.finalize("success")


def _lines(rows: list[Row], head: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    if head:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_position(folder: Path) -> Position | None:
    """Where a training is; None where it has not said so, or not as this code does."""
    try:
        return Position(**json.loads((folder / POSITION).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
