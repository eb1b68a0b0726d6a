"""Fixed paths: copies of the table, its figures and its claims where people look for them, and of whose they are."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from capacity.artefacts.identity import file_digest
from capacity.artefacts.manifest import read_manifest, write_atomically
from capacity.artefacts.publishing import copies
from capacity.artefacts.spec import Spec
from capacity.errors import UserError, unwritable
from capacity.tables.run_costs import RUNS, runs_text

if TYPE_CHECKING:
    from capacity.plan.grid import Grid

RESULTS, CONFIG_FILE = Path("results"), Path("config.yaml")  # below the checkout, in which every command runs
CLAIMS, CLAIMS_ID = ("claims.csv", "claims.md"), "claims.id"
PUBLISHED_IDS = {"tables": "capacity_table.id", "figures": "figures/capacity_figures.id", "claims": CLAIMS_ID}


def published(grid: "Grid") -> list[tuple[Spec, dict[str, str], str]]:
    """Fixed paths: the artefact, its files and where each is copied, and where the copy's identity stands."""
    table = {"capacity_table.csv": "capacity_table.csv", "capacity_summary.csv": "capacity_summary.csv"}
    figures = {
        f"{name}.{kind}": f"figures/{name}.{kind}"
        for name in figure_names(grid.figures)
        for kind in ("png", "svg", "csv")
    }
    fixed = [
        (grid.table, table, PUBLISHED_IDS["tables"]),
        (grid.figures, figures, PUBLISHED_IDS["figures"]),
    ]
    if grid.claims:
        fixed.append((grid.claims, {name: name for name in CLAIMS}, CLAIMS_ID))
    return fixed


def figure_names(figures: Spec) -> list[str]:
    """The figures of a grid: of all its studies together, the paper's first one, and one a study."""
    return ["capacity", "figure1", *(f"study-{study['name']}" for study in figures.settings["studies"])]


def published_id(identity: Path) -> str:
    """Id of the artefact that a fixed path is a copy of, by the file that says so; empty where none does."""
    return identity.read_text(encoding="utf-8", errors="replace").strip() if identity.is_file() else ""


def withdraw_claims(results: Path) -> None:
    """Remove the published verdicts: they are of an earlier table. What a person changed in them stays."""
    identity = results / CLAIMS_ID
    if not identity.is_file():
        return
    made = results / "claims" / published_id(identity)
    for path in copies(made, results) if made.is_dir() else [results / name for name in CLAIMS]:
        path.unlink(missing_ok=True)
    identity.unlink()


def is_published(artefact: Spec, files: dict[str, str], id_file: str, results: Path) -> bool:
    """Whether the fixed paths hold copies of this artefact and say so.

    files: name in the artefact -> fixed path below results.
    """
    if published_id(results / id_file) != artefact.id or not _copies_match(artefact, files, results):
        return False
    return artefact.stage != "tables" or _runs_match(artefact, results)


def _runs_match(table: Spec, results: Path) -> bool:
    """Whether runs.csv, no file of the artefact, says what the manifests of the table's trainings say."""
    try:
        return (results / RUNS).read_text(encoding="utf-8") == runs_text(table.settings["rows"], results)
    except (OSError, ValueError):
        return False


def stamp_copy(artefact: Spec, files: dict[str, str], id_file: str, results: Path) -> None:
    """Write the stamp of a fixed path, an input of its rule: old while the copy is current, else newer than the copy.

    The text differs each time something is to be published, because the engine takes equal bytes for no change. It is
    a second newer, for file systems that count in seconds, and never newer than what is published after it: where the
    copy is younger than a second, this waits.
    """
    stamp = results / "specs" / f"{Path(id_file).stem}.stamp"
    current = is_published(artefact, files, id_file, results)
    copies = [results / file for file in (*files.values(), id_file)]
    newest = max((path.stat().st_mtime for path in copies if path.exists()), default=0.0)
    try:
        if not current or not stamp.is_file():
            stamp.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(stamp, f"wanted {artefact.id} at {time.time_ns()}\n")
        os.utime(stamp, (0, 0) if current else (newest + 1, newest + 1))
        if not current:
            time.sleep(min(max(newest + 1 - time.time(), 0), 1))
    except OSError as error:
        # A copy that is current is newer than the stamp that it was made for, so it can be shown where nothing is
        # written.
        if not current:
            raise (unwritable(error, stamp) or error) from None


def _copies_match(artefact: Spec, files: dict[str, str], results: Path) -> bool:
    paths = {name: results / file for name, file in files.items()}
    try:
        outputs = read_manifest(results / artefact.name)["outputs"]
    except UserError:  # the artefact is gone; the copies are all there is, and their identity names them
        return all(path.is_file() for path in paths.values())
    return all(path.is_file() and file_digest(path) == outputs[name]["sha256"] for name, path in paths.items())
