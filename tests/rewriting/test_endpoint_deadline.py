"""One request of an endpoint ends at its deadline, whatever comes, and however slowly."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from worlds import FULL_BIOS, make_world

from capacity.errors import UserError
from capacity.rewriting import endpoint
from capacity.rewriting.spec import EndpointRewriter

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MANNERS = {  # what is sent at once, what is sent over and over after that, and seconds between
    "a status line": (b"HTTP/1.1 200 ", b"O", 0.05),
    "headers": (HEAD, b"a: b\r\n", 0.05),
    "one header": (HEAD + b"a: ", b"b", 0.05),
    "a chunk size": (CHUNKED, b"0", 0.05),
    "a body in chunks": (CHUNKED, b"1\r\na\r\n", 0.05),
    "a body": (HEAD + b"\r\n", b"a", 0.05),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.0),
}
HANDSHAKE = (b"\x16\x03\x03\x40\x00", b"\x02", 0.05)  # of TLS: one long record


def serve(listener: socket.socket, manner: tuple[bytes, bytes, float]) -> None:
    """Answer every connection in one manner until it is closed."""
    at_once, again, pause = manner

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(at_once)
            while True:
                connection.sendall(again)
                time.sleep(pause)

    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener
        listener.shutdown(socket.SHUT_RDWR)


def client_of(url: str, timeout: float) -> endpoint.EndpointClient:
    settings = EndpointRewriter(
        kind="endpoint", url=url, model="m", parallel=1, timeout=timeout, words=40, max_tokens=200, temperature=0.8
    )
    return endpoint.EndpointClient(settings, make_world(FULL_BIOS | {"N": 2}), 1)


def said_within(seconds: float, url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said of an endpoint that has 0.3 s for each of two requests; nothing where it holds on for so long."""
    monkeypatch.setattr(endpoint, "ATTEMPTS", 2)
    monkeypatch.setattr(endpoint, "PAUSE", 0.0)
    client = client_of(url, 0.3)
    said = []

    def ask() -> None:
        try:
            client._post(b"{}")
        except UserError as error:
            said.append(str(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return said[0] if said else ""


@pytest.mark.parametrize("manner", MANNERS.values(), ids=list(MANNERS))
def test_an_answer_that_drips_or_floods_ends_at_the_deadline(
    listener: socket.socket, manner: tuple[bytes, bytes, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    threading.Thread(target=serve, args=(listener, manner), daemon=True).start()
    said = said_within(3, f"http://127.0.0.1:{listener.getsockname()[1]}/v1", monkeypatch)
    assert "no whole answer in 0.3 s" in said or "timed out" in said
    assert "\n" not in said


def test_a_handshake_that_drips_ends_at_the_deadline(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    threading.Thread(target=serve, args=(listener, HANDSHAKE), daemon=True).start()
    said = said_within(3, f"https://127.0.0.1:{listener.getsockname()[1]}/v1", monkeypatch)
    assert "no whole answer in 0.3 s" in said or "timed out" in said


def test_a_proxy_that_drips_ends_at_the_deadline(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    threading.Thread(target=serve, args=(listener, MANNERS["one header"]), daemon=True).start()
    opener = endpoint.urllib.request.build_opener(
        endpoint.urllib.request.ProxyHandler({"https": f"http://127.0.0.1:{listener.getsockname()[1]}"}),
        *endpoint.HANDLERS,
    )
    monkeypatch.setattr(endpoint, "DIRECT", opener)
    said = said_within(3, "https://127.0.0.1:9/v1", monkeypatch)
    assert "no whole answer in 0.3 s" in said


def test_nothing_is_left_of_a_request_that_was_answered(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = HEAD + b"Content-Length: 2\r\n\r\n{}"
    threading.Thread(target=serve, args=(listener, (body, b"", 9.0)), daemon=True).start()
    client = client_of(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", 60.0)
    opened: list[socket.socket] = []
    really = socket.socket.dup
    monkeypatch.setattr(socket.socket, "dup", lambda self: opened.append(really(self)) or opened[-1])
    assert client._post(b"{}") == b"{}"
    assert [each.fileno() for each in opened] == [-1]
    for timer in [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]:
        timer.join(5)
        assert not timer.is_alive()
