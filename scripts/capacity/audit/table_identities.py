"""What a capacity table says twice: R as bits and parameters, its bound, the rate that is chosen, and its summary.

None of it needs the scores, which a release leaves out.
"""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from capacity.audit.findings import Level
from capacity.audit.folder import Artefact
from capacity.audit.published_tables import SHOWN_CELLS, TABLE
from capacity.errors import UserError
from capacity.tables.summary import summarise
from capacity.tables.table import GROUP_COLUMNS, TRAINED_FOR, chosen, read_table

SUMMARY = "capacity_summary.csv"
ROUNDED = 2e-5  # relative, of numbers that follow from such as have six significant digits

# Columns that follow from others of their row.
FOLLOWS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "bits_stored": lambda t: t["bits_name"] + t["bits_value"] + t["bits_diversity"],
    "R": lambda t: t["bits_stored"] / t["P"],
    "R_max": lambda t: t["bits_offered"] / t["P"],
    "bits_per_weight_bit": lambda t: t["bits_stored"] / t["weight_bits"],
}
BOUNDED = ("R", "R_calibrated", "R_extractable")  # by R_max


def check_identities(table: Artefact, level: Level) -> None:
    """Each number that follows from others of the table does, and none is above what the facts hold."""
    where = f"{table.name}/{TABLE}"
    try:
        rows = read_table(table.folder / TABLE)
    except UserError as error:
        level.fault("no table", where, str(error).partition(": ")[2])
        return
    for column, follow in FOLLOWS.items():
        _hold(rows, column, follow(rows.astype({"P": float, "weight_bits": float})), where, level)
    for column in (name for name in BOUNDED if name in rows):
        for line in rows.index[rows[column] > rows["R_max"] * (1 + ROUNDED)]:
            what = f"{rows[column][line]:g} is above R_max, {rows['R_max'][line]:g}: more than the facts hold"
            level.fault("impossible number", f"{where} line {line + 2}, column {column}", what)
    nudged = rows.assign(R=rows["R"] + ROUNDED * rows["chosen"])  # of rates that six digits do not tell apart, either
    _hold(rows, "chosen", chosen(nudged, _trained_for(table, rows)), where, level)
    _check_summary(table, rows, level)


def _trained_for(table: Artefact, rows: pd.DataFrame) -> pd.Series | None:
    """The scheme that each row's regime rounds to in training, where the table's specification tells it."""
    said = table.manifest.settings.get("rows")
    if not isinstance(said, list) or len(said) != len(rows):
        return None
    told = [row.get(TRAINED_FOR) if isinstance(row, dict) else None for row in said]
    return pd.Series(told, rows.index, dtype=object)


def _check_summary(table: Artefact, rows: pd.DataFrame, level: Level) -> None:
    """The summary is that of the table."""
    where = f"{table.name}/{SUMMARY}"
    try:
        made = summarise(rows)
        here = pd.read_csv(table.folder / SUMMARY, keep_default_na=False, na_values={"R_calibrated": [""]})
    except (UserError, OSError, ValueError) as error:
        level.fault("no table", where, str(error)[:200])
        return
    if len(made) != len(here) or (missing := [column for column in GROUP_COLUMNS if column not in here]):
        what = f"has {len(here)} rows, the table gives {len(made)}" if len(made) != len(here) else f"no {missing[0]}"
        level.fault("cell differs", where, what)
        return
    for column in [column for column in made if column in here]:
        _hold(here, column, made[column], where, level)


def _hold(table: pd.DataFrame, column: str, other: pd.Series, where: str, level: Level) -> None:
    """Fault cells that are not what follows from others, to the digits that the largest of the column has."""
    numbers = pd.to_numeric(other, errors="coerce").abs()
    far, shown = ROUNDED * max(1.0, float(numbers.max(skipna=True) or 0.0)), 0
    for line, (a, b) in enumerate(zip(table[column], other, strict=True), start=2):
        if not _same(a, b, far) and (shown := shown + 1) <= SHOWN_CELLS:
            level.fault("cell differs", f"{where} line {line}, column {column}", f"{a}; from the table follows {b}")


def _same(a: Any, b: Any, far: float) -> bool:
    """Whether two cells say the same; an empty one is no number."""
    try:
        x, y = _number(a), _number(b)
    except (TypeError, ValueError):
        return str(a) == str(b)
    return abs(x - y) <= far or (math.isnan(x) and math.isnan(y))


def _number(cell: Any) -> float:
    return math.nan if cell is pd.NA or cell == "" else float(cell)
