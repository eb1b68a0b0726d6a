"""Specs: the frozen description of one artefact, and the identity that follows from it."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capacity.artefacts.identity import (
    DIGEST_LENGTH,
    canonical_json,
    digest,
    input_digest,
    package_versions,
)
from capacity.artefacts.settings import Settings
from capacity.artefacts.sources import code_digest, forget_sources, module_digests
from capacity.artefacts.stages import STAGES
from capacity.environment import REPOSITORY
from capacity.errors import UserError

SCHEMA = 2


@dataclass(frozen=True)
class Spec:
    """One artefact to make: everything that decides its bytes, and nothing else. Its name is `<stage>/<id>`."""

    stage: str  # the folder below results/, for example "checkpoints"
    id: str  # readable slug and digest
    settings: dict[str, Any]
    parents: Mapping[str, str | list[str]]  # role -> artefact name(s)
    code: str  # digest of the code that the stage's script can reach
    packages: dict[str, str]  # versions that can change the numbers
    members: list["Spec"] = field(default_factory=list)  # artefacts that the same job makes or reuses
    for_model: list[str] = field(default_factory=list)  # modules in `code` that only this kind of model reaches
    remake: str | None = None  # why an artefact that exists is to be made again; not part of the identity

    @property
    def name(self) -> str:
        return f"{self.stage}/{self.id}"

    @property
    def slug(self) -> str:
        """The readable part of its id."""
        return self.id.rpartition("-")[0]

    @property
    def script(self) -> str:
        return STAGES[self.stage].script

    def present_modules(self) -> dict[str, str]:
        """Module name to source digest of the code that makes this artefact, as it is now."""
        return module_digests(self.script, for_model=tuple(self.for_model))

    def with_members(self) -> list["Spec"]:
        """This spec and its members: all artefacts that its job makes or reuses."""
        return [self, *self.members]

    def parent_names(self) -> list[str]:
        """All parents in a fixed order."""
        groups = (value if isinstance(value, list) else [value] for _, value in sorted(self.parents.items()))
        return [name for group in groups for name in group]


def make_spec(
    stage: str,
    slug: str,
    settings: Settings | dict[str, Any],
    parents: Mapping[str, str | list[str]],
    members: list[Spec] | None = None,
    packages: tuple[str, ...] = (),
    for_model: list[str] | None = None,
) -> Spec:
    """The spec for settings under the present code and packages: the stage's, and others that these settings need.

    for_model: from `capacity.artefacts.sources.model_modules`, where the job builds or loads a model.
    """
    members = [member for _, member in sorted({member.name: member for member in members or []}.items())]
    for_model = for_model or []
    code = code_digest(STAGES[stage].script, for_model=tuple(for_model))
    versions = package_versions((*STAGES[stage].packages, *packages))
    plain = settings.plain() if isinstance(settings, Settings) else settings
    spec = Spec(stage, slug, plain, parents, code, versions, members, for_model)
    return replace(spec, id=f"{slug}-{spec_digest(spec)}")


def spec_digest(spec: Spec) -> str:
    """The digest that a spec's id ends with: of all that decides the artefact's bytes."""
    identity = {
        "stage": spec.stage,
        "settings": spec.settings,
        "parents": spec.parents,
        "members": [member.name for member in spec.members],
        "code": spec.code,
        "packages": spec.packages,
    }
    return digest(identity)[:DIGEST_LENGTH]


def told_spec(name: str, manifest: dict[str, Any]) -> Spec:
    """The spec that an artefact's manifest says it was made from; members by name alone.

    Raises KeyError, TypeError or AttributeError where it is not one.
    """
    stage, _, identity = name.partition("/")
    members: list[str] = manifest["members"]
    return Spec(
        stage,
        identity,
        settings=manifest["settings"],
        parents=manifest["parents"],
        code=manifest["code"]["digest"],
        packages=manifest["packages"],
        members=[Spec(*each.partition("/")[::2], {}, {}, "", {}) for each in members],
        for_model=manifest["code"].get("for_model", []),
    )


def closure(roots: Iterable[str], parents: Callable[[str], list[str]]) -> list[str]:
    """The roots and all that they follow from, each once, roots first."""
    seen: dict[str, None] = {}
    waiting = list(roots)[::-1]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen[name] = None
            waiting += reversed(parents(name))
    return list(seen)


def spec_text(spec: Spec) -> str:
    """The spec as it stands in `results/specs/`: a line a key."""
    content = {"schema": SCHEMA, **vars(spec), "members": [vars(member) for member in spec.members]}
    return "{\n" + ",\n".join(f'"{key}": {canonical_json(value)}' for key, value in content.items()) + "\n}\n"


def read_spec(path: Path) -> Spec:
    """The spec in a file. Raises UserError where it is missing or not a spec of this schema."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        if content.pop("schema") != SCHEMA:
            raise UserError(f"{path}: written by another version of this project; run the workflow again")
        return _from_json(content)
    except FileNotFoundError:
        raise UserError(f"{path}: no such spec; run the workflow (without --no-hooks), which writes it") from None
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a spec ({error}); run the workflow again to write it anew") from None


def _from_json(content: dict[str, Any]) -> Spec:
    members = [_from_json(member) for member in content.pop("members")]
    spec = Spec(**content, members=members)
    for kind, names in ((str, ("stage", "id", "code")), (dict, ("settings", "parents", "packages"))):
        for name in names:
            if not isinstance(content[name], kind):
                raise ValueError(f"{name} is no {kind.__name__}")
    return spec


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of a spec")


def check_present(spec: Spec) -> None:
    """Refuse to make an artefact of another spec, code, packages or files than its name says. Raises UserError."""
    for each in spec.with_members():
        if not each.id.endswith(f"-{spec_digest(each)}"):
            raise UserError(f"{each.name}: its spec was edited by hand; change config.yaml and start the run again")
    forget_sources()
    if code_digest(spec.script, for_model=tuple(spec.for_model)) != spec.code:
        raise UserError(f"{spec.name}: the code of {spec.script} changed since the run began; start the run again")
    installed = package_versions(tuple(spec.packages))
    for package, version in spec.packages.items():
        if installed[package] != version:
            raise UserError(
                f"{spec.name}: {package} {installed[package]} is installed here, the run began with {version}; "
                "use one environment for the whole run"
            )
    files = [item for each in spec.with_members() for item in each.settings.get("files", {}).items()]
    for file, expected in files:
        path = REPOSITORY / file
        if not path.is_file() or input_digest(path) != expected:
            raise UserError(f"{spec.name}: {file} changed or vanished since the run began; start the run again")
