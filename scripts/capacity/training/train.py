"""Train one checkpoint: set up or resume, do the steps, write the folder."""

import time
from pathlib import Path
from typing import Any

from capacity.training.batches import TrainingBatches
from capacity.training.device import device_name, make_fabric, peak_memory_bytes
from capacity.training.model_card import write_checkpoint
from capacity.training.pretraining import Training
from capacity.training.session import Session, run_resumably
from capacity.training.spec import TrainingSettings


def follow(settings: TrainingSettings, batches: TrainingBatches, resume: Path) -> None:
    """Do the steps of another process's training with it, until it ends or stops, and write nothing."""
    training = Training(settings, batches, make_fabric(settings.hardware))
    Session(training, resume, {"settings": settings.plain()})
    for _ in training.steps():
        pass
    training.group.leave()


def train_checkpoint(
    settings: TrainingSettings,
    batches: TrainingBatches,
    tokenizer: Path,
    folder: Path,
    resume: Path,
    time_budget_seconds: float | None = None,
) -> dict[str, Any]:
    """Train the model of a checkpoint spec, write its folder, and say what it took.

    tokenizer: a folder whose tokenizer files are copied. resume: where the state is kept while the training runs; the
    caller calls `forget(resume)` when the checkpoint is safe. Raises Interrupted after a stop, UserError for what
    cannot be run.
    """

    def make() -> Training:
        return Training(settings, batches, make_fabric(settings.hardware))

    session = run_resumably(make, resume, {"settings": settings.plain()}, time_budget_seconds)
    training = session.loop
    trained, peak = time.monotonic(), peak_memory_bytes(training.device)
    facts = write_checkpoint(training, settings, tokenizer, folder)
    return {
        **facts,
        "device": device_name(training.device),
        "execution": training.execution,
        "peak_memory_bytes": peak,
        "num_sessions": session.num_sessions,
        "seconds": {  # wall time, but for steps_cpu; steps of all sessions, the rest of the last one
            "setup": round(session.setup_seconds, 3),
            "compile": round(session.compile_seconds, 3),
            "steps": round(session.step_seconds, 3),
            "steps_cpu": round(session.step_cpu_seconds, 3),
            "write": round(time.monotonic() - trained, 3),
        },
        "tokens_per_second": round(training.tokens / max(session.step_seconds, 1e-9), 1),
    }
