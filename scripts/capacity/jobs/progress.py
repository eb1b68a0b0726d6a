"""How far a training is: on a terminal one line that is rewritten, in a log a line every ten seconds; and in files."""

import sys
import time
from typing import TextIO

from capacity.jobs.training_files import SECONDS, Position, TrainingFiles

TERMINAL_SECONDS, LOG_SECONDS = 0.5, 10.0


class Progress:
    """Shows the position of a training now and then; `due` is the time.monotonic() of the next time.

    exposures: None where they are not counted. step, tokens: where this session starts; tokens are those scored so far
    in the whole training. files: None where nobody watches.
    """

    def __init__(
        self,
        num_steps: int,
        exposures: int | None,
        step: int = 0,
        tokens: int = 0,
        files: TrainingFiles | None = None,
        stream: TextIO | None = None,
    ):
        self.num_steps, self.exposures = num_steps, exposures
        self.stream, self.files = stream or sys.stderr, files
        self.terminal = self.stream.isatty()
        self.every = TERMINAL_SECONDS if self.terminal else LOG_SECONDS
        self.first_step, self.started = step, time.monotonic()
        self._line, self._file = Speed(self.started, tokens), Speed(self.started, tokens)
        self._line_due = self.started + self.every
        self._file_due = self.started if files else float("inf")
        self.due = min(self._line_due, self._file_due)

    def update(self, step: int, tokens: int, loss: float) -> None:
        """Print and write what is due; all at the end. loss: of the latest step, in nats a token."""
        now, last = time.monotonic(), step == self.num_steps
        if self.files and (last or now >= self._file_due):
            self.files.write(self.position(step, loss, self._file.since_last(now, tokens)))
            self._file_due = now + SECONDS
        if last or now >= self._line_due:
            self.show(step, tokens, loss)
        self.due = min(self._line_due, self._file_due)

    def show(self, step: int, tokens: int, loss: float) -> None:
        """Print the line."""
        now = time.monotonic()
        line = f"step {step:,} of {self.num_steps:,}"
        if self.exposures is not None:
            line += f"  exposure {self.exposures * step / self.num_steps:.1f} of {self.exposures}"
        line += f"  loss {loss:.3f} nats  {rate_in_words(self._line.since_last(now, tokens))}"
        last, left = step == self.num_steps, self._seconds_left(step)
        if left is not None and not last:
            line += f"  {duration(left)} left"
        if self.terminal:
            print(f"\r{line:<100}", end="\n" if last else "", file=self.stream, flush=True)
        else:
            print(line, file=self.stream, flush=True)
        self._line_due = now + self.every
        self.due = min(self._line_due, self._file_due)

    def position(self, step: int, loss: float, rate: float) -> Position:
        """What the position file says. rate: tokens a second."""
        return Position(step, self.num_steps, self.exposures, loss, rate, self._seconds_left(step), time.time())

    def _seconds_left(self, step: int) -> float | None:
        """At the speed of this session; None before its first step."""
        done = step - self.first_step
        return (time.monotonic() - self.started) * (self.num_steps - step) / done if done else None


class Speed:
    """Tokens a second between two looks at them."""

    def __init__(self, now: float, tokens: int):
        self.last, self.tokens = now, tokens

    def since_last(self, now: float, tokens: int) -> float:
        """Tokens a second since the last call. tokens: of the whole training."""
        rate = (tokens - self.tokens) / max(now - self.last, 1e-9)
        self.last, self.tokens = now, tokens
        return rate


def rate_in_words(tokens_per_second: float) -> str:
    """A rate for people."""
    thousands = tokens_per_second / 1e3
    return f"{thousands:,.0f}k tokens/s" if thousands >= 1 else f"{tokens_per_second:.0f} tokens/s"


def duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
