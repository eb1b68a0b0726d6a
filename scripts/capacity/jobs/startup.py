"""Start-up of a job that needs torch: its imports are permanent, and made once for a whole run where that can be."""

import ctypes
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from capacity.jobs.allocation import follows
from capacity.jobs.gpu_locks import take_gpus_of_spec

FORK_SERVER = "CAPACITY_FORK_SERVER"  # the variable that names its socket
HANDED_ON = (signal.SIGTERM, signal.SIGINT)
ACCEPTED = b"+"
PR_SET_PDEATHSIG = 1  # of prctl(2)


@contextmanager
def permanent_objects() -> Iterator[None]:
    """No garbage collection inside; what exists at the end is never visited by one.

    Importing torch and transformers makes a million objects. Collecting among them costs 0.8 s of 3.2 s, and
    taking them apart when the process ends another 0.7 s.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def lean_imports() -> Iterator[None]:
    """Imports of torch and transformers, as permanent objects, and of what else stands inside.

    transformers takes scipy.optimize along for losses of object detection, which costs 0.3 s: it is imported first,
    and finds no scipy unless that is imported already. A job takes its GPUs before, since imports may look for some.
    """
    take_gpus_of_spec(sys.argv[1:])
    with permanent_objects():
        hidden = "scipy" not in sys.modules
        if hidden:
            sys.modules["scipy"] = None  # type: ignore[assignment]  # found by no import, and by no search
        try:
            import transformers.modeling_utils  # noqa: F401
        finally:
            if hidden:
                del sys.modules["scipy"]
        yield


def hand_over() -> None:
    """Have the run's fork server do what this script was started for, and end as it ends; return where none can.

    The server (`capacity.jobs.fork_server`) has torch in memory. This process waits and hands signals on; where it is
    killed, the server kills the work.
    """
    if follows():
        _end_with_parent()
    path = os.environ.get(FORK_SERVER)
    if path is None:
        return
    request = {"prefix": sys.prefix, "argv": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        try:
            server.connect(path)
            socket.send_fds(server, [json.dumps(request).encode()], [1, 2])
            if server.recv(1) != ACCEPTED:
                return
        except OSError:  # none listens any more; nothing was begun
            return
        for number in HANDED_ON:
            signal.signal(number, lambda number, _: _hand_on(server, number))
        try:
            answer = server.recv(16)
        except OSError:  # as where the server ended before it read a signal
            answer = b""
    if not answer:
        print("error: the run's fork server was killed, and with it this job; start the run again", file=sys.stderr)
        raise SystemExit(1)
    end_as(int(answer))


def _end_with_parent() -> None:
    """Have Linux kill this process where the one that started it ends, however that ends."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _hand_on(server: socket.socket, number: int) -> None:
    """Tell the server of a signal; where it has ended, the wait for its answer has too."""
    with suppress(OSError):
        server.send(bytes([number]))


def end_as(code: int) -> None:
    """End with an exit code, or by the signal -code."""
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)
