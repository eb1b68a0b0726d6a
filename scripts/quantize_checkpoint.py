"""Make the variants of one checkpoint that do not exist yet, each a checkpoint folder of its own."""

import json
import shutil
from pathlib import Path

from capacity.artefacts.making import Making
from capacity.jobs.job import Job, job_parser
from capacity.jobs.startup import hand_over, lean_imports

hand_over()
with lean_imports():
    from safetensors.torch import save_file
    from transformers import PreTrainedModel

    from capacity.artefacts.spec import Spec
    from capacity.models.build import load_model
    from capacity.quantization.calibration import Batches, calibration_batches
    from capacity.quantization.quantize import quantize_model
    from capacity.quantization.reload import check_reloads
    from capacity.quantization.spec import Gptq, Scheme, VariantSet, read_scheme
    from capacity.tokenizers.tokenization import has_all_rows, load_tokenizer
    from capacity.world.facts import load_world
    from capacity.world.written import renderer_of

OWN = ("model.safetensors", "manifest.json", "metrics.csv", "README.md")  # of the checkpoint; the rest is carried over


def write_variant(
    model: PreTrainedModel, scheme: Scheme, batches: Batches | None, checkpoint: Path, variant: Making
) -> None:
    """Write one variant: weights, what was done to each tensor, and the files that make it loadable."""
    quantised, report, parts = quantize_model(model, scheme, batches)
    quantised.save_pretrained(variant.folder)
    for path in checkpoint.iterdir():
        if path.is_file() and path.name not in OWN:
            shutil.copyfile(path, variant.folder / path.name)
    if parts:
        save_file(parts, variant.folder / "quantization.safetensors")
    text = json.dumps({"scheme": scheme.plain(), **report}, indent=1, sort_keys=True)
    (variant.folder / "quantization.json").write_text(text + "\n")
    for path in variant.folder.iterdir():
        path.chmod(0o644)  # safetensors makes files that only their owner may read
    check_reloads(quantised, variant.folder)
    variant.metrics = {key: value for key, value in report.items() if key != "tensors"}


def text_for(job: Job[VariantSet], scheme: Gptq, checkpoint: Path) -> Batches:
    """The biographies that a scheme is calibrated on, of the world that the checkpoint learned."""
    world = load_world(job.parent("dataset"))
    renderer = renderer_of(world, load_tokenizer(checkpoint), has_all_rows(checkpoint))
    return calibration_batches(renderer, scheme.calibration, scheme.seed)


def make_member(job: Job[VariantSet], member: Spec, model: PreTrainedModel, checkpoint: Path) -> None:
    """Make one variant."""
    scheme = read_scheme(member.settings)
    with job.making_member(member) as variant:
        batches = text_for(job, scheme, checkpoint) if isinstance(scheme, Gptq) else None
        write_variant(model, scheme, batches, checkpoint, variant)


def main() -> None:
    """Quantise the checkpoint that the spec names."""
    args = job_parser(__doc__).parse_args()
    with Job(args, VariantSet.read) as job:
        checkpoint = job.parent("checkpoint")
        missing = job.missing_members()
        if missing:
            model = load_model(checkpoint)
            for member in missing:
                make_member(job, member, model, checkpoint)
        for member in job.spec.members:
            job.add_input(member.name)
        job.metrics = {"variants": len(job.spec.members), "reused": len(job.spec.members) - len(missing)}


if __name__ == "__main__":
    main()
