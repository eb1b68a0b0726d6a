"""Files of the project that a model of one's own reads while it is built and called, besides the source that counts.

Such a file can change a number and is no part of a result's identity: a later run would take an old number for current.
"""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capacity.environment import REPOSITORY

LIBRARY = {"results", "scripts"}  # below the project folder, and all that begins with a dot

_open_lists: list[list[str]] = []
_hooks: list[Any] = []


@contextlib.contextmanager
def reads() -> Iterator[list[str]]:
    """The paths of all files that this process opens within the block, as they are given, in order.

    Sources of modules that were loaded before are left out after the block: a warning shows lines of them.
    """
    loaded = {
        os.path.abspath(file) for module in [*sys.modules.values()] if (file := getattr(module, "__file__", None))
    }
    if not _hooks:
        _hooks.append(_listen)
        sys.addaudithook(_listen)
    opened: list[str] = []
    _open_lists.append(opened)
    try:
        yield opened
    finally:
        _open_lists.remove(opened)
        opened[:] = [path for path in opened if os.path.abspath(path) not in loaded]


def _listen(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _open_lists and isinstance(args[0], str | bytes | os.PathLike):
        for opened in _open_lists:
            opened.append(os.fsdecode(args[0]))


def hidden(opened: list[str], counted: set[str]) -> list[str]:
    """Of files that were opened, those of the project that do not count, as paths in it; of bytecode its source.

    counted: paths in the project, as `capacity.models.factories.source_digests` gives them.
    """
    found = {}
    for text in opened:
        path = Path(os.path.abspath(text))
        if path.parent.name == "__pycache__":
            with contextlib.suppress(ValueError):
                path = Path(importlib.util.source_from_cache(str(path)))
        with contextlib.suppress(ValueError):
            place = path.relative_to(REPOSITORY)
            own = place.parts[0] not in LIBRARY and not place.parts[0].startswith(".")
            if own and path.is_file() and place.as_posix() not in counted:
                found[place.as_posix()] = True
    return list(found)
