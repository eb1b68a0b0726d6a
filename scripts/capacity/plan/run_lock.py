"""One run at a time in a results folder: a lock that ends with the process. Who only reads needs none."""

import contextlib
import errno
import fcntl
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from capacity.errors import UserError, ending_where_unwritable, fail, printable

LOCK = "engine.lock"
MOST_OF_HOLDER = 300  # characters that are read of it
HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # another process has it


def lock_run(results: Path) -> IO[str]:
    """Hold the results folder for this process until it ends, however it ends. Raises SystemExit where another does."""
    with ending_where_unwritable(results):
        file = open(results / LOCK, "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        reason = (
            f"another run is under way here ({_holder(file)}); wait for it, end it with Ctrl-C where it was started, "
            "or run in a second checkout (docs/start.md)"
        )
        if error.errno not in HELD:
            reason = f"{LOCK} cannot be locked ({error.strerror}); put results on a file system that has flock"
        fail(UserError(f"{results}: {reason}"))
    file.truncate(0)
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    file.write(f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}: {command}\n")
    file.flush()
    return file


@contextlib.contextmanager
def alone(results: Path) -> Iterator[None]:
    """Hold it for a moment. Raises OSError where another does, or nothing can be written here."""
    results.mkdir(exist_ok=True)
    with open(results / LOCK, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def run_under_way(results: Path) -> str:
    """Which run holds a results folder now, as it says; empty where none does, or nobody can tell."""
    try:
        with open(results / LOCK) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                return _holder(file) if error.errno in HELD else ""
    except OSError:
        pass
    return ""


def tell_of_run(results: Path) -> None:
    """A line where what is read now may be of before a run that is under way."""
    if holder := run_under_way(results):
        print(f"a run is under way in {results} ({holder}): this reads what is there now", file=sys.stderr, flush=True)


def _holder(file: IO[str]) -> str:
    """What the holder of a lock wrote into it."""
    file.seek(0)
    return printable(file.read(MOST_OF_HOLDER).strip())
