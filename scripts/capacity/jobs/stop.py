"""Why a training stops before its end: a signal, or the end of its time budget; and how its job ends then."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

from capacity.jobs.lease import Busy

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """A training that saved its state and stopped before its end; started again, it goes on from there."""


@contextlib.contextmanager
def goes_on_later() -> Iterator[None]:
    """Where a training inside stops before its end, or waited in vain for another process: a line, and exit code 75."""
    try:
        yield
    except (Interrupted, Busy) as stop:
        print(stop, file=sys.stderr, flush=True)
        raise SystemExit(os.EX_TEMPFAIL) from None


class StopRequest:
    """Inside this context SIGTERM and SIGINT only leave a note; `reason` says what asks to stop, if anything.

    time_budget_seconds: from now on; None is no limit.
    """

    def __init__(self, time_budget_seconds: float | None):
        self.deadline = float("inf") if time_budget_seconds is None else time.monotonic() + time_budget_seconds
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def reason(self) -> str | None:
        if self.signal is not None:
            return self.signal.name
        return "the end of the time budget" if time.monotonic() >= self.deadline else None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
