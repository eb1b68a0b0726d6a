"""The audited folder as data: manifests read without trust, what is published, and what rests on what.

Nothing is executed and no link is followed. A manifest that is not one is a finding, not an error.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from capacity.artefacts.identity import digest
from capacity.artefacts.manifest import MANIFEST, SCHEMA
from capacity.artefacts.spec import Spec, closure, told_spec
from capacity.artefacts.stages import STAGES

LARGEST_MANIFEST = 2**28  # bytes; a table of 100,000 rows has a manifest of about 100 MB
DEEPEST_MANIFEST = 100  # lists and mappings in each other
NAMING = ("settings", "parents", "members", "inputs", "outputs", "code", "packages", "content")  # what has digests
NAME = re.compile(r"[a-z_]+/[\w.-]+")
ID_SUFFIX = "_id"  # of a table's columns that name artefacts


class Output(BaseModel):
    """One file of an artefact."""

    model_config = ConfigDict(strict=True)

    bytes: int
    sha256: str


class Code(BaseModel):
    """The code that made an artefact."""

    model_config = ConfigDict(strict=True)

    digest: str
    script: str
    modules: dict[str, str]
    for_model: list[str] = []


class Manifest(BaseModel):
    """What an audit needs of a manifest; the rest is for readers."""

    model_config = ConfigDict(strict=True, extra="allow")

    name: str
    settings: dict[str, Any]
    parents: dict[str, str | list[str]]
    members: list[str]
    inputs: dict[str, dict[str, str]]
    outputs: dict[str, Output]
    content: str
    code: Code
    packages: dict[str, str]
    git: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    hardware: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    command: str = ""
    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    format: int = Field(alias="schema")


@dataclass(frozen=True)
class Artefact:
    """One artefact of the audited folder with its manifest."""

    name: str
    folder: Path
    manifest: Manifest
    raw: dict[str, Any]

    @property
    def stage(self) -> str:
        return self.name.partition("/")[0]

    @property
    def id(self) -> str:
        return self.name.partition("/")[2]

    @property
    def slug(self) -> str:
        return self.id.rpartition("-")[0]

    def parents(self) -> list[str]:
        """Names of parents and members, each once."""
        groups = (value if isinstance(value, list) else [value] for value in self.manifest.parents.values())
        return list(dict.fromkeys([*(name for group in groups for name in group), *self.manifest.members]))

    def as_spec(self) -> Spec:
        """The spec that this artefact says it was made from; members by name alone."""
        return told_spec(self.name, self.raw)


class Published(BaseModel):
    """A fixed path: which files of the artefact of which stage are copied where, and where its id stands."""

    model_config = ConfigDict(strict=True, extra="forbid")

    stage: str
    files: dict[str, str]
    id_file: str


@dataclass
class Folder:
    """A results folder: what it holds and what of it is published."""

    results: Path
    artefacts: dict[str, Artefact] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)  # artefact name -> why it has no usable manifest
    published: list[Published] = field(default_factory=list)
    left_out: frozenset[str] = frozenset()  # stages whose files an archive does not hold
    archived: bool = False  # it is another's, from an archive

    def roots(self) -> list[str]:
        """Names of the artefacts that the fixed paths say they are copies of."""
        return [f"{each.stage}/{identity}" for each in self.published if (identity := self.published_id(each))]

    def published_artefacts(self) -> list[Artefact]:
        """The artefacts that the fixed paths say they are copies of, as far as they are here."""
        return [self.artefacts[name] for name in self.roots() if name in self.artefacts]

    def behind_published(self) -> list[Artefact]:
        """These and all artefacts that they follow from, as far as they are here."""
        return [self.artefacts[name] for name in self.lineage(self.roots()) if name in self.artefacts]

    def published_id(self, each: Published) -> str:
        """The id beside a fixed path, or nothing."""
        path = self.results / each.id_file
        return path.read_text(errors="replace").strip()[:300] if is_plain_file(path) else ""

    def lineage(self, roots: Iterable[str]) -> list[str]:
        """The roots and all that they follow from, roots first; names without an artefact are in it too."""
        return closure(roots, self.parents)

    def parents(self, name: str) -> list[str]:
        """Names of an artefact's parents and members; none where it is not here."""
        return self.artefacts[name].parents() if name in self.artefacts else []


def parents_first(roots: Iterable[str], parents: Callable[[str], list[str]]) -> list[str]:
    """The roots and all that they follow from, each once and after its parents, but for what is its own parent."""
    begun, ended = set[str](), dict[str, None]()
    waiting = list(roots)[::-1]
    while waiting:
        name = waiting[-1]
        if name not in begun:
            begun.add(name)
            waiting += [parent for parent in parents(name)[::-1] if parent not in begun]
        else:
            ended.setdefault(waiting.pop())
    return list(ended)


def is_plain_file(path: Path) -> bool:
    """Whether a path is a file and no link."""
    return path.is_file() and not path.is_symlink()


def is_inside(name: str) -> bool:
    """Whether a relative path stays in its folder."""
    path = PurePosixPath(name)
    return bool(name) and "\0" not in name and not path.is_absolute() and ".." not in path.parts


def read_folder(
    results: Path, published: list[Published], left_out: Iterable[str] = (), archived: bool = False
) -> Folder:
    """Everything below a results folder that has a stage's place."""
    folder = Folder(results, published=published, left_out=frozenset(left_out), archived=archived)
    for stage in STAGES:
        for path in _folders(results / stage):
            name = f"{stage}/{path.name}"
            try:
                raw = _read_json(path / MANIFEST)
                folder.artefacts[name] = Artefact(name, path, parse_manifest(raw), raw)
            except ValueError as error:
                folder.unreadable[name] = str(error)
    return folder


def _folders(parent: Path) -> Iterator[Path]:
    """Folders that are not empty: the engine makes empty ones before a job."""
    if parent.is_dir() and not parent.is_symlink():
        for entry in sorted(os.scandir(parent), key=lambda entry: entry.name):
            if entry.is_symlink() or (entry.is_dir() and any(os.scandir(entry.path))):
                yield Path(entry.path)


def _read_json(path: Path) -> Any:
    """Raises ValueError in the reader's words."""
    if path.parent.is_symlink() or path.is_symlink():
        raise ValueError("is a link; artefacts are folders of plain files")
    try:
        if path.stat().st_size > LARGEST_MANIFEST:
            raise ValueError(f"{MANIFEST} has more than {LARGEST_MANIFEST:,} bytes")
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"no {MANIFEST}") from None
    except OSError as error:
        raise ValueError(f"{MANIFEST} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(str(error) if MANIFEST in str(error) else f"{MANIFEST} is not JSON") from None


def parse_manifest(raw: Any) -> Manifest:
    """A manifest of the schema that this code reads. Raises ValueError in the reader's words."""
    if _is_deeper(raw, DEEPEST_MANIFEST):
        raise ValueError(f"{MANIFEST} is nested deeper than {DEEPEST_MANIFEST} levels")
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA or isinstance(schema, bool):
        raise ValueError(f"{MANIFEST} has schema {str(schema)[:40]}, this code reads schema {SCHEMA}")
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{MANIFEST}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    names = [name for group in manifest.parents.values() for name in ([group] if isinstance(group, str) else group)]
    for name in [manifest.name, *names, *manifest.members, *manifest.inputs]:
        if not NAME.fullmatch(name):
            raise ValueError(f"{MANIFEST}: {name[:80]!r} names no artefact")
    for name in manifest.outputs:
        if not is_inside(name):
            raise ValueError(f"{MANIFEST}: the output {name[:80]!r} lies outside its folder")
    try:
        digest({key: raw[key] for key in NAMING})
    except ValueError:  # of a number that is none, and of half a character
        raise ValueError(f"{MANIFEST}: what names it holds something that has no digest") from None
    return manifest


def _is_deeper(value: Any, most: int) -> bool:
    """Whether lists and mappings are nested deeper than so many levels."""
    inner = [value]
    for _ in range(most + 1):
        groups = [each.values() if isinstance(each, dict) else each for each in inner if isinstance(each, dict | list)]
        inner = [part for group in groups for part in group]
    return bool(inner)
