"""Whether a job runs, by its scratch folder, and what the log of one that does not says of how it ended."""

import os
import re
import socket
import time
from pathlib import Path

from capacity.artefacts.spec import Spec
from capacity.artefacts.stages import STAGES
from capacity.jobs.lease import lives

SILENT_SECONDS = 86_400  # without a sign of a job on another host, after which it counts as ended

LOG_END = 8192  # bytes of a log in which its last line is looked for

# The last line of a log: of a job that made its artefact, that was stopped, or that had no time to say so.
ENDED_WELL = re.compile(r": (made in [\d.]+ s|made by another process|taken from the store .*)$")
STOPPED = re.compile(r"; the state is saved$|; this job's time is over$|^KeyboardInterrupt")
AT_WORK = re.compile(r"(step|batch) [\d,]+ of |going on from |waiting for ")


def log_of(spec: Spec, results: Path) -> Path:
    """Where a job's output goes."""
    return results / "logs" / STAGES[spec.stage].rule / f"{spec.id}.log"


def state_in_log(log: Path) -> str:
    """What the log of a job that does not run says of an artefact that is not there: stopped, failed or missing.

    stopped: it was interrupted, or killed before it had printed a line. missing: it never began, or it ended well
    and the artefact was removed since.
    """
    try:
        last = printed_last(log)
    except OSError:
        return "missing"
    if ENDED_WELL.search(last):
        return "missing"
    return "stopped" if not last or STOPPED.search(last) or AT_WORK.match(last) else "failed"


def printed_last(log: Path) -> str:
    """The last line of a log that is not empty, without blanks at its ends; nothing where nothing was printed."""
    with open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_END))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def being_made(results: Path) -> set[str]:
    """Ids of the artefacts that jobs are making now."""
    return {folder.name.partition(".")[0] for folder in (results / "scratch").glob("*") if is_in_use(folder)}


def is_in_use(scratch: Path) -> bool:
    """Whether the process that a scratch folder, <id>.<host>.<pid>, belongs to runs.

    Another host cannot be asked: there it may, as long as the folder or the job's log changed in the last day.
    """
    host, _, pid = scratch.name.partition(".")[2].removesuffix(".replaced").rpartition(".")
    if not pid.isdigit() or host == socket.gethostname():
        return pid.isdigit() and lives(int(pid))
    results, identity = scratch.parent.parent, scratch.name.partition(".")[0]
    shown = (scratch, *scratch.glob("*"), *results.glob(f"logs/*/{identity}.log"))
    return max(map(_changed, shown)) > time.time() - SILENT_SECONDS


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
