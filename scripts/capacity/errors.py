"""Exceptions that are meant for the user's eyes."""

import errno
import os
from pathlib import Path

FREE, WRITABLE = "free some of it", "make it writable"
UNWRITABLE = {
    errno.ENOSPC: FREE,
    errno.EDQUOT: FREE,
    errno.EROFS: WRITABLE,
    errno.EACCES: WRITABLE,
    errno.EPERM: WRITABLE,
    errno.EIO: "check the disk",
}
LEAST_FREE = 1_000_000  # bytes; a disk with less is called full


class UserError(ValueError):
    """Mistakes that the user can mend, each of them one line that names the thing, the value and the remedy.

    A line stays one whatever stands in the values that it names: characters that do not print are escaped.
    """

    def __init__(self, *lines: str):
        super().__init__("\n".join(map(_printable, lines)))


class OtherSchema(UserError):
    """Something that another version of this project wrote: to be left alone, not to be taken for damaged."""


def unwritable(error: BaseException | None, place: Path) -> UserError | None:
    """The message for an error that comes from a place where nothing more can be written, or None for another one.

    Libraries tell it in their own words, some in none; a disk that is full is looked for then.
    """
    code = error.errno if isinstance(error, OSError) else None
    if code is None:
        code = next((each for each in UNWRITABLE if os.strerror(each) in str(error)), None)
    if code is None and isinstance(error, RuntimeError | OSError) and _is_full(place):
        code = errno.ENOSPC
    if code not in UNWRITABLE:
        return None
    path = (isinstance(error, OSError) and error.filename) or place
    return UserError(f"{path}: {os.strerror(code)}; {UNWRITABLE[code]}, then start the run again")


def _is_full(place: Path) -> bool:
    existing = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    status = os.statvfs(existing)
    return status.f_bavail * status.f_frsize < LEAST_FREE


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
