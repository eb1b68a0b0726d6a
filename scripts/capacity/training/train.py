"""Train one checkpoint: set up or resume, run the loop with saves and progress lines, write the folder."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import transformers

from capacity.jobs.progress import Progress
from capacity.jobs.resume import forget, load_state, save_state
from capacity.jobs.startup import permanent_objects
from capacity.jobs.stop import Interrupted, StopRequest
from capacity.training.batches import TrainingBatches
from capacity.training.device import device_name, make_fabric, numeric_conditions, peak_memory_bytes
from capacity.training.loop import Training
from capacity.training.model_card import write_checkpoint
from capacity.training.spec import TrainingSettings

SAVE_SECONDS = 60.0  # between saves of the state

__all__ = ["Interrupted", "follow", "forget", "train_checkpoint"]


class Session:
    """One process's part of a training, from start or resume to its end or an interruption."""

    def __init__(self, settings: TrainingSettings, batches: TrainingBatches, resume: Path):
        fabric = make_fabric(settings.hardware)
        self.device, self.resume = fabric.device, resume
        self.training = Training(settings, batches, fabric)
        self.conditions = {
            "checkpoint": resume.name,  # the spec does not name the data
            "settings": settings.plain(),
            "transformers": transformers.__version__,
            **numeric_conditions(fabric.device),
        }
        self.compile_seconds = 0.0
        self.step_seconds = self.step_cpu_seconds = 0.0  # of all sessions
        self.num_sessions = 1
        self._restore()

    def _restore(self) -> None:
        saved = load_state(self.resume, self.conditions)
        if saved is None:
            return
        tensors, counters = saved
        self.training.restore(tensors, counters)
        self.step_seconds, self.step_cpu_seconds = counters["step_seconds"], counters["step_cpu_seconds"]
        self.num_sessions = counters["num_sessions"] + 1
        position = f"step {self.training.step:,} of {self.training.num_steps:,}"
        print(f"going on from {position}", file=sys.stderr, flush=True)

    def save(self) -> None:
        """Save the state; the training's numbers are read, never changed."""
        tensors, counters = self.training.state()
        sessions = {name: vars(self)[name] for name in ("step_seconds", "step_cpu_seconds", "num_sessions")}
        save_state(self.resume, tensors, counters | sessions, self.conditions)

    def run(self, stop: StopRequest) -> None:
        """Do the steps that are left. Raises Interrupted when told to stop: alone at once, else after a chunk."""
        training = self.training
        alone = training.team.alone
        steps = training.steps(lambda: stop.reason is None)
        self._first(steps)
        if alone:
            self._stop_if_asked(stop)
        progress = Progress(training.num_steps, training.regime.exposures, training.step, training.tokens)
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
                progress.show(step, training.tokens, float(training.loss))
        float(training.loss)
        self._count_time()
        self._stop_if_asked(stop)
        progress.show(training.step, training.tokens, float(training.loss))

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
            float(self.training.loss)  # waits for the device
        seconds = time.monotonic() - started
        if self.training.objective.compiled:
            self.compile_seconds = seconds
        else:
            self.step_seconds += seconds

    def _stop_if_asked(self, stop: StopRequest) -> None:
        reason, training = stop.reason, self.training
        if reason and training.step < training.num_steps:
            self.save()
            position = f"step {training.step:,} of {training.num_steps:,}"
            raise Interrupted(f"stopped by {reason} at {position}; the state is saved")


def follow(settings: TrainingSettings, batches: TrainingBatches, resume: Path) -> None:
    """Do the steps of another process's training with it, until it ends or stops; arguments as there."""
    training = Session(settings, batches, resume).training
    for _ in training.steps():
        pass
    training.team.part()


def train_checkpoint(
    settings: TrainingSettings,
    batches: TrainingBatches,
    dataset: str,
    tokenizer: Path,
    folder: Path,
    resume: Path,
    time_budget_seconds: float | None = None,
) -> dict[str, Any]:
    """Train the model of a checkpoint spec, write its folder, and say what it took.

    dataset: a few words for the model card. tokenizer: a folder whose tokenizer files are copied. resume:
    where the state is kept while the training runs, a folder that the checkpoint's id names; the caller calls
    `forget(resume)` when the checkpoint is safe. A training that is stopped, by SIGTERM, SIGINT, SIGKILL or its
    budget in seconds of wall time, and started again, ends with the same bits as one that was never stopped.
    Raises Interrupted after a stop, UserError for what cannot be run.
    """
    started = time.monotonic()
    with StopRequest(time_budget_seconds) as stop:
        session = Session(settings, batches, resume)
        setup_seconds = time.monotonic() - started
        try:
            session.run(stop)
        finally:
            session.training.team.part()
    training = session.training
    trained = time.monotonic()
    facts = write_checkpoint(training, settings, dataset, tokenizer, folder)
    return {
        **facts,
        "device": device_name(session.device),
        "peak_memory_bytes": peak_memory_bytes(session.device),
        "num_sessions": session.num_sessions,
        "seconds": {  # wall time, but for steps_cpu; steps of all sessions, the rest of the last one
            "setup": round(setup_seconds, 3),
            "compile": round(session.compile_seconds, 3),
            "steps": round(session.step_seconds, 3),
            "steps_cpu": round(session.step_cpu_seconds, 3),
            "write": round(time.monotonic() - trained, 3),
        },
        "tokens_per_second": round(training.tokens / max(session.step_seconds, 1e-9), 1),
    }
