"""Train one model on one dataset: a folder that transformers loads, with metrics.csv and a model card.

A training that is stopped (SIGTERM, SIGINT, a time budget) saves its state and exits with code 75; it goes on
from there when started again, and ends with the bits of a training that was never stopped.
"""

import os
import sys

from capacity.artefacts import Job, job_parser
from capacity.startup import permanent_objects


def main() -> None:
    """Train the model that the order describes."""
    parser = job_parser(__doc__)
    parser.add_argument("--time-budget", type=float, metavar="SECONDS", help="stop and save after so long")
    args = parser.parse_args()
    with Job(args) as job:
        with permanent_objects():  # imported late: a refused order should not wait for torch
            from capacity.batches import TrainingBatches
            from capacity.tokenization import load_tokenizer
            from capacity.training import Interrupted, forget, train_checkpoint
            from capacity.world import load_world
        world, tokenizer = load_world(job.parent("dataset")), job.parent("tokenizer")
        batches = TrainingBatches(world, load_tokenizer(tokenizer), job.spec["regime"], job.spec["seed"])
        dataset = f"{world.spec['kind']} with N = {world.N:,} people"
        try:
            job.metrics = train_checkpoint(
                job.spec, batches, dataset, tokenizer, job.folder, job.resume, args.time_budget
            )
        except Interrupted as stop:
            print(stop, file=sys.stderr, flush=True)
            raise SystemExit(os.EX_TEMPFAIL) from None
    forget(job.resume)


if __name__ == "__main__":
    main()
