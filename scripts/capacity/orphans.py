"""Artefacts that the present configuration does not reach: of other configurations, of older code, half made, damaged."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from capacity.orders import Order
from capacity.planning import Plan, State
from capacity.runs import is_being_made
from capacity.stages import STAGES


@dataclass(frozen=True)
class Orphan:
    """One thing that could be removed."""

    path: Path
    kind: str  # "unreached", "resume state", "scratch", "damaged", "follows from damage"
    bytes: int


def folder_bytes(path: Path) -> int:
    """Bytes of all files below a path."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size


def unreached(plan: Plan, results: Path) -> list[Orphan]:
    """Artefacts, resume states and scratch folders that no order of the present configuration names."""
    reached = {name for order in plan.orders.values() for name in (order.name, *(m.name for m in order.members))}
    ids = {name.split("/")[1]: name for name in reached}
    orphans = []
    for stage in STAGES:
        for folder in _folders(results / stage):
            if f"{stage}/{folder.name}" not in reached:
                orphans.append(Orphan(folder, "unreached", folder_bytes(folder)))
    for folder in _folders(results / "resume"):
        if folder.name not in ids:
            orphans.append(Orphan(folder, "resume state", folder_bytes(folder)))
    for folder in _folders(results / "scratch"):
        if not is_being_made(_named(folder.name.rsplit(".", 2)[0]), results):
            orphans.append(Orphan(folder, "scratch", folder_bytes(folder)))
    return orphans


def damaged(plan: Plan, results: Path) -> list[Orphan]:
    """Damaged artefacts and what followed from them."""
    bad = [name for name, state in plan.states.items() if state == State.DAMAGED]
    after = [name for name in plan.remake if name not in bad]
    return [
        *(Orphan(results / name, "damaged", folder_bytes(results / name)) for name in bad),
        *(Orphan(results / name, "follows from damage", folder_bytes(results / name)) for name in after),
    ]


def remove(orphan: Orphan) -> None:
    """Remove one orphan."""
    if orphan.path.is_dir() and not orphan.path.is_symlink():
        shutil.rmtree(orphan.path)
    else:
        orphan.path.unlink(missing_ok=True)


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _named(identity: str) -> Order:
    return Order("", identity, {}, {}, "", {})
