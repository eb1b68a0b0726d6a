"""Promises of progress lines: rare in a log, one rewritten line on a terminal, times as people say them."""

import io
import time

import pytest

from capacity.jobs.progress import LOG_SECONDS, TERMINAL_SECONDS, Progress, duration, rate_in_words


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets: time.monotonic() gives its one entry."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_log_line_tells_position_loss_speed_and_time_left(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = Progress(10_000, 1000, step=2000, tokens=1_000_000, stream=stream)
    assert progress.due == 100 + LOG_SECONDS
    clock[0] = 110.0
    progress.show(3000, 4_000_000, 1.23456)
    assert stream.getvalue() == (
        "step 3,000 of 10,000  exposure 300.0 of 1000  loss 1.235 nats  300k tokens/s  1 min 10 s left\n"
    )
    assert progress.due == 110 + LOG_SECONDS


def test_a_training_without_exposures_says_nothing_of_them(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = Progress(100, None, stream=stream)
    clock[0] = 110.0
    progress.show(10, 50_000, 1.0)
    assert stream.getvalue() == "step 10 of 100  loss 1.000 nats  5k tokens/s  1 min 30 s left\n"


def test_speed_is_that_since_the_line_before(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = Progress(100, 10, stream=stream)
    for seconds, step, tokens in ((105.0, 10, 500_000), (107.0, 20, 1_500_000)):
        clock[0] = seconds
        progress.show(step, tokens, 1.0)
    assert [line.split("  ")[3] for line in stream.getvalue().splitlines()] == [
        "100k tokens/s",
        "500k tokens/s",
    ]


def test_the_last_line_has_no_time_left(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = Progress(100, 10, stream=stream)
    clock[0] = 101.0
    progress.show(100, 1000, 0.5)
    assert "left" not in stream.getvalue()


def test_a_terminal_has_one_line_that_is_rewritten(clock: list[float]) -> None:
    stream = Terminal()
    progress = Progress(100, 10, stream=stream)
    assert progress.due == 100 + TERMINAL_SECONDS
    clock[0] = 101.0
    progress.show(50, 1000, 0.5)
    progress.show(100, 2000, 0.5)
    assert stream.getvalue().count("\r") == 2
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_slow_rate_is_not_rounded_to_nothing() -> None:
    assert [rate_in_words(rate) for rate in (386.4, 999.0, 1000.0, 2.5e6)] == [
        "386 tokens/s",
        "999 tokens/s",
        "1k tokens/s",
        "2,500k tokens/s",
    ]
