"""Whether the artefacts that a row of a table names are one run: each made from the next, with the numbers it says."""

from collections.abc import Iterator, Mapping
from typing import Any

from capacity.audit.findings import Level
from capacity.audit.folder import Artefact, Folder
from capacity.tables.naming import FULL_PRECISION
from capacity.tables.table import GROUP_COLUMNS

# Of a row: an artefact, the role of a parent in its manifest, and the artefact that this has to be.
LINKS = (
    ("probe", "variant", "variant"),
    ("probe", "tokenizer", "tokenizer"),
    ("probe", "dataset", "dataset"),
    ("variant", "checkpoint", "checkpoint"),
    ("checkpoint", "tokenizer", "tokenizer"),
    ("checkpoint", "dataset", "dataset"),
)
# Of a row: an artefact, and where in its specification a column stands.
NUMBERS = (
    *(("dataset", (column,)) for column in ("N", "kind")),
    ("checkpoint", ("seed",)),
    *(("checkpoint", ("regime", column)) for column in ("exposures", "lr", "batch", "zipf")),
    *(("checkpoint", ("model", column)) for column in ("l", "h")),
)
# What the seeds of one point share: their rows differ in none of these, nor do what they name in specification.
POINT = [column for column in GROUP_COLUMNS if column != "bits_per_weight"]
SHARED = ("dataset", "tokenizer", "checkpoint", "variant")
OF_A_SEED = ("seed", "files")


def check_chain(table: Artefact, folder: Folder, level: Level) -> None:
    """Each row of a table's specification is one run; what is not here is a finding elsewhere."""
    said = table.manifest.settings.get("rows")
    points: dict[str, dict[str, Any]] = {}
    for line, row in enumerate(said if isinstance(said, list) else (), start=2):
        if isinstance(row, dict):
            where = f"{table.name}, line {line} of its table"
            for what in _breaks(row, folder.artefacts):
                level.fault("row of several runs", where, what)
            for what in _mislabelled(row, folder.artefacts, points):
                level.fault("wrong label", where, what)


def _mislabelled(
    row: dict[str, Any], artefacts: Mapping[str, Artefact], points: dict[str, dict[str, Any]]
) -> Iterator[str]:
    """Labels that are not of what they stand beside: one label is one specification, and `none` rounds nothing.

    points: what the rows so far named, by their labels.
    """
    variant = artefacts.get(_named(row, "variant"))
    method = variant.manifest.settings.get("method") if variant else None
    if variant and row.get("scheme") == FULL_PRECISION and method != "none":
        yield f"the scheme is {FULL_PRECISION}, {variant.name} was made by {method}"
    known = points.setdefault(str([row.get(column) for column in POINT]), {})
    for stage in SHARED:
        made = artefacts.get(_named(row, stage))
        if made:
            told = {key: value for key, value in made.manifest.settings.items() if key not in OF_A_SEED}
            if known.setdefault(stage, told) != told:
                yield f"{made.name} is of another specification than that of the row's other seeds"


def _breaks(row: dict[str, Any], artefacts: Mapping[str, Artefact]) -> Iterator[str]:
    for stage, role, parent in LINKS:
        made = artefacts.get(_named(row, stage))
        source = made.manifest.parents.get(role) if made else None
        if made and _people(source, artefacts) != _named(row, parent):
            yield f"{made.name} was made from {source}, the row names {_named(row, parent)}"
    for stage, (*above, column) in NUMBERS:
        made = artefacts.get(_named(row, stage))
        found: Any = made.manifest.settings if made else {}
        for key in above:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict) and column in found and column in row and found[column] != row[column]:
            yield f"{column} is {row[column]}, of {_named(row, stage)} it is {found[column]}"


def _named(row: dict[str, Any], stage: str) -> str:
    return f"{stage}s/{row.get(f'{stage}_id')}"


def _people(name: Any, artefacts: Mapping[str, Artefact]) -> Any:
    """A dataset by name; of texts that a rewriter wrote, that of their people."""
    texts = artefacts.get(name) if isinstance(name, str) and name.startswith("rewritings/") else None
    return texts.manifest.parents.get("dataset") if texts else name
