"""Jobs of a local run as forks of one process that has torch, transformers and others in memory, which takes 2 s.

    engine --starts--> server                  imports with the first request, then forks for every request
    job    --asks----> server --forks--> work  the same script, arguments, folder, environment, output and exit code

A fork begins as a fresh process does after its imports, so the numbers are the same. Where no server is, as on
clusters, or it runs another Python, a job works alone (`capacity.jobs.startup.hand_over`).
`python -m capacity.jobs.fork_server SOCKET` serves until its standard input ends and no work is left.
"""

import atexit
import contextlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from capacity.jobs.startup import ACCEPTED, FORK_SERVER, lean_imports

MESSAGE = 2**20  # bytes, at most: a command line and an environment
LONGEST_PLACE = 70  # bytes of the folder for temporary files: a socket's path has 107 at most
UNTHREADED = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}  # else pyarrow starts a thread


def start_server() -> tuple[str, subprocess.Popen[bytes]]:
    """A server that ends after this process, however that ends; its socket, and the process to be kept."""
    place = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="fork-server-", dir=place if len(os.fsencode(place)) <= LONGEST_PLACE else "/tmp")
    path = str(Path(folder) / "socket")
    command = [sys.executable, "-m", __name__, path]
    # A session of its own: what a terminal sends reaches the jobs, and their work through them alone.
    library, environment = Path(__file__).parents[2], os.environ | UNTHREADED
    server = subprocess.Popen(command, cwd=library, env=environment, stdin=subprocess.PIPE, start_new_session=True)
    atexit.register(_end, server)
    return path, server


def _end(server: subprocess.Popen[bytes]) -> None:
    """See a server end, so that its processor time counts as this process's; not where it is slow to."""
    assert server.stdin is not None, "it was started with a pipe"
    server.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(5)


@dataclass(eq=False)
class ForkedJob:
    """A job that waits, and the fork that does its work."""

    socket: socket.socket
    work: ForkProcess
    process: int


class Server:
    """Listens at a socket and forks for each job."""

    def __init__(self, path: str):
        self.path = Path(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        self.listener.listen(socket.SOMAXCONN)
        self.jobs: list[ForkedJob] = []

    def serve(self) -> None:
        """Until the engine has ended, and then until no work is left."""
        engine = [sys.stdin.fileno()]  # nothing is written there: readable is ended
        while engine or self.jobs:
            sockets: dict[Any, ForkedJob] = {job.socket: job for job in self.jobs}
            works: dict[Any, ForkedJob] = {job.work.sentinel: job for job in self.jobs}
            for ready in connection.wait([self.listener, *engine, *sockets, *works]):
                if ready is self.listener:
                    self._accept()
                elif ready in engine:
                    engine.clear()
                elif ready in sockets:
                    self._hand_on(sockets[ready])
                else:
                    self._finish(works[ready])
        self.path.unlink()
        self.path.parent.rmdir()

    def _accept(self) -> None:
        """Fork for a job that asks, unless it runs another Python or has ended meanwhile."""
        asking = self.listener.accept()[0]
        output: list[int] = []
        try:
            message, output, _, _ = socket.recv_fds(asking, MESSAGE, 2)
            request = json.loads(message)
        except (OSError, ValueError):  # cut short: the job was killed, or its environment is longer than a message
            request = {}
        if request.get("prefix") == sys.prefix and _hears_of_it(asking):
            not_its_own = [self.listener, asking, *(job.socket for job in self.jobs)]
            work = get_context("fork").Process(target=do_work, args=(request, output, not_its_own))
            work.start()
            assert work.pid is not None, "it was started"
            self.jobs.append(ForkedJob(asking, work, work.pid))
        else:
            asking.close()
        for descriptor in output:
            os.close(descriptor)

    def _hand_on(self, job: ForkedJob) -> None:
        """A signal for the work; where the job has ended, the work ends too."""
        if job not in self.jobs:
            return
        try:
            message = job.socket.recv(1)
        except OSError:  # the job has ended before it read that it was accepted
            message = b""
        with contextlib.suppress(ProcessLookupError):
            os.kill(job.process, message[0] if message else signal.SIGKILL)
        if not message:
            job.work.join()
            self._finish(job)

    def _finish(self, job: ForkedJob) -> None:
        if job not in self.jobs:
            return
        self.jobs.remove(job)
        job.work.join()
        with contextlib.suppress(OSError):  # the job has ended
            job.socket.send(str(job.work.exitcode).encode())
        job.socket.close()
        job.work.close()


def _hears_of_it(asking: socket.socket) -> bool:
    """Whether a job reads that its work is begun: it may have been killed since it asked."""
    preload()
    try:
        asking.send(ACCEPTED)
    except OSError:
        return False
    return True


def preload() -> None:
    """Import what most jobs need and no edit of this project changes. Nothing here may start a thread."""
    with lean_imports():
        import lightning.fabric  # noqa: F401
        import pandas  # noqa: F401
        import pyarrow.csv
        import pyarrow.dataset  # noqa: F401
        import torch._inductor.compile_fx  # noqa: F401
        from pydantic import BaseModel, Field, TypeAdapter, types  # noqa: F401
        from transformers import GPTNeoXForCausalLM, LlamaForCausalLM, MistralForCausalLM  # noqa: F401


def do_work(request: dict[str, Any], output: list[int], not_its_own: list[socket.socket]) -> None:
    """In the fork: become the process that the job would have been."""
    for other in not_its_own:
        other.close()
    for own, given in zip((1, 2), output, strict=True):
        os.dup2(given, own)
    os.environ.clear()
    os.environ.update(request["environment"])
    del os.environ[FORK_SERVER]  # what this process starts is no job
    os.chdir(request["folder"])
    sys.argv = request["argv"]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out


if __name__ == "__main__":
    Server(sys.argv[1]).serve()
