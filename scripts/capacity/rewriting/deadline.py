"""One time limit for a whole request: connection, handshake, headers and body. A socket's own is for one read of it."""

import contextlib
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any


class _Deadline:
    """Cuts a request's connection when its time is up, so that whoever reads of it reads no more."""

    def __init__(self, seconds: float):
        self.at, self.passed = time.monotonic() + seconds, False
        self.lock = threading.Lock()
        self.held: list[socket.socket] = []  # second handles: a handshake takes the first one's number away

    def connect(self, address: tuple[str, int], _timeout: Any, source: Any) -> socket.socket:
        """Instead of socket.create_connection."""
        opened = socket.create_connection(address, max(self.at - time.monotonic(), 0.001), source)
        with self.lock:
            self.held.append(opened.dup())
        if self.passed:
            self.cut()
        return opened

    def cut(self) -> None:
        """Shut down what is open; later connections too."""
        with self.lock:
            self.passed = True
            for each in self.held:
                with contextlib.suppress(OSError):  # the other side was sooner
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self.lock:
            for each in self.held:
                each.close()
            self.held.clear()


_OF_THIS_REQUEST: ContextVar[_Deadline] = ContextVar("_OF_THIS_REQUEST")


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What is asked inside, through Connections and by this thread, ends by then. Raises TimeoutError where it did."""
    watch = _Deadline(seconds)
    timer = threading.Timer(seconds, watch.cut)
    timer.daemon = True
    before = _OF_THIS_REQUEST.set(watch)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        _OF_THIS_REQUEST.reset(before)
        watch.close()
        if watch.passed:  # what was read may look like a whole answer
            raise TimeoutError(f"no whole answer in {seconds:g} s")


class Connections(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Of an opener: connections that end at the deadline."""

    def do_open(self, http_class: Any, req: urllib.request.Request, **more: Any) -> Any:
        def connection(*arguments: Any, **options: Any) -> Any:
            made = http_class(*arguments, **options)
            made._create_connection = _OF_THIS_REQUEST.get().connect
            return made

        return super().do_open(connection, req, **more)
