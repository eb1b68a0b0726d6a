"""The paths in a configuration that somebody else wrote: inside the project, or nothing of it is read.

A configuration's files are read and named by content when it is resolved, before any check of the archive.
"""

from collections.abc import Iterator
from typing import Any

from capacity.audit.folder import is_inside
from capacity.config.experiment import Config
from capacity.errors import UserError
from capacity.hub.public import PATHS

CONFIG_PATHS = ("claims", *PATHS)  # keys whose value is a path from the project on
FOLDERS = ("value_lists",)  # keys of mappings to paths


def refuse_outside(config: Config) -> None:
    """Raises UserError for a configuration that names a path outside the project."""
    for key, path in _paths(config.model_dump(mode="json", exclude_unset=True), ""):
        if not is_inside(path):
            raise UserError(f"{key}: {path!r} lies outside the project's folder, and an archive has nothing read there")


def _paths(value: Any, key: str, named: bool = False) -> Iterator[tuple[str, str]]:
    """Key and text of all that can be a path. named: the key above says that there are paths below."""
    if isinstance(value, str) and value and named:
        yield key, value
    for inner, part in value.items() if isinstance(value, dict) else ():
        *above, last = inner.split(".")  # `vary` has dotted keys, and lists of values
        below = not isinstance(part, dict) and (named or last in CONFIG_PATHS)
        yield from _paths(part, f"{key}.{inner}".lstrip("."), below or not {last, *above}.isdisjoint(FOLDERS))
    for part in value if isinstance(value, list) else ():
        yield from _paths(part, key, named)
