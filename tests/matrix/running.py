"""Rows of the matrix through the real engine."""

import functools
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from checkout import Checkout
from configuration import configuration, name_of, write, write_files
from covering import Covering, Row, cover
from dimensions import FIRST, SECTIONS, SPACE

TABLE = ("results/capacity_table.csv",)
Rows = dict[int, Row]  # by their numbers in the covering


@functools.cache
def covering() -> Covering:
    """The whole matrix, made once a test session."""
    return cover(SPACE, FIRST)


def scale_of(row: Row) -> tuple[str, ...]:
    """The values of a row that describe its scale."""
    return tuple(row[dimension] for dimension in SECTIONS["scales"])


def rows_by_scale(precision: str, devices: str) -> list[Rows]:
    """The rows of a precision and a number of devices, those of one scale together: a run of the engine has one."""
    scales: dict[tuple[str, ...], Rows] = {}
    for number, row in enumerate(covering().rows):
        if (row["precision"], row["devices"]) == (precision, devices):
            scales.setdefault(scale_of(row), {})[number] = row
    return list(scales.values())


def build(folder: Path, rows: Rows, edit: Callable[[Checkout], None] = lambda _: None) -> Checkout:
    """A checkout, edited or not, in which the rows have been run; a job that failed is told with the end of its log.

    rows: of one scale.
    """
    assert len({scale_of(row) for row in rows.values()}) == 1
    checkout = Checkout.new(folder)
    edit(checkout)
    write_files(folder)
    write(configuration(list(rows.values()), list(rows)), folder / "config.yaml")
    sys.path.insert(0, str(folder))  # the module of the user's own models
    answer = checkout.engine("--keep-going", targets=TABLE)
    assert answer.returncode == 0, failures(checkout, rows) or answer.stdout[-3000:]
    return checkout


def is_refused(checkout: Checkout, name: str) -> bool:
    """Plant a file of this name beside a variant's weights, forget what was scored and tabulated, and run again."""
    results = checkout.path / "results"
    variant = next(path for path in sorted((results / "variants").iterdir()) if (path / "model.safetensors").is_file())
    (variant / name).write_text('{"peft_type": "LORA"}\n')
    for stage in ("probes", "tables"):
        shutil.rmtree(results / stage)
    answer = checkout.engine(targets=TABLE)
    errors = [line for line in answer.stdout.splitlines() if line.startswith("error:")]
    return answer.returncode == 1 and len(errors) == 1 and name in errors[0]


def failures(checkout: Checkout, rows: Rows) -> str:
    """The last line of every log that ends with an error, and what the rows were."""
    ends = {
        log.relative_to(checkout.path / "results" / "logs"): lines[-1]
        for log in sorted((checkout.path / "results" / "logs").rglob("*.log"))
        if (lines := log.read_text().splitlines()) and re.search("[Ee]rror", lines[-1])
    }
    told = "\n".join(f"{name_of(number)}: {row}" for number, row in rows.items())
    return "\n".join(f"{log}: {line}" for log, line in ends.items()) + f"\n{told}" if ends else ""
