"""Digests that name artefacts: of plain values, of files, of what Python source means; and versions of packages.

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
from importlib import metadata
from pathlib import Path
from typing import Any

from capacity.errors import UserError

SCRIPTS = Path(__file__).resolve().parents[2]
DIGEST_LENGTH = 12  # hex digits in a folder's name: 48 bits, one chance in 5 million of a clash among 10,000 artefacts
SMALL = 2**16  # bytes: below, a file is read at once, which saves the buffer of a hash of pieces

CHECKED_HASH = (3).to_bytes(4, "little")  # the flags of bytecode that Python checks by hash (PEP 552)

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


def time_and_size(path: Path) -> tuple[int, int]:
    """By what a file is recognised as the one that this process has read; of one that is not there, zeros."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


def source_digest(source: str | bytes) -> str:
    """SHA-256 of what Python source means: comments, docstrings and formatting do not count."""
    return tree_digest(ast.parse(source))


def tree_digest(tree: ast.AST) -> str:
    """SHA-256 of what a syntax tree means; its docstrings are removed in place."""
    return hashlib.sha256(_dump(_without_docstrings(tree)).encode()).hexdigest()


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
    """The installed version of a package, without a local part such as +cpu (hardware is in the spec).

    Raises UserError where it is not installed.
    """
    try:
        return metadata.version(name).split("+")[0]
    except (metadata.PackageNotFoundError, ValueError):  # the latter for a name that is none
        raise UserError(f"the package {name} is not installed here; `make env` makes the environment") from None


def package_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Installed versions of the packages that can change a stage's numbers."""
    return {name: package_version(name) for name in names}
