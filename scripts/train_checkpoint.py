"""Train one model on one dataset: a folder that transformers loads, with metrics.csv and a model card.

A training that is stopped (SIGTERM, SIGINT, a time budget, the near end of its SLURM job) saves its state and exits
with code 75; it goes on from there when started again, and ends with the bits of one that was never stopped. Where
another process trains the same checkpoint, this one waits for it, and takes up its work if its lease expires.
"""

from capacity.errors import ending_where_unwritable
from capacity.jobs.allocation import follows, time_budget
from capacity.jobs.job import Job, job_parser
from capacity.jobs.lease import held
from capacity.jobs.startup import hand_over, lean_imports
from capacity.jobs.stop import goes_on_later
from capacity.training.spec import TrainingSettings


def main() -> None:
    """Train the model that the spec describes, unless another process does."""
    parser = job_parser(__doc__)
    parser.add_argument("--time-budget", type=float, metavar="SECONDS", help="stop and save after so long")
    args = parser.parse_args()
    job = Job(args, TrainingSettings.read)
    if follows():
        train_along(job)
        return
    with goes_on_later(), ending_where_unwritable(job.results), held(job.resume, job.is_made, time_budget()) as mine:
        if mine:
            train(job, args.time_budget)
        else:
            print(f"{job.spec.name}: made by another process", flush=True)


def train_along(job: Job[TrainingSettings]) -> None:
    """One of several devices: train with the process that started this one, and write nothing."""
    with lean_imports():  # imported late, here and below: a refused spec should not wait for torch
        from capacity.training.batches import TrainingBatches
        from capacity.training.train import follow
    batches = TrainingBatches.read(job.parent("dataset"), job.parent("tokenizer"), job.settings)
    follow(job.settings, batches, job.resume)


def train(job: Job[TrainingSettings], budget: float | None) -> None:
    """Train, publish, and remove the resume state. budget: seconds, None for what SLURM leaves."""
    with job:
        with lean_imports():
            from capacity.jobs.resume import forget
            from capacity.training.batches import TrainingBatches
            from capacity.training.train import train_checkpoint
        dataset, tokenizer = job.parent("dataset"), job.parent("tokenizer")
        batches = TrainingBatches.read(dataset, tokenizer, job.settings)
        batches.check_context()
        job.check_again()
        budget = time_budget() if budget is None else budget
        job.metrics = train_checkpoint(job.settings, batches, tokenizer, job.folder, job.resume, budget)
    forget(job.resume)


if __name__ == "__main__":
    hand_over()
    main()
