"""Tables as text: which cell differs, and whether each row has a run behind it.

A table is looked at as strings under column names, so a new column needs nothing here.
"""

import csv
import io
import math
from pathlib import Path
from typing import Any

from capacity.artefacts.manifest import forcing
from capacity.audit.findings import Level
from capacity.audit.folder import ID_SUFFIX, Artefact, Folder, is_plain_file
from capacity.tables.run_costs import RUNS, runs_text

Row = dict[str, str]
TABLE = "capacity_table.csv"
NOTHING = "nothing"  # an empty cell in a report
SHOWN_CELLS = 20  # of a table that differs
PRECISION = 1e-5  # of a number that a table rounds to six significant digits


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file as text. Raises ValueError where it is none."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
    except FileNotFoundError:
        raise ValueError(f"no {path.name}") from None
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not a table ({type(error).__name__})") from None
    if any(None in row or None in row.values() for row in rows):
        raise ValueError(f"{path.name} has rows of different lengths")
    return rows


def differing_cells(mine: list[Row], other: list[Row]) -> list[tuple[str, str, str]]:
    """Place in the file, my text and the other's, of each cell that differs; then the numbers of rows, if they do."""
    cells = []
    for line, (a, b) in enumerate(zip(mine, other, strict=False), start=2):
        for column in {**a, **b}:
            if a.get(column) != b.get(column):
                cells.append((f"line {line}, column {column}", a.get(column) or NOTHING, b.get(column) or NOTHING))
    if len(mine) != len(other):
        cells.append((f"line {min(len(mine), len(other)) + 2}", f"{len(mine)} rows", f"{len(other)} rows"))
    return cells


def first_difference(copy: Path, original: Path) -> str:
    """Where two tables first differ, in words; nothing where one of them cannot be read."""
    try:
        cells = differing_cells(read_rows(copy), read_rows(original))
    except ValueError:
        return ""
    if not cells:
        return ""
    place, mine, other = cells[0]
    more = f" (and {len(cells) - 1} other cells)" if len(cells) > 1 else ""
    return f"{place}: {mine} here, {other} there{more}"


def check_rows(table: Artefact, folder: Folder, level: Level) -> None:
    """Each row of a table's files names artefacts that exist; those of the table itself, one a variant, have the order
    and the labels of its specification.
    """
    lineage = {name.partition("/")[2] for name in folder.lineage([table.name])}
    known = {name.partition("/")[2] for name in folder.artefacts}
    said = table.manifest.settings.get("rows")
    for name in [entry for entry in table.manifest.outputs if entry.endswith(".csv")]:
        file = table.folder / name
        try:
            rows = read_rows(file)
        except ValueError:
            continue  # missing or damaged, which is a finding already
        where = file.relative_to(folder.results).as_posix()
        ids = [column for column in (rows[0] if rows else {}) if column.endswith(ID_SUFFIX)]
        for line, row in enumerate(rows, start=2):
            for column in ids:
                _check_id(row[column], f"{where} line {line}, column {column}", lineage, known, level)
        if name == TABLE and isinstance(said, list):
            _check_labels(rows, said, where, level)


def check_runs(table: Artefact, folder: Folder, level: Level) -> None:
    """runs.csv says what the manifests of the table's trainings say, of those that are there."""
    path, said = folder.results / RUNS, table.manifest.settings.get("rows")
    if not is_plain_file(path) or not isinstance(said, list):
        return
    try:
        here = read_rows(path)
        stated = list(csv.DictReader(io.StringIO(runs_text(said, folder.results))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        level.fault("copy differs", RUNS, f"cannot be told from the manifests ({type(error).__name__})")
        return
    for place, mine, other in differing_cells(here, stated)[:SHOWN_CELLS]:
        what = f"{mine}; the manifests say {other}; {forcing([folder.results / TABLE])} writes it anew"
        level.fault("copy differs", f"{RUNS} {place}", what)


def _check_id(identity: str, where: str, lineage: set[str], known: set[str], level: Level) -> None:
    if identity and identity not in lineage:
        what = "an artefact that this table was not made from" if identity in known else "no artefact of this folder"
        level.fault("row without a run", where, f"{identity} is {what}")


def _check_labels(rows: list[Row], said: list[Any], where: str, level: Level) -> None:
    """Rows against the specification that the table was made from."""
    if len(rows) != len(said):
        level.fault("row without a run", where, f"has {len(rows)} rows, {len(said)} variants were tabulated")
    for line, (row, given) in enumerate(zip(rows, said, strict=False), start=2):
        for column in row.keys() & given.keys() if isinstance(given, dict) else ():
            if not same_value(row[column], given[column]):
                level.fault(
                    "cell differs", f"{where} line {line}, column {column}", f"{row[column]}, specified {given[column]}"
                )


def same_value(text: str, value: Any) -> bool:
    """Whether a table's text stands for a specified value; numbers are rounded there."""
    if value is None:
        return text == ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return text == str(value)
    try:
        return math.isclose(float(text), value, rel_tol=PRECISION)
    except ValueError:
        return False
