"""A model that config.yaml names as `python: package.module:factory`: the files of its source, and what they import."""

import ast
import functools
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

from capacity.artefacts.identity import input_digest
from capacity.environment import REPOSITORY
from capacity.errors import UserError


def source_digests(factory: str) -> dict[str, str]:
    """Path in the project to digest of the factory's module and of all it imports from the project.

    Comments, docstrings and formatting do not count. Nothing is run; folders need no __init__.py. Raises UserError
    where there is no such file or it is no Python.
    """
    paths = sorted(_sources(factory))
    return {path.relative_to(REPOSITORY).as_posix(): input_digest(path) for path in paths}


def imported_packages(factory: str) -> tuple[str, ...]:
    """Installed packages, by the names that pip knows, that these files import: a version of theirs is another model.

    Raises UserError as `source_digests` does.
    """
    tops = {name.partition(".")[0] for imported in _sources(factory).values() for name in imported}
    installed = _packages_by_import()
    return tuple(sorted({each for top in tops if not _is_own(top) for each in installed.get(top, ())}))


@functools.cache
def _packages_by_import() -> Mapping[str, list[str]]:
    return packages_distributions()


def _is_own(top: str) -> bool:
    """Whether an import is of the project, which is looked at first."""
    return (REPOSITORY / top).is_dir() or (REPOSITORY / f"{top}.py").is_file()


def _sources(factory: str) -> dict[Path, list[str]]:
    """The file of a factory's module and those that it imports from the project, each with all it imports."""
    module = factory.partition(":")[0]
    found: dict[Path, list[str]] = {}
    waiting = list(_files_of(module))
    if module not in (name for name, _ in waiting):
        raise UserError(f"python: {factory}: no file {module.replace('.', '/')}.py in the project folder {REPOSITORY}")
    while waiting:
        name, path = waiting.pop()
        if path not in found:
            try:
                tree = ast.parse(path.read_bytes())
            except SyntaxError as error:
                raise UserError(f"python: {factory}: {path}, line {error.lineno}: {error.msg}") from None
            except (ValueError, RecursionError, MemoryError) as error:
                raise UserError(f"python: {factory}: {path} cannot be read as Python ({error})") from None
            package = name if path.stem == "__init__" else name.rpartition(".")[0]
            found[path] = list(_imports(tree, package))
            waiting += [file for imported in found[path] for file in _files_of(imported)]
    return found


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
