"""A model that config.yaml names as `python: package.module:factory`: the files that its source lies in."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from capacity.artefacts.identity import input_digest
from capacity.environment import REPOSITORY
from capacity.errors import UserError


def source_digests(factory: str) -> dict[str, str]:
    """Path in the project to digest of the factory's module and of all it imports from the project.

    Comments, docstrings and formatting do not count. Nothing is run; folders need no __init__.py. Raises UserError
    where there is no such file or it is no Python.
    """
    module = factory.partition(":")[0]
    found: dict[Path, str] = {}
    waiting = list(_files_of(module))
    if module not in (name for name, _ in waiting):
        raise UserError(f"python: {factory}: no file {module.replace('.', '/')}.py in the project folder {REPOSITORY}")
    while waiting:
        name, path = waiting.pop()
        if path not in found:
            found[path] = input_digest(path)
            try:
                tree = ast.parse(path.read_bytes())
            except SyntaxError as error:
                raise UserError(f"python: {factory}: {path}, line {error.lineno}: {error.msg}") from None
            except (ValueError, RecursionError, MemoryError) as error:
                raise UserError(f"python: {factory}: {path} cannot be read as Python ({error})") from None
            package = name if path.stem == "__init__" else name.rpartition(".")[0]
            waiting += [file for imported in _imports(tree, package) for file in _files_of(imported)]
    return {path.relative_to(REPOSITORY).as_posix(): digest for path, digest in sorted(found.items())}


def find_factories() -> None:
    """Have modules of the project's folder be found first by import statements."""
    if sys.path[0] != str(REPOSITORY):
        sys.path.insert(0, str(REPOSITORY))


def _files_of(module: str) -> Iterator[tuple[str, Path]]:
    """Modules and files of the project that importing a module runs: its packages' and its own."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        base = REPOSITORY.joinpath(*parts[:end])
        for path in (base / "__init__.py", base.with_suffix(".py")):
            if path.is_file():
                yield ".".join(parts[:end]), path


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Absolute names of all that a module imports, inside functions too; `from a import b` may mean a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
