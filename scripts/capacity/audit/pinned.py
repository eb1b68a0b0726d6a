"""Texts of an endpoint: nobody can make them again, so an audit takes them as they are, held to their digests."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from capacity.artefacts.manifest import verify
from capacity.artefacts.orders import Order
from capacity.audit.findings import Level
from capacity.audit.folder import Folder
from capacity.errors import UserError

Present = Callable[[str], Order | None]  # an audited artefact -> what the present configuration has in its place


def pinned(folder: Folder, names: Iterable[str]) -> list[str]:
    """Endpoints' texts among these artefacts and all that they follow from."""
    specs = {name: folder.artefacts[name].manifest.spec for name in folder.lineage(names) if name in folder.artefacts}
    return [name for name, spec in specs.items() if spec.get("rewriter", {}).get("kind") == "endpoint"]


def rests_on_lost(folder: Folder, present: Present, name: str) -> bool:
    """Whether an artefact follows from texts of an endpoint that are damaged or not what the configuration takes."""
    return not all(_usable(folder, present, each) for each in pinned(folder, [name]))


def _usable(folder: Folder, present: Present, name: str) -> bool:
    order = present(name)
    try:
        verify(folder.results / name, name)
    except UserError:
        return False
    return order is not None and order.name == name


def keep_pinned(folder: Folder, present: Present, orders: dict[str, Order | None], level: Level) -> list[str]:
    """Endpoints' texts that the orders follow from; orders that cannot be made from them go, with a finding."""
    for name in [name for name in orders if rests_on_lost(folder, present, name)]:
        level.warn("not made again", name, "it follows from an endpoint's texts that are damaged or of other code")
        del orders[name]
    for name in [name for name in pinned(folder, orders) if name in orders]:
        level.note("not made again", name, "an endpoint's texts cannot be; their digests pin them")
        del orders[name]
    kept = pinned(folder, orders)
    if kept:
        level.facts["taken as they are, from endpoints"] = kept
    return kept


def take(folder: Folder, names: list[str], results: Path) -> None:
    """Copy artefacts into another results folder."""
    for name in names:
        shutil.copytree(folder.results / name, results / name)
