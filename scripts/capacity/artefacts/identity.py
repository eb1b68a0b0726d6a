"""Digests that name artefacts: of specs, of the code that a stage can reach, and of the packages that count.

Staleness in this project is carried by paths alone. An artefact lies in `results/<stage>/<slug>-<digest>/`, where the
digest covers everything that can change its bytes. Nothing here can change a number, so nothing here is in a digest.
"""

import ast
import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import py_compile
from collections.abc import Iterator
from importlib import metadata
from modulefinder import ModuleFinder
from pathlib import Path
from types import CodeType
from typing import Any, ClassVar

from capacity.errors import UserError

SCRIPTS = Path(__file__).resolve().parents[2]
DIGEST_LENGTH = 12  # hex digits in a folder's name: 48 bits, one chance in 5 million of a clash among 10,000 artefacts
SMALL = 2**16  # bytes: below, a file is read at once, which saves the buffer of a hash of pieces

CHECKED_HASH = (3).to_bytes(4, "little")  # the flags of bytecode that Python checks by hash (PEP 552)

# Modules that scripts import but that cannot change a number: how a job is run, written down and shown.
NEUTRAL_MODULES = frozenset(
    {
        "capacity",
        "capacity.artefacts",
        "capacity.artefacts.identity",
        "capacity.artefacts.making",
        "capacity.artefacts.manifest",
        "capacity.artefacts.memory",
        "capacity.artefacts.settings",
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

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def canonical_json(value: Any) -> str:
    """JSON text that is equal exactly when plain values are: sorted keys, no blanks, no NaN (ValueError)."""
    return _CANONICAL.encode(value)


def digest(value: Any) -> str:
    """SHA-256, in hex, of the canonical JSON of a plain value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256, in hex, of a file's bytes."""
    with open(path, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size < SMALL:
            return hashlib.sha256(file.read()).hexdigest()
        return hashlib.file_digest(file, "sha256").hexdigest()


def input_digest(path: Path) -> str:
    """SHA-256, in hex, of what a file that a specification names says: of Python what the source means, else its bytes.

    So a comment in a user's own module makes nothing new. Python that cannot be read counts by its bytes.
    """
    if path.suffix == ".py":
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            return source_digest(path.read_bytes())
    return file_digest(path)


def source_digest(source: str | bytes) -> str:
    """SHA-256 of what Python source means: comments, docstrings and formatting do not count."""
    return _tree_digest(ast.parse(source))


def _tree_digest(tree: ast.AST) -> str:
    return hashlib.sha256(_dump(_without_docstrings(tree)).encode()).hexdigest()


def _without_fields(tree: ast.AST) -> ast.AST:
    """The tree of a stage's spec.py without the fields of its settings that have no default, in place.

    What such a field holds is in every spec itself, so that its declaration can change no number.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.body = [part for part in node.body if not (isinstance(part, ast.AnnAssign) and part.value is None)]
    return tree


def _without_docstrings(tree: ast.AST) -> ast.AST:
    """The tree with every docstring removed, in place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree


def _dump(node: Any) -> str:
    """The tree as text; empty fields are left out, so that a field which a newer Python adds changes nothing."""
    if isinstance(node, ast.AST):
        fields = ",".join(f"{name}={_dump(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
        return f"{type(node).__name__}({fields})"
    if isinstance(node, list):
        return "[" + ",".join(map(_dump, node)) + "]"
    return ascii(node)


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
                    ast.parse(path.read_text(), path)
    except SyntaxError as error:
        raise UserError(f"{error.filename}, line {error.lineno}: {error.msg}; fix it before a run") from None
    found = {name: getattr(module, "__file__", None) for name, module in finder.modules.items()}
    files = {name: Path(file) for name, file in found.items() if file}
    return {name: path for name, path in sorted(files.items()) if name not in NEUTRAL_MODULES}


@functools.cache
def module_digests(script: str, scripts: Path = SCRIPTS, for_model: tuple[str, ...] = ()) -> dict[str, str]:
    """Module name to source digest for the code that a stage's script can reach."""
    return {name: _source_digest_of(path) for name, path in code_files(script, scripts, for_model).items()}


@functools.cache
def _source_digest_of(path: Path) -> str:
    tree = ast.parse(path.read_text())
    return _tree_digest(_without_fields(tree) if path.name == "spec.py" else tree)


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
    for cached in (_compiled, code_files, module_digests, _source_digest_of, code_digest):
        cached.cache_clear()


def check_bytecode_by_hash(scripts: Path = SCRIPTS) -> None:
    """Make Python compare the bytecode it keeps with the source's hash instead of its size and time in seconds.

    Otherwise an edit such as 1 -> 2 within a second, or with the time put back, runs old code under the new digest.
    """
    for path in scripts.rglob("*.py"):
        bytecode = Path(importlib.util.cache_from_source(str(path)))
        with contextlib.suppress(OSError, py_compile.PyCompileError):
            if bytecode.read_bytes()[4:8] != CHECKED_HASH:
                py_compile.compile(
                    str(path), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
                )


@functools.cache
def package_version(name: str) -> str:
    """The installed version of a package, without a local part such as +cpu (hardware is in the spec)."""
    try:
        return metadata.version(name).split("+")[0]
    except metadata.PackageNotFoundError:
        raise UserError(f"the package {name} is not installed here; `make env` makes the environment") from None


def package_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Installed versions of the packages that can change a stage's numbers."""
    return {name: package_version(name) for name in names}
