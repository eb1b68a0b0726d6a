"""A model that config.yaml names as `python: package.module:factory`: the files that its source lies in."""

from modulefinder import ModuleFinder
from pathlib import Path

from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.identity import file_digest


def source_digests(factory: str) -> dict[str, str]:
    """Path in the project to content digest of the factory's module and of all it imports from the project.

    Nothing is run. Raises UserError where there is no such file or it is no Python.
    """
    module = factory.partition(":")[0]
    base = REPOSITORY.joinpath(*module.split("."))
    if not any(path.is_file() for path in (base.with_suffix(".py"), base / "__init__.py")):
        raise UserError(f"python: {factory}: no file {module.replace('.', '/')}.py in the project folder {REPOSITORY}")
    finder = ModuleFinder(path=[str(REPOSITORY)])
    try:
        finder.import_hook(module)
    except SyntaxError as error:
        raise UserError(f"python: {factory}: {error.filename}, line {error.lineno}: {error.msg}") from None
    files = sorted(Path(found.__file__) for found in finder.modules.values() if found.__file__)
    return {path.relative_to(REPOSITORY).as_posix(): file_digest(path) for path in files}
