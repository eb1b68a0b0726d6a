"""How far a training is: on a terminal one line that is rewritten, in a log a line every ten seconds."""

import sys
import time
from typing import TextIO

TERMINAL_SECONDS, LOG_SECONDS = 0.5, 10.0


class Progress:
    """Prints the position of a training now and then; `due` is the time.monotonic() of the next line.

    exposures: None where they are not counted. step, tokens: where this session starts; tokens are those scored so far
    in the whole training.
    """

    def __init__(
        self, num_steps: int, exposures: int | None, step: int = 0, tokens: int = 0, stream: TextIO | None = None
    ):
        self.num_steps, self.exposures = num_steps, exposures
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.every = TERMINAL_SECONDS if self.terminal else LOG_SECONDS
        self.first_step, self.started = step, time.monotonic()
        self.last, self.last_tokens = self.started, tokens
        self.due = self.started + self.every

    def show(self, step: int, tokens: int, loss: float) -> None:
        """Print the line. loss: of the latest step, in nats a token."""
        now = time.monotonic()
        rate = (tokens - self.last_tokens) / max(now - self.last, 1e-9)
        line = f"step {step:,} of {self.num_steps:,}"
        if self.exposures is not None:
            line += f"  exposure {self.exposures * step / self.num_steps:.1f} of {self.exposures}"
        line += f"  loss {loss:.3f} nats  {rate / 1e3:,.0f}k tokens/s"
        last = step == self.num_steps
        if not last and step > self.first_step:
            left = (now - self.started) * (self.num_steps - step) / (step - self.first_step)
            line += f"  {duration(left)} left"
        if self.terminal:
            print(f"\r{line:<100}", end="\n" if last else "", file=self.stream, flush=True)
        else:
            print(line, file=self.stream, flush=True)
        self.last, self.last_tokens, self.due = now, tokens, now + self.every


def duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
