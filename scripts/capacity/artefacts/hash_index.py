"""A memory of which files were hashed and found right: their stats. Without it all are hashed again, nothing more.

A job knows the bytes that it wrote, and notes the stats of an artefact's files when they lie in place; a main process
folds the notes into an index. A file that was touched since has another stat, and is hashed.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from capacity.artefacts.manifest import MANIFEST, contents, write_atomically

INDEX, NOTES = "integrity.json", "integrity.notes"
HERE = "."  # the artefact's folder itself, which changes when anything is put in

Marks = dict[str, list[int]]  # by relative path of a file or folder


def marks(stat: os.stat_result) -> list[int]:
    """What of a file or folder changes with it."""
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def note(results: Path, name: str, hashed: dict[str, os.stat_result]) -> None:
    """Add an artefact that this process has hashed and put in place; where that cannot be, it is only slower.

    hashed: the stats of its files, the manifest excepted, from before they were read. Where another one lies in the
    place, nothing is added. One line in one write: lines of several processes do not mix, and one that does is ignored.
    """
    with contextlib.suppress(OSError):
        found = contents(results / name)
        now = {place: marks(stat) for place, stat in (found.folders | found.files).items()}
        then = {place: marks(stat) for place, stat in hashed.items()}
        if found.others or {place: now[place] for place in found.files if place != MANIFEST} != then:
            return
        descriptor = os.open(results / NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, f"{json.dumps({name: now})}\n".encode())
        finally:
            os.close(descriptor)


class Memory:
    """What is known of a results folder, by artefact."""

    def __init__(self, results: Path):
        self._results = results
        notes = _read_notes(results / NOTES)
        self.known: dict[str, Marks] = _read_index(results / INDEX) | notes
        self.changed = bool(notes)

    def save(self) -> None:
        """Write the index where it changed; a results folder that cannot be written is only slower."""
        if self.changed:
            try:
                write_atomically(self._results / INDEX, json.dumps(self.known, sort_keys=True))
                (self._results / NOTES).unlink(missing_ok=True)
            except OSError:
                return
            self.changed = False


def _read_index(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return _artefacts(content)


def _read_notes(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    for line in lines:
        with contextlib.suppress(ValueError):
            found |= _artefacts(json.loads(line))
    return found


def _artefacts(content: Any) -> dict[str, Any]:
    """What of a JSON value can be marks of artefacts."""
    return (
        {name: known for name, known in content.items() if isinstance(known, dict)} if isinstance(content, dict) else {}
    )
