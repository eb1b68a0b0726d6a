"""Waiting in a test until something is so."""

import time
from collections.abc import Callable


def wait(
    condition: Callable[[], object],
    seconds: float = 60,
    what: str = "it did not come to be",
    describe: Callable[[], str] = str,
) -> None:
    """Until a condition holds. Raises AssertionError, with what and a description, where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not after {seconds} seconds: {what}\n{describe()}"
        time.sleep(0.05)
