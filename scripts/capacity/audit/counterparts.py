"""Audited artefacts and specs of the present configuration that mean the same, whatever their digests."""

import functools
import re
from collections.abc import Callable
from typing import Any

from capacity.artefacts.identity import digest
from capacity.artefacts.spec import Spec
from capacity.artefacts.stages import STAGES
from capacity.audit.folder import ID_SUFFIX, Folder, parents_first
from capacity.plan.grid import Grid

ARTEFACT = re.compile(rf"(?:{'|'.join(STAGES)})/[^/]+-[0-9a-f]{{12}}")


class Counterparts:
    """Audited artefacts and specs of the present configuration that mean the same, whatever their digests.

    Two mean the same when stage, readable slug, specification and, all the way up, parents do.
    """

    def __init__(self, folder: Folder, grid: Grid):
        self.folder, self.grid = folder, grid
        self.specs = {each.name: each for spec in grid.specs.values() for each in spec.with_members()}
        self.by_meaning = {self.meaning_of_spec(name): spec for name, spec in self.specs.items()}
        self.names = {name.partition("/")[2]: name for name in [*folder.artefacts, *self.specs]}
        self.sets = {member.name: spec for spec in grid.specs.values() for member in spec.members}
        self.meanings: dict[str, str] = {}

    def spec(self, name: str) -> Spec | None:
        """The spec of the present configuration for an audited artefact."""
        return self.specs.get(name) or self.by_meaning.get(self.meaning(name))

    def job(self, name: str) -> Spec | None:
        """The spec whose job makes it: that of its set where it is a member."""
        spec = self.spec(name)
        return self.sets.get(spec.name, spec) if spec else None

    def meaning(self, name: str) -> str:
        """What an audited artefact means, as a digest."""
        for each in parents_first([name], self.folder.parents) if name not in self.meanings else ():
            self.meanings.setdefault(each, self._meaning(each))
        return self.meanings[name]

    def _meaning(self, name: str) -> str:
        """The same, where those of its parents are known."""
        artefact = self.folder.artefacts.get(name)
        if artefact is None:
            return name
        parents = sorted(self.meanings.get(parent, parent) for parent in artefact.parents())
        return digest([artefact.stage, artefact.slug, without_ids(artefact.manifest.settings), parents])

    @functools.cache  # noqa: B019 - lives as long as one audit
    def meaning_of_spec(self, name: str) -> str:
        """What a spec means, as a digest."""
        spec = self.specs[name]
        above = dict.fromkeys([*spec.parent_names(), *(member.name for member in spec.members)])
        parents = sorted(self.meaning_of_spec(parent) for parent in above)
        return digest([spec.stage, spec.slug, without_ids(spec.settings), parents])

    def told(self, name: str) -> dict[str, Any]:
        """An audited artefact's specification, in which artefacts stand for what they mean."""
        return _told(self.folder.artefacts[name].manifest.settings, lambda one: self.meaning(self.names.get(one, one)))

    def told_by_spec(self, name: str) -> dict[str, Any]:
        """The same of a spec."""
        return _told(self.specs[name].settings, lambda one: self.meaning_of_spec(self.names.get(one, one)))


def without_ids(settings: Any) -> Any:
    """A specification without digests: files by content, and rows' names of artefacts."""
    return _told(settings, lambda _: None)


def _told(settings: Any, meaning: Callable[[str], str | None]) -> Any:
    """The same with what names of artefacts mean in their place, and without those that mean None."""
    if isinstance(settings, dict):
        told = {}
        for key, value in settings.items():
            if key == "files":
                continue
            if not _is_name(key, value):
                told[key] = _told(value, meaning)
            elif (means := meaning(value.partition("/")[2] or value)) is not None:
                told[key] = means
        return told
    return [_told(value, meaning) for value in settings] if isinstance(settings, list) else settings


def _is_name(key: str, value: Any) -> bool:
    return isinstance(value, str) and (key.endswith(ID_SUFFIX) or bool(ARTEFACT.fullmatch(value)))
