"""A training done in as many sessions as it takes: it resumes, saves now and then, shows how far it is, and stops."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import transformers

from capacity.jobs.progress import Progress
from capacity.jobs.resume import bring_back, load_state, put_aside, save_state
from capacity.jobs.startup import permanent_objects
from capacity.jobs.stop import Interrupted, StopRequest
from capacity.jobs.training_files import TrainingFiles
from capacity.training.device import numeric_conditions
from capacity.training.loop import Loop

SAVE_SECONDS = 60.0  # between saves of the state

L = TypeVar("L", bound=Loop)


class Session(Generic[L]):
    """One process's part of a training, from start or resume to its end or an interruption.

    resume: where the state is kept, a folder that the artefact's id names. conditions: what must be equal for a state
    to be of use, beside that name, versions and the device.
    """

    def __init__(self, loop: L, resume: Path, conditions: dict[str, Any]):
        self.loop, self.resume = loop, resume
        self.conditions = {
            "checkpoint": resume.name,  # the settings do not name the data
            **conditions,
            **loop.execution,
            "transformers": transformers.__version__,
            **numeric_conditions(loop.device),
        }
        self.setup_seconds = self.compile_seconds = 0.0
        self.step_seconds = self.step_cpu_seconds = 0.0  # of all sessions
        self.num_sessions = 1
        loop.group.first(lambda: bring_back(resume, self.conditions))
        saved = load_state(resume, self.conditions)
        if saved:
            tensors, counters = saved
            loop.restore(tensors, counters)
            self.step_seconds, self.step_cpu_seconds = counters["step_seconds"], counters["step_cpu_seconds"]
            self.num_sessions = counters["num_sessions"] + 1
            print(f"going on from {self._position}", file=sys.stderr, flush=True)
        loop.group.check_equal(loop.step)  # so all have read it
        if not saved:
            loop.group.first(lambda: put_aside(resume))

    @property
    def _position(self) -> str:
        return f"step {self.loop.step:,} of {self.loop.num_steps:,}"

    def save(self) -> None:
        """Save the state; the training's numbers are read, never changed."""
        tensors, counters = self.loop.state()
        sessions = {name: vars(self)[name] for name in ("step_seconds", "step_cpu_seconds", "num_sessions")}
        save_state(self.resume, tensors, counters | sessions, self.conditions)

    def run(self, stop: StopRequest) -> None:
        """Do the steps that are left. Raises Interrupted when asked to stop: alone at once, else after a chunk."""
        loop = self.loop
        alone = loop.group.alone
        steps = loop.steps(lambda: stop.reason is None)
        self._first(steps)
        if alone:
            self._stop_if_asked(stop)
        files = TrainingFiles(self.resume, loop.rows)
        progress = Progress(loop.num_steps, loop.exposures, loop.step, loop.tokens, files)
        self._clocks = time.monotonic(), time.process_time()
        save_due = time.monotonic() + SAVE_SECONDS
        for step in steps:
            now = time.monotonic()
            if now < min(progress.due, save_due, stop.deadline) and stop.signal is None:
                continue
            self._count_time()
            if alone:
                self._stop_if_asked(stop)
            if now >= save_due:
                self.save()
                save_due = time.monotonic() + SAVE_SECONDS
            if now >= progress.due:
                progress.update(step, loop.tokens, float(loop.loss))
        float(loop.loss)
        self._count_time()
        self._stop_if_asked(stop)
        progress.update(loop.step, loop.tokens, float(loop.loss))
        files.close()

    def _count_time(self) -> None:
        """Add what has passed since the last call to the time of the steps."""
        wall, cpu = self._clocks
        self._clocks = time.monotonic(), time.process_time()
        self.step_seconds += self._clocks[0] - wall
        self.step_cpu_seconds += self._clocks[1] - cpu

    def _first(self, steps: Iterator[int]) -> None:
        """Do one step; where it compiles, its time is that of compiling."""
        started = time.monotonic()
        with permanent_objects():
            next(steps, None)
            float(self.loop.loss)  # waits for the device
        seconds = time.monotonic() - started
        if self.loop.compiled:
            self.compile_seconds = seconds
        else:
            self.step_seconds += seconds

    def _stop_if_asked(self, stop: StopRequest) -> None:
        reason = stop.reason
        if reason and self.loop.step < self.loop.num_steps:
            self.save()
            raise Interrupted(f"stopped by {reason} at {self._position}; the state is saved")


def run_resumably(
    make: Callable[[], L], resume: Path, conditions: dict[str, Any], time_budget_seconds: float | None
) -> Session[L]:
    """Make a training and do its steps, from its saved state on where there is one; the caller removes the state later.

    A training that is stopped, by SIGTERM, SIGINT, SIGKILL or its budget in seconds of wall time, and started again,
    ends with the same bits as one that was never stopped. Raises Interrupted after a stop.
    """
    started = time.monotonic()
    with StopRequest(time_budget_seconds) as stop:
        session = Session(make(), resume, conditions)
        session.setup_seconds = time.monotonic() - started
        try:
            session.run(stop)
        finally:
            session.loop.group.leave()
    return session
