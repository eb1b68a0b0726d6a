"""Make the variants of one checkpoint that do not exist yet, each a checkpoint folder of its own."""

import functools

from capacity.artefacts.making import Making
from capacity.jobs.job import Job, job_parser
from capacity.jobs.startup import hand_over, lean_imports

hand_over()
with lean_imports():
    from capacity.artefacts.spec import Spec
    from capacity.models.build import load_model
    from capacity.quantization.spec import VariantSet, read_scheme
    from capacity.quantization.write import write_variant

checkpoint_model = functools.cache(load_model)  # once for all variants, and not at all where they exist


def make_member(job: Job[VariantSet], member: Spec, making: Making) -> None:
    """Make one variant."""
    checkpoint = job.parent("checkpoint")
    model, scheme = checkpoint_model(checkpoint), read_scheme(member.settings)
    dataset = job.parent("dataset") if "dataset" in member.parents else None
    making.metrics = write_variant(model, scheme, checkpoint, dataset, making.folder)


def main() -> None:
    """Quantise the checkpoint that the spec names."""
    with Job(job_parser(__doc__).parse_args(), VariantSet.read) as job:
        job.make_set(functools.partial(make_member, job), "variants")


if __name__ == "__main__":
    main()
