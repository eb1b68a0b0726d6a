"""Texts of an endpoint: an audit asks none, and takes what one wrote as it is, held to its digests.

What follows from such texts is asked of the specs that would be run, never of the audited folder: what is missing
there is what the engine would make.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from capacity.artefacts.manifest import verify
from capacity.artefacts.spec import Spec, closure
from capacity.audit.findings import Level
from capacity.audit.folder import Folder
from capacity.errors import UserError

Specs = Mapping[str, Spec]  # by name: all that the engine could be asked for, members of sets too


def names_endpoint(value: Any) -> bool:
    """Whether a specification names something to be asked over a network."""
    if isinstance(value, dict):
        rewriter = value.get("rewriter")
        return (isinstance(rewriter, dict) and rewriter.get("kind") == "endpoint") or any(
            map(names_endpoint, value.values())
        )
    return isinstance(value, list) and any(map(names_endpoint, value))


def pinned(specs: Specs, names: Iterable[str]) -> list[str]:
    """Endpoints' texts among these specs and all that they follow from."""

    def above(name: str) -> list[str]:
        spec = specs.get(name)
        return [*spec.parent_names(), *(member.name for member in spec.members)] if spec else []

    return [name for name in closure(names, above) if name in specs and names_endpoint(specs[name].settings)]


def rests_on_lost(folder: Folder, specs: Specs, name: str) -> bool:
    """Whether a spec follows from texts of an endpoint that are not in the folder whole, under the same name."""
    return not all(_usable(folder, each) for each in pinned(specs, [name]))


def _usable(folder: Folder, name: str) -> bool:
    try:
        verify(folder.results / name, name)
    except UserError:
        return False
    return True


def keep_pinned(folder: Folder, specs: Specs, chosen: dict[str, Spec | None], level: Level) -> list[str]:
    """Endpoints' texts that the chosen specs follow from; what cannot be made without asking goes, with a finding.

    chosen: audited artefacts with the specs that would make them again.
    """
    jobs = {name: spec for name, spec in chosen.items() if spec}
    for name, spec in jobs.items():
        if spec.name in pinned(specs, [spec.name]):
            level.note("not made again", name, "an endpoint's texts cannot be; their digests pin them")
            del chosen[name]
        elif rests_on_lost(folder, specs, spec.name):
            what = "it follows from an endpoint's texts that are missing, damaged or of other code, and none is asked"
            level.warn("not made again", name, what)
            del chosen[name]
    kept = pinned(specs, [spec.name for spec in chosen.values() if spec])
    if kept:
        level.facts["taken as they are, from endpoints"] = kept
    return kept


def take(folder: Folder, names: list[str], results: Path) -> None:
    """Copy artefacts into another results folder."""
    for name in names:
        shutil.copytree(folder.results / name, results / name)
