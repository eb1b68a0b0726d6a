"""One run at a time in a results folder, and none while it is audited: a lock that ends with the process."""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from capacity.errors import UserError, ending_where_unwritable, fail

LOCK = "engine.lock"
HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # another process has it


def lock_run(results: Path) -> IO[str]:
    """Hold the results folder for this process until it ends, however it ends. Raises SystemExit where another does."""
    with ending_where_unwritable(results):
        file = open(results / LOCK, "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        reason = f"another run is under way here ({file.read().strip()}); wait for it"
        if error.errno not in HELD:
            reason = f"{LOCK} cannot be locked ({error.strerror}); put results on a file system that has flock"
        fail(UserError(f"{results}: {reason}"))
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file


@contextlib.contextmanager
def alone(results: Path) -> Iterator[None]:
    """Hold it for a moment. Raises OSError where another does, or nothing can be written here."""
    results.mkdir(exist_ok=True)
    with open(results / LOCK, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextlib.contextmanager
def still(results: Path) -> Iterator[None]:
    """Keep runs of this folder from beginning while it is looked at. Raises UserError where one is under way."""
    path = results / LOCK
    if not path.is_file():
        yield
        return
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # NFS refuses an exclusive one of a file opened to read
        except OSError as error:
            if error.errno not in HELD:
                raise UserError(f"{path}: cannot be locked ({error.strerror}); audit a copy on another disk") from None
            raise UserError(
                f"{results}: a run is under way here ({file.read().strip()[:100]}); wait for it, or audit a copy"
            ) from None
        yield
