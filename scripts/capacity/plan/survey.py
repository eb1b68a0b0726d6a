"""The artefacts that exist, held against a configuration: which can be used, and which are made again, and why.

Nothing here depends on the engine. A job never runs this code.
"""

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from capacity.artefacts.hash_index import HERE, Memory, marks
from capacity.artefacts.manifest import MANIFEST, contents, noted, read_manifest, verify
from capacity.artefacts.spec import Spec
from capacity.errors import NotOurs, Unlisted, UserError

if TYPE_CHECKING:
    from capacity.plan.grid import Grid


class State(StrEnum):
    """Whether an artefact can be used."""

    DONE = "done"
    MISSING = "missing"
    DAMAGED = "damaged"


class Survey:
    """The state of artefacts below a results folder; bytes are hashed once, then recognised by their stat.

    The memory keeps size, mtime, ctime and inode of each file that was hashed and found right, and of the folders
    that hold them, which change when anything is put beside.
    """

    def __init__(self, results: Path):
        self.results = results
        self.faults: dict[str, str] = {}
        self._memory = Memory(results)

    def state(self, name: str) -> State:
        """The state of one artefact; what is wrong with a damaged one is in `.faults`. Raises NotOurs."""
        known, prefix = self._memory.known.get(name), f"{self.results}/{name}/"
        if known and HERE in known and all(_marks_at(prefix + file) == value for file, value in known.items()):
            return State.DONE
        folder = self.results / name
        try:
            found = contents(folder)
        except (FileNotFoundError, NotADirectoryError):
            return State.MISSING
        except OSError as error:
            raise NotOurs(f"{folder}: cannot be read ({error.strerror}); make it readable, or remove it") from None
        if not (found.files or found.others):
            return State.MISSING
        try:
            verify(folder, name, found=found)
        except NotOurs:
            raise
        except UserError as error:
            self.faults[name] = str(error)
            self._memory.changed |= self._memory.known.pop(name, None) is not None
            return State.DAMAGED
        self._memory.known[name] = {place: marks(stat) for place, stat in (found.folders | found.files).items()}
        self._memory.changed = True
        return State.DONE

    def save(self) -> None:
        """Keep what was hashed for the next look."""
        self._memory.save()


def _marks_at(path: str) -> list[int]:
    try:
        return marks(os.stat(path))
    except OSError:
        return []


def survey(specs: Iterable[Spec], results: Path) -> tuple[dict[str, State], dict[str, str]]:
    """State of every artefact and set member, and the faults of damaged ones.

    Raises Unlisted where artefacts hold what their manifests do not list: nobody but a person may remove that.
    """
    watch = Survey(results)
    states: dict[str, State] = {}
    refused: list[Unlisted] = []
    for name in (each.name for spec in specs for each in spec.with_members()):
        try:
            states[name] = watch.state(name)
        except Unlisted as error:
            refused.append(error)
    watch.save()
    if refused:
        more = f" (and the like in {len(refused) - 1} other artefacts)" if len(refused) > 1 else ""
        raise Unlisted(f"{refused[0]}{more}")
    return states, watch.faults


def left_behind(specs: dict[str, Spec], states: dict[str, State], results: Path) -> dict[str, str]:
    """What an earlier run was to make again and did not come to, with the parent that was made anew before.

    A spec that asks for it is newer than the artefact, and the artefact notes another execution of the parent.
    """
    found = {}
    asked = {entry.name: entry.stat().st_mtime for entry in listing(results / "specs")}
    for name, spec in specs.items():
        manifest = results / name / MANIFEST
        if states[name] == State.DONE and asked.get(f"{spec.id}.json", 0) > manifest.stat().st_mtime:
            inputs = read_manifest(results / name)["inputs"]
            parents = [parent for parent in spec.parent_names() if states.get(parent) == State.DONE]
            anew = [each for each in parents if inputs.get(each) != noted(read_manifest(results / each))]
            if anew:
                found[name] = anew[0]
    return found


def listing(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds; nothing where there is none."""
    return list(os.scandir(folder)) if folder.is_dir() else []


def to_remake(
    specs: dict[str, Spec], states: dict[str, State], faults: dict[str, str], behind: dict[str, str]
) -> dict[str, str]:
    """Artefacts to make again although they exist, with the reason: damaged ones and all that followed from them.

    specs: in the order of the flow, parents before children. behind: as of `left_behind`.
    """
    reasons: dict[str, str] = {}
    needed = {p for spec in specs.values() if states[spec.name] != State.DONE for p in spec.parent_names()}
    for name, spec in specs.items():
        bad = next((each.name for each in spec.with_members() if states[each.name] == State.DAMAGED), None)
        lost = next((m.name for m in spec.members if states[m.name] == State.MISSING), None)
        parent = next((p for p in spec.parent_names() if p in reasons), None)
        if bad:
            reasons[name] = f"damaged: {faults[bad]}"
        elif lost and name in needed and states[name] == State.DONE:
            reasons[name] = f"damaged: its member {lost} is missing"
        elif name in behind:
            reasons[name] = f"follows from {behind[name]}, which was made again by an earlier run"
        elif parent and states[name] == State.DONE:
            reasons[name] = f"follows from {parent}, which is made again"
        elif parent:
            reasons[name] = ""
    return {name: reason for name, reason in reasons.items() if reason}


@dataclass(frozen=True)
class Plan:
    """A resolved configuration held against the artefacts that exist."""

    grid: "Grid"
    states: dict[str, State]
    faults: dict[str, str]
    remake: dict[str, str]  # artefact name -> why it is made again

    @property
    def specs(self) -> dict[str, Spec]:
        return self.grid.specs

    @functools.cached_property
    def by_id(self) -> dict[str, Spec]:
        return {spec.id: spec for spec in self.specs.values()}


def hold_against(grid: "Grid", results: Path) -> Plan:
    """Survey the artefacts of a grid; changes nothing but the index of hashed files."""
    states, faults = survey(grid.specs.values(), results)
    behind = left_behind(grid.specs, states, results)
    return Plan(grid, states, faults, to_remake(grid.specs, states, faults, behind))
