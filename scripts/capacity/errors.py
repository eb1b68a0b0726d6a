"""Exceptions that are meant for the user's eyes."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

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
LONGEST_LINE = 2000  # characters of a message, for the terminal's sake


class UserError(ValueError):
    """Mistakes that the user can fix, each of them one line that names the thing, the value and the remedy.

    A line stays one whatever stands in the values that it names: characters that do not print are escaped, and of a
    line that is too long the middle is left out.
    """

    def __init__(self, *lines: str):
        super().__init__("\n".join(_short(printable(line)) for line in lines))


class NotOurs(UserError):
    """Something that this project neither uses nor replaces: a person has to decide about it."""


class OtherSchema(NotOurs):
    """Something that another version of this project wrote: to be left alone, not to be taken for damaged."""


class Unlisted(NotOurs):
    """Something in an artefact's folder that its manifest does not list."""


def unwritable(error: BaseException | None, place: Path) -> UserError | None:
    """The message for an error that comes from a place where nothing more can be written, or None for another one.

    Libraries say it in different words, some not at all; a disk that is full is looked for then.
    """
    if isinstance(error, UserError):  # it says already what is wrong
        return None
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


def printable(text: str, kept: str = "") -> str:
    """A text for a terminal or a page: what controls one, or is no character, as `\\x1b`, but for what is kept."""
    return "".join(each if each.isprintable() or each in kept else ascii(each)[1:-1] for each in text)


def _short(line: str) -> str:
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} ... {line[-half:]}"


@contextlib.contextmanager
def ending_where_unwritable(results: Path) -> Iterator[None]:
    """End the process with one line where the results folder takes nothing. Raises SystemExit."""
    try:
        yield
    except OSError as error:
        reason = unwritable(error, results)
        if reason is None:
            raise
        fail(reason)


def fail(error: UserError) -> NoReturn:
    """One line for the user, exit code 1."""
    sys.stderr.write(f"error: {printable(str(error), kept=chr(10))}\n")  # at once: the engine has a thread that writes
    sys.stderr.flush()
    raise SystemExit(1)
