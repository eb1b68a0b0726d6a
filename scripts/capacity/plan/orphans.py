"""Artefacts that the configuration does not reach: of other configurations, older code, half made, damaged."""

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from capacity.artefacts.publishing import copies
from capacity.jobs.activity import being_made, is_in_use
from capacity.plan.fixed_paths import published, published_id
from capacity.plan.reachable import artefacts, folders
from capacity.plan.survey import Plan, State


@dataclass(frozen=True)
class Orphan:
    """One thing that could be removed."""

    path: Path
    kind: str  # "unreached", "resume state", "scratch", "damaged", "follows from damage", "copy"
    bytes: int


def folder_bytes(path: Path) -> int:
    """Bytes of all files below a path."""
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )


def unreached(reached: Collection[str], results: Path) -> list[Orphan]:
    """Artefacts that are not reached, resume states of none that is, and scratch folders that no job works in.

    With figures the copies of them that lie beside: without the artefact nobody could tell them from a person's files.
    reached: names of artefacts. What a job is making now, for whichever configuration, is left out.
    """
    making = being_made(results)
    kept = {name.split("/")[1] for name in reached} | making
    orphans = [
        Orphan(results / name, "unreached", folder_bytes(results / name))
        for name in artefacts(results)
        if name not in reached and name.split("/")[1] not in making
    ]
    orphans += [Orphan(path, "copy", folder_bytes(path)) for path in _figures_left(orphans, reached, results)]
    for folder in folders(results / "resume"):
        if folder.name not in kept:
            orphans.append(Orphan(folder, "resume state", folder_bytes(folder)))
    for folder in folders(results / "scratch"):
        if not is_in_use(folder):
            orphans.append(Orphan(folder, "scratch", folder_bytes(folder)))
    return orphans


def _figures_left(orphans: list[Orphan], reached: Collection[str], results: Path) -> list[Path]:
    """Copies of figures that go, but of none that stays as well, and the file that says whose they are."""
    place = results / "figures"
    gone = [orphan.path for orphan in orphans if orphan.path.parent == place]
    stay = [folder for folder in folders(place) if f"figures/{folder.name}" in reached]
    kept = set().union(*(copies(folder, place) for folder in stay))
    left = set().union(*(copies(folder, place) for folder in gone)) - kept
    identity = place / "capacity_figures.id"
    return sorted(left | ({identity} if published_id(identity) in {folder.name for folder in gone} else set()))


def damaged(plan: Plan, results: Path) -> list[Orphan]:
    """Damaged artefacts, what followed from them, members of sets included, and copies of it under fixed paths.

    With the copies a rerun makes all of it again; while they are there, nothing asks for it.
    """
    bad = [name for name, state in plan.states.items() if state == State.DAMAGED]
    again = [name for name in plan.remake if any(parent in plan.remake for parent in plan.specs[name].parent_names())]
    members = [member.name for name in again for member in plan.specs[name].members]
    after = [name for name in dict.fromkeys([*plan.remake, *members]) if plan.states[name] == State.DONE]
    return [
        *(Orphan(results / name, "damaged", folder_bytes(results / name)) for name in bad),
        *(Orphan(results / name, "follows from damage", folder_bytes(results / name)) for name in after),
        *(Orphan(path, "copy", folder_bytes(path)) for path in _copies(plan, {*bad, *after}, results)),
    ]


def _copies(plan: Plan, names: Collection[str], results: Path) -> Iterator[Path]:
    """Files under fixed paths that say that they are copies of one of these artefacts, that saying among them."""
    for artefact, files, id_file in published(plan.grid):
        identity = results / id_file
        if artefact.name in names and published_id(identity) == artefact.id:
            yield from (path for path in (identity, *(results / file for file in files.values())) if path.is_file())


def remove(orphan: Orphan) -> None:
    """Remove one orphan."""
    if orphan.path.is_dir() and not orphan.path.is_symlink():
        shutil.rmtree(orphan.path)
    else:
        orphan.path.unlink(missing_ok=True)
