"""Train one model on one dataset: a folder that transformers loads, with metrics.csv and a model card.

A training that is stopped (SIGTERM, SIGINT, a time budget, the near end of its SLURM job) saves its state and
exits with code 75; it goes on from there when started again, and ends with the bits of a training that was
never stopped. Where another process trains the same checkpoint, this one waits for it, and takes up its work
if it falls silent.
"""

import os
import sys
from typing import TYPE_CHECKING

from capacity.artefacts.manifest import MANIFEST, verify
from capacity.errors import NotOurs, UserError
from capacity.jobs.allocation import follows, time_budget
from capacity.jobs.job import Job, job_parser
from capacity.jobs.lease import Busy, held
from capacity.jobs.startup import hand_over, lean_imports
from capacity.training.spec import TrainingSettings

if TYPE_CHECKING:
    from capacity.training.batches import TrainingBatches


def main() -> None:
    """Train the model that the spec describes, unless another process does."""
    parser = job_parser(__doc__)
    parser.add_argument("--time-budget", type=float, metavar="SECONDS", help="stop and save after so long")
    args = parser.parse_args()
    job = Job(args, TrainingSettings.read)
    if follows():
        follow(job)
        return
    try:
        with held(job.resume, lambda: is_made(job), time_budget()) as mine:
            if mine:
                train(job, args.time_budget)
            else:
                print(f"{job.spec.name}: made by another process", flush=True)
    except Busy as busy:
        print(busy, file=sys.stderr, flush=True)
        raise SystemExit(os.EX_TEMPFAIL) from None


def is_made(job: Job[TrainingSettings]) -> bool:
    """Whether the checkpoint is there, whole, and not to be made again."""
    if job.spec.remake or not (job.target / MANIFEST).is_file():
        return False
    try:
        verify(job.target, job.spec.name)
    except NotOurs:
        raise
    except UserError:
        return False
    return True


def load_batches(job: Job[TrainingSettings]) -> "TrainingBatches":
    """The steps of the training, from its dataset and tokenizer."""
    with lean_imports():  # imported late: a refused spec should not wait for torch
        from capacity.tokenizers.tokenization import has_all_rows, load_tokenizer
        from capacity.training.batches import TrainingBatches
        from capacity.world.facts import load_world
    world, folder = load_world(job.parent("dataset")), job.parent("tokenizer")
    regime, seed = job.settings.regime, job.settings.seed
    return TrainingBatches(world, load_tokenizer(folder), regime, seed, has_all_rows(folder))


def follow(job: Job[TrainingSettings]) -> None:
    """One of several devices: train with the process that started this one, and write nothing."""
    with lean_imports():
        from capacity.training.train import follow as train_along
    train_along(job.settings, load_batches(job), job.resume)


def train(job: Job[TrainingSettings], budget: float | None) -> None:
    """Train, publish, and remove the resume state. budget: seconds, None for what SLURM leaves."""
    with job:
        with lean_imports():
            from capacity.training.train import Interrupted, forget, train_checkpoint
        batches = load_batches(job)
        batches.check_context()
        job.check_again()
        world, tokenizer = batches.world, job.parent("tokenizer")
        dataset = f"{world.kind} with N = {world.N:,} people"
        budget = time_budget() if budget is None else budget
        try:
            job.metrics = train_checkpoint(job.settings, batches, dataset, tokenizer, job.folder, job.resume, budget)
        except Interrupted as stop:
            print(stop, file=sys.stderr, flush=True)
            raise SystemExit(os.EX_TEMPFAIL) from None
    forget(job.resume)


if __name__ == "__main__":
    hand_over()
    main()
