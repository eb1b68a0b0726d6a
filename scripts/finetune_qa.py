"""Fine-tune one checkpoint on questions, once for each pair of ranks and rate, or train another on both at once.

Tries that exist are reused. A try that is stopped (SIGTERM, SIGINT, the near end of its SLURM job) saves its state and
the job exits with code 75; started again it goes on from there, and ends with the bits of one that was never stopped.
Where another process makes the same set, this one waits for it.
"""

import functools
from contextlib import AbstractContextManager

from capacity.artefacts.making import Making
from capacity.errors import ending_where_unwritable
from capacity.jobs.allocation import time_budget
from capacity.jobs.job import Job, job_parser
from capacity.jobs.lease import held
from capacity.jobs.startup import hand_over, lean_imports
from capacity.jobs.stop import goes_on_later

hand_over()
with lean_imports():
    from capacity.artefacts.spec import Spec
    from capacity.extraction.finetune import finetune
    from capacity.extraction.mixed import MixedBatches
    from capacity.extraction.questions import read_asked
    from capacity.extraction.record import write_finetuned
    from capacity.extraction.spec import MixedTraining, read_try
    from capacity.jobs.resume import forget
    from capacity.tokenizers.tokenization import load_tokenizer
    from capacity.training.train import train_checkpoint


def make_member(job: Job, member: Spec, making: Making) -> None:
    """Make one try."""
    folder, resume = job.parent("questions"), job.results / "resume" / member.id
    asked = read_asked(folder, load_tokenizer(folder))
    settings = read_try(member.settings)
    if isinstance(settings, MixedTraining):
        known = job.parent("dataset"), job.parent("tokenizer")
        batches = MixedBatches.read(*known, settings, asked=asked, share=settings.share)
        making.metrics = train_checkpoint(settings, batches, folder, making.folder, resume, time_budget())
        return
    model, training = finetune(settings, job.parent("checkpoint"), asked, resume, time_budget())
    making.metrics = write_finetuned(model, training, folder, making.folder)


def main() -> None:
    """Make the tries that the spec names, unless another process does."""
    job = Job(job_parser(__doc__).parse_args(), dict)
    with goes_on_later(), ending_where_unwritable(job.results), held(job.resume, job.is_made, time_budget()) as mine:
        if mine:
            tune(job)
        else:
            print(f"{job.spec.name}: made by another process", flush=True)


def tune(job: Job) -> None:
    """Make the tries, publish them as a set, and remove what was kept of them."""

    def lease(making: Making) -> AbstractContextManager[bool]:
        """Sets may share a try, and jobs that make them run side by side."""
        return held(job.results / "resume" / making.spec.id, making.is_made, time_budget())

    with job:
        job.make_set(functools.partial(make_member, job), "tries", lease)
    for member in job.spec.members:
        forget(job.results / "resume" / member.id)


if __name__ == "__main__":
    main()
