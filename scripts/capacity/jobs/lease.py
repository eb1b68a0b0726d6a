"""A lease on a training: one process at a time works on its resume files, whether or not the engine still runs.

The lease is a file beside the resume state. Its holder refreshes the file's time; who waits watches for a
change with a watch of its own, because the clocks of two nodes need not agree. Two processes that work at
once, after a pause longer than the term, only waste time: the resume state is replaced whole, and both
compute the same bytes.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

BEAT = 15.0  # seconds between refreshes
TERM = 120.0  # seconds without a refresh after which a lease is nobody's; caches of network file systems keep 60
POLL = 2.0  # seconds between looks at a lease of another process
LEASE = "lease"  # the file's name in the resume folder


class Busy(Exception):
    """Another process still works, and this one cannot wait for it any longer."""


@contextlib.contextmanager
def held(
    folder: Path,
    is_done: Callable[[], bool],
    patience: float | None = None,
    term: float = TERM,
    beat: float = BEAT,
) -> Iterator[bool]:
    """Hold the lease of a resume folder inside; gives False where another process did the work.

    Waits for another holder until it releases the lease, does not refresh it for `term` seconds or is known to have
    ended, or until is_done() holds. A process that finds that another took its lease asks itself to stop, with SIGTERM.
    patience: seconds to wait at most; after them Busy is raised.
    """
    lease = Lease(folder, term)
    if not lease.take(is_done, patience):
        yield False
        return
    stop = threading.Event()
    keeper = threading.Thread(target=lease.keep, args=(stop, beat), daemon=True)
    keeper.start()
    try:
        yield not is_done()
    finally:
        stop.set()
        keeper.join()
        lease.release()


class Lease:
    """One process's claim to a resume folder. term: seconds without a refresh that end any lease."""

    def __init__(self, folder: Path, term: float = TERM):
        self.path, self.term = folder / LEASE, term
        self.text = json.dumps(holder(), sort_keys=True)

    def take(self, is_done: Callable[[], bool], patience: float | None = None) -> bool:
        """Wait for the lease and take it; False where the work was done. Raises Busy when out of patience."""
        started, seen, said = time.monotonic(), None, False
        while not is_done():
            if self._create():
                return True
            found, now = self._look(), time.monotonic()
            if found is None:
                continue
            if seen is None or found != seen[0]:
                seen = (found, now)
            if now - seen[1] >= self.term or is_dead(found[0]):
                self._break(found[0])
                continue
            if not said:
                _say(f"waiting for {describe(found[0])}, which works on {self.path.parent.name}")
                said = True
            if patience is not None and now - started >= patience:
                raise Busy(f"{self.path}: {describe(found[0])} still works on it; this job's time is over")
            time.sleep(min(POLL, self.term / 4))
        return False

    def keep(self, stop: threading.Event, beat: float) -> None:
        """Refresh the lease until asked to stop; ask this process to end where the lease is another's."""
        while not stop.wait(beat):
            with contextlib.suppress(OSError):  # of a network file system that does not answer; it may the next time
                if not self._is_mine():
                    _say(f"{self.path}: the lease went to another process while this one was paused; stopping")
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                os.utime(self.path)

    def release(self) -> None:
        """Release the lease, and remove the folder where nothing else is in it."""
        with contextlib.suppress(OSError):
            if self._is_mine():
                self.path.unlink(missing_ok=True)
            self.path.parent.rmdir()

    def _create(self) -> bool:
        """Take a lease that nobody holds."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except (FileExistsError, FileNotFoundError):  # held; or the folder went away just now
            return False
        try:
            with os.fdopen(file, "w") as stream:
                stream.write(self.text)
        except OSError:  # one that says nothing would be waited for
            self.path.unlink(missing_ok=True)
            raise
        return True

    def _look(self) -> tuple[str, int] | None:
        """The lease's text and time; opened, so that a network file system asks its server."""
        try:
            with open(self.path) as file:
                return file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return None

    def _is_mine(self) -> bool:
        found = self._look()
        return found is not None and found[0] == self.text

    def _break(self, text: str) -> None:
        """Take away a lease that is nobody's; one that another process put there meanwhile goes back."""
        aside = self.path.with_name(f"{LEASE}.{socket.gethostname()}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.rename(self.path, aside)
            if aside.read_text() != text:
                with contextlib.suppress(FileExistsError):
                    os.link(aside, self.path)
            else:
                _say(f"{describe(text)} is gone; its work is taken up")
            aside.unlink()


def holder() -> dict[str, str | int | None]:
    """This process, as a lease names it."""
    return {
        "host": socket.gethostname(),
        "place": _place(),
        "pid": os.getpid(),
        "since": time.time_ns(),
        "job": _slurm_job(),
    }


def is_dead(text: str) -> bool:
    """Whether a holder is known to have ended: a process of this machine, or an earlier start of this job."""
    try:
        other = json.loads(text)
        place, pid, job = other["place"], int(other["pid"]), other["job"]
    except (ValueError, KeyError, TypeError):  # being written at this moment, or no lease
        return False
    if place == _place():
        return not lives(pid)
    return job is not None and job == _slurm_job()


def describe(text: str) -> str:
    """A lease's holder in words."""
    try:
        other = json.loads(text)
        job = f" (SLURM job {other['job']})" if other["job"] else ""
        return f"process {other['pid']} on {other['host']}{job}"
    except (ValueError, KeyError, TypeError):
        return "a process that left no name"


def _slurm_job() -> str | None:
    """The SLURM job, or task of an array, that this process belongs to."""
    job, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{job}_{task}" if job and task else os.environ.get("SLURM_JOB_ID")


def _place() -> str:
    """Where process ids mean the same: the host, its boot and the namespace of ids, as far as it is shown."""
    facts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        facts += [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            os.readlink("/proc/self/ns/pid"),
        ]
    return " ".join(facts)


def lives(pid: int) -> bool:
    """Whether a process exists here; one that ended and was not yet collected by its parent does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except (OSError, IndexError):  # another user's, or a system without /proc
        return True


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
