"""Where one cell of the capacity table comes from, artefact by artefact, down to datasets and outside files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capacity.artefacts.identity import canonical_json, file_digest
from capacity.artefacts.stages import STAGES
from capacity.audit.findings import Level
from capacity.audit.folder import ID_SUFFIX, Artefact, Folder, is_plain_file
from capacity.audit.integrity import artefact_faults
from capacity.audit.published_tables import Row, read_rows
from capacity.errors import UserError
from capacity.tables.extraction_columns import EXTRACTION_COLUMNS

CELL = "cell"  # the last box of the picture


STAGE_OF_ID = {f"{stage.removesuffix('s')}{ID_SUFFIX}": stage for stage in STAGES} | {"answers_id": "answers"}
LAST_LABEL = "scheme"  # of a table's columns, the last that says which variant a row is of


@dataclass(frozen=True)
class Cell:
    """One number of a table, and the artefacts that its row names."""

    path: Path
    line: int
    column: str
    row: Row

    @property
    def value(self) -> str:
        return self.row[self.column]


def find_cell(table: Path, wanted: str) -> Cell:
    """The cell for `LINE:COLUMN`, or for `key=value,key=value:COLUMN` that fits one row. Raises UserError."""
    try:
        rows = read_rows(table)
    except ValueError as error:
        raise UserError(f"{table.parent}: {error}; build it with `make table`") from None
    place, _, column = wanted.rpartition(":")
    columns = list(rows[0]) if rows else []
    if column not in columns:
        raise UserError(f"CELL={wanted}: no column {column!r}; columns are {', '.join(columns)}")
    if place.isdecimal() and len(place) < 10:
        if not 2 <= int(place) <= len(rows) + 1:
            raise UserError(f"CELL={wanted}: no line {place}; rows stand in lines 2 to {len(rows) + 1}")
        return Cell(table, int(place), column, rows[int(place) - 2])
    terms = [term.partition("=") for term in place.split(",") if term]
    for key, sign, _ in terms:
        if not sign or key not in columns:
            raise UserError(f"CELL={wanted}: {key!r} is no column; say LINE:COLUMN or key=value,...:COLUMN")
    found = [(i, row) for i, row in enumerate(rows, start=2) if all(row[key] == value for key, _, value in terms)]
    if len(found) != 1:
        lines = ", ".join(str(i) for i, _ in found[:12]) + (", ..." if len(found) > 12 else "")
        labels = columns[: columns.index(LAST_LABEL) + 1] if LAST_LABEL in columns else columns
        differ = [key for key in labels if not key.endswith(ID_SUFFIX) and len({row[key] for _, row in found}) > 1]
        where = f" (lines {lines}), which differ in {', '.join(differ)}" if found else ""
        raise UserError(f"CELL={wanted}: {len(found)} rows fit{where}; say which")
    return Cell(table, found[0][0], column, found[0][1])


@dataclass
class Lineage:
    """All that a cell follows from, in the order of the flow, with the edges between."""

    cell: Cell
    table: Artefact
    artefacts: list[Artefact]
    edges: list[tuple[str, str]]  # parent, child
    missing: list[str]
    outside: dict[str, str]  # file of the repository -> digest
    damaged: set[str]

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here, every byte as it was made."""
        return not self.missing and not self.damaged


def lineage_of(cell: Cell, folder: Folder) -> Lineage:
    """Follow a cell's row to its beginning and verify every file on the way. Raises UserError for a dead end."""
    here = {name.partition("/")[2]: name for name in folder.artefacts}
    roots = [
        here.get(value, f"{STAGE_OF_ID[column]}/{value}")
        for column, value in cell.row.items()
        if column in STAGE_OF_ID and value and (column != "answers_id" or cell.column in EXTRACTION_COLUMNS)
    ]
    tables = [artefact for artefact in folder.published_artefacts() if _holds(artefact, cell)]
    if not tables:
        raise UserError(f"{cell.path}: is not a copy of an artefact of this folder; `make audit` tells why")
    if not roots:
        raise UserError(f"{cell.path}, line {cell.line}: names no artefact of this folder; `make audit` tells why")
    table = tables[0]
    names = sorted(folder.lineage(roots), key=_in_the_flow)
    closure = [folder.artefacts[name] for name in names if name in folder.artefacts]
    missing = [name for name in names if name not in folder.artefacts]
    edges = [(parent, a.name) for a in closure for parent in a.parents()]
    parents = {parent for parent, _ in edges}
    edges += [(name, table.name) for name in names if name not in parents]
    outside: dict[str, str] = {}
    for artefact in closure:
        files = artefact.manifest.settings.get("files")
        outside |= {str(k): str(v) for k, v in files.items()} if isinstance(files, dict) else {}
    faults = artefact_faults(folder, [*(artefact.name for artefact in closure), table.name], Level(2))
    return Lineage(cell, table, closure, edges, missing, outside, {name for name in faults if faults[name]})


def _in_the_flow(name: str) -> tuple[int, str]:
    """By what names are sorted: stages in their order, what is of none last."""
    stages = list(STAGES)
    stage = name.partition("/")[0]
    return stages.index(stage) if stage in stages else len(stages), name


def _holds(artefact: Artefact, cell: Cell) -> bool:
    entry = artefact.manifest.outputs.get(cell.path.name)
    return entry is not None and is_plain_file(cell.path) and entry.sha256 == file_digest(cell.path)


def as_text(lineage: Lineage) -> str:
    """For the terminal: the cell, then what it follows from, the last step first."""
    cell, table = lineage.cell, lineage.table
    lines = [f"{cell.path.name}, line {cell.line}, column {cell.column}: {cell.value}", ""]
    for artefact in [table, *reversed(lineage.artefacts)]:
        lines += _block(artefact, artefact.name in lineage.damaged)
    lines += [f"{name}   MISSING" for name in lineage.missing]
    if lineage.outside:
        lines.append("files of the repository")
        lines += [f"    {file} {digest[:12]}" for file, digest in sorted(lineage.outside.items())]
    faults = {"missing": len(lineage.missing), "damaged": len(lineage.damaged)}
    state = ", ".join(f"{count} {what}" for what, count in faults.items() if count) or "every byte as it was made"
    return "\n".join([*lines, f"{len(lineage.artefacts) + len(lineage.missing) + 1} artefacts, {state}"])


def _block(artefact: Artefact, is_damaged: bool) -> list[str]:
    m = artefact.manifest
    commit = str(m.git.get("commit") or "no commit")[:9] + (" with changes" if m.git.get("dirty") else "")
    settings = _short(m.settings)
    return [
        artefact.name + ("   DAMAGED" if is_damaged else ""),
        f"    {m.code.script}, code {m.code.digest[:12]}, {commit}, {m.ended}, {m.cpu_seconds:.1f} CPU s, "
        f"{m.hardware.get('cpu')}",
        f"    content {m.content[:12]}" + (f", {settings}" if settings else ""),
    ]


def _short(settings: dict[str, Any]) -> str:
    """A specification in one line, without rows and files."""
    kept = {key: value for key, value in settings.items() if key not in ("rows", "files") and value != {}}
    return canonical_json(kept).replace('\\"', "\0").replace('"', "").replace("\0", '"')[:220]


def draw(lineage: Lineage, path: Path) -> None:
    """The lineage as a picture: stages from left to right, an arrow from parent to child."""
    from matplotlib.figure import Figure

    columns: dict[str, list[str]] = {}
    here = [artefact.name for artefact in lineage.artefacts]
    for name in [*sorted([*here, *lineage.missing], key=_in_the_flow), lineage.table.name]:
        columns.setdefault(name.partition("/")[0], []).append(name)
    height = max(map(len, columns.values()))
    place = {
        name: (x, (height - 1) / 2 + (len(column) - 1) / 2 - y)
        for x, column in enumerate(columns.values())
        for y, name in enumerate(column)
    }
    figure = Figure(figsize=(2.6 * (len(columns) + 1), 1.5 + 0.9 * height))
    axes = figure.subplots()
    boxes = {}
    for name in [name for column in columns.values() for name in column]:
        colour = "tab:red" if name in {*lineage.damaged, *lineage.missing} else "0.3"
        stage, _, identity = name.partition("/")
        said = f"{stage}, missing" if name in lineage.missing else stage
        boxes[name] = _box(axes, place[name], f"{said}\n{identity[:-13]}\n{identity[-12:]}", colour)
    x, y = place[CELL] = (place[lineage.table.name][0] + 1, place[lineage.table.name][1])
    cell = lineage.cell
    boxes[CELL] = _box(axes, (x, y), f"{cell.path.name}\nline {cell.line}\n{cell.column} = {cell.value}", "tab:blue")
    for parent, child in [*lineage.edges, (lineage.table.name, CELL)]:
        far = place[child][0] - place[parent][0] > 1 or place[child][0] == place[parent][0]
        bend = -0.6 / max(1, place[child][0] - place[parent][0]) if far else 0
        style = {"arrowstyle": "->", "color": "0.5", "connectionstyle": f"arc3,rad={bend}"}
        patches = {"patchA": boxes[parent].get_bbox_patch(), "patchB": boxes[child].get_bbox_patch()}
        axes.annotate("", place[child], place[parent], arrowprops={**style, **patches})
    axes.set_xlim(-0.6, x + 0.6)
    axes.set_ylim(-0.7, height + 0.4)
    axes.axis("off")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None} if path.suffix == ".svg" else None)


def _box(axes: Any, place: tuple[float, float], label: str, colour: str) -> Any:
    box = {"boxstyle": "round", "facecolor": "white", "edgecolor": colour}
    return axes.text(*place, label, ha="center", va="center", fontsize=7, bbox=box)
