"""One fork server for the jobs of all engines that a test process starts: torch is imported once, not at each build.

Nothing of this project is in memory in its forks: a job finds the code of its own checkout. Tests of kills, of signals
and of documented commands leave it out; there each engine has a server of its own, as everywhere else.
"""

import atexit
import functools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from forked import UNTHREADED, plain_path

from capacity.jobs import fork_server
from capacity.jobs.startup import FORK_SERVER


@functools.cache
def job_server() -> dict[str, str]:
    """The environment that hands jobs to the server of this process, which ends with it."""
    path = Path(tempfile.mkdtemp(prefix="job-server-")) / "socket"
    command = [sys.executable, __file__, str(path)]
    server = subprocess.Popen(command, env=os.environ | UNTHREADED, stdin=subprocess.PIPE, start_new_session=True)
    assert server.stdin is not None, "it was started with a pipe"
    atexit.register(server.stdin.close)
    while not path.exists():
        assert server.poll() is None, "the server of jobs did not start"
        time.sleep(0.05)
    return {FORK_SERVER: str(path)}


def become_job(request: dict[str, Any], *given: Any) -> None:
    """In the fork: forget this project, look where the job's environment says, and do what it asks."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "capacity"]:
        del sys.modules[name]
    places = request["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = ["", *filter(None, places), *plain_path()]
    WORK(request, *given)


if __name__ == "__main__":
    plain_path()
    WORK = fork_server.do_work
    fork_server.do_work = become_job
    fork_server.Server(sys.argv[1]).serve()
