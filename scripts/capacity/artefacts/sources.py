"""The code that a stage's script can reach, which is a part of what names its artefacts.

What was found is kept beside the bytecode of the scripts, by the bytes of all of them: to look again at 200 sources
takes a second at every start of the engine, and a part of it at every job's.
"""

import ast
import contextlib
import functools
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from modulefinder import ModuleFinder
from pathlib import Path
from types import CodeType
from typing import Any, ClassVar, Self

from capacity.artefacts.identity import SCRIPTS, digest, file_digest, tree_digest
from capacity.artefacts.manifest import write_atomically
from capacity.errors import UserError

# Modules that scripts import but that cannot change a number: how a job is run, written down and shown.
NEUTRAL_MODULES = frozenset(
    {
        "capacity",
        "capacity.artefacts",
        "capacity.artefacts.identity",
        "capacity.artefacts.making",
        "capacity.artefacts.manifest",
        "capacity.artefacts.hash_index",
        "capacity.artefacts.settings",
        "capacity.artefacts.sources",
        "capacity.artefacts.spec",
        "capacity.artefacts.stages",
        "capacity.artefacts.store",
        "capacity.environment",
        "capacity.errors",
        "capacity.jobs",
        "capacity.jobs.allocation",
        "capacity.jobs.gpu_locks",
        "capacity.jobs.gpus",
        "capacity.jobs.job",
        "capacity.jobs.lease",
        "capacity.jobs.progress",
        "capacity.jobs.run_file",
        "capacity.jobs.run_loggers",
        "capacity.jobs.startup",
        "capacity.jobs.training_files",
    }
)

# Modules that only the artefacts of one kind of model reach -> the key by which a model's spec is of that kind. They
# are in the code of those artefacts and of no others, so that an edit of the wrapper of own models retrains no GPT-2.
MODEL_MODULES = {"capacity.models.modeling_wrapped": "python"}


def _without_fields(tree: ast.AST) -> ast.AST:
    """The tree of a stage's spec.py without the fields of its settings that have no default, in place.

    What such a field holds is in every spec itself, so that its declaration can change no number.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.body = [part for part in node.body if not (isinstance(part, ast.AnnAssign) and part.value is None)]
    return tree


class _Finder(ModuleFinder):
    """Reads a source once, however many scripts import it."""

    found: ClassVar[dict[CodeType, list[tuple[str, tuple[Any, ...]]]]] = {}  # names that a code imports and stores

    def load_module(self, fqname: str, fp: Any, pathname: Any, file_info: tuple[str, str, str]) -> Any:
        if pathname is None or not pathname.endswith(".py"):  # Python's own; a package, whose __init__.py comes next
            return super().load_module(fqname, fp, pathname, file_info)
        code = _compiled(pathname)
        module: Any = self.add_module(fqname)
        module.__file__ = pathname
        self.scan_code(code, module)
        return module

    def scan_opcodes(self, co: CodeType) -> Iterator[tuple[str, tuple[Any, ...]]]:
        if co not in self.found:
            self.found[co] = list(super().scan_opcodes(co))
        return iter(self.found[co])


@functools.cache
def _compiled(path: str) -> CodeType:
    with open(path, "rb") as file:
        return compile(file.read(), path, "exec", dont_inherit=True)


@functools.cache
def code_files(script: str, scripts: Path = SCRIPTS, for_model: tuple[str, ...] = ()) -> dict[str, Path]:
    """Module name to file of everything under `scripts` that `script` can import, itself as `__main__`.

    for_model: those of MODEL_MODULES that count, see `model_modules`; what the others alone import does not either.
    Imports inside functions count too. Neutral modules are left out. Raises FileNotFoundError without the script.
    """
    finder = _Finder(path=[str(scripts)], excludes=sorted(MODEL_MODULES.keys() - set(for_model)))
    try:
        finder.run_script(str(scripts / script))
        for name in finder.badmodules:  # packages elsewhere, and modules here that are no Python
            base = scripts.joinpath(*name.split("."))
            for path in (base.with_suffix(".py"), base / "__init__.py"):
                if path.is_file():
                    ast.parse(path.read_text(encoding="utf-8"), path)
    except SyntaxError as error:
        raise UserError(f"{error.filename}, line {error.lineno}: {error.msg}; fix it before a run") from None
    found = {name: getattr(module, "__file__", None) for name, module in finder.modules.items()}
    files = {name: Path(file) for name, file in found.items() if file}
    return {name: path for name, path in sorted(files.items()) if name not in NEUTRAL_MODULES}


@dataclass(frozen=True)
class _Kept:
    """What processes have found in the sources as they stand. state: of all that can change an answer."""

    scripts: Path
    state: str
    answers: dict[str, dict[str, str]]

    @classmethod
    def read(cls, scripts: Path) -> Self:
        """What is kept of these sources: nothing where they are others, or the file is not as it was written."""
        state = _state(scripts)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(_place(scripts).read_text(encoding="utf-8"))
            if kept["state"] == state and kept["digest"] == digest(kept["answers"]):
                return cls(scripts, state, kept["answers"])
        return cls(scripts, state, {})

    def save(self) -> None:
        """Keep the answers, unless a source was edited meanwhile; where that cannot be, it is only slower."""
        if sys.dont_write_bytecode or _state(self.scripts) != self.state:
            return
        kept = {"state": self.state, "digest": digest(self.answers), "answers": self.answers}
        with contextlib.suppress(OSError):
            _place(self.scripts).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(_place(self.scripts), json.dumps(kept), durable=False)


_kept = functools.cache(_Kept.read)


def _place(scripts: Path) -> Path:
    """Where Python keeps the bytecode of the scripts."""
    return Path(importlib.util.cache_from_source(str(scripts / "scripts.py"))).with_name("sources.json")


def _state(scripts: Path) -> str:
    """One digest for all files below the scripts, bytecode excepted, and for the Python that reads them."""
    files = {}
    for folder, folders, names in os.walk(scripts, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in (Path(folder, name) for name in names):
            with contextlib.suppress(
                OSError
            ):  # an editor's, that is gone again; what cannot be read is no source either
                if path.is_file():
                    files[os.path.relpath(path, scripts)] = file_digest(path)
    return digest([sys.version, files])


@functools.cache
def module_digests(script: str, scripts: Path = SCRIPTS, for_model: tuple[str, ...] = ()) -> dict[str, str]:
    """Module name to source digest for the code that a stage's script can reach."""
    kept, question = _kept(scripts), " ".join((script, *for_model))
    if question not in kept.answers:
        files = code_files(script, scripts, for_model)
        kept.answers[question] = {name: _source_digest_of(path) for name, path in files.items()}
        kept.save()
    return kept.answers[question]


@functools.cache
def _source_digest_of(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tree_digest(_without_fields(tree) if path.name == "spec.py" else tree)


@functools.cache
def code_digest(script: str, scripts: Path = SCRIPTS, for_model: tuple[str, ...] = ()) -> str:
    """One digest for all the code that a stage's script can reach."""
    return digest(module_digests(script, scripts, for_model))


def model_modules(model: object) -> list[str]:
    """Modules that count for the artefacts of a model, by its settings, and not for those of every model."""
    return [module for module, key in MODEL_MODULES.items() if hasattr(model, key)]


def forget_sources() -> None:
    """Read the source files anew at the next question: they may have been edited since."""
    _Finder.found.clear()
    for cached in (_kept, _compiled, code_files, module_digests, _source_digest_of, code_digest):
        cached.cache_clear()
