"""Make the variants of one checkpoint that do not exist yet, each a checkpoint folder of its own."""

import json
import shutil
from pathlib import Path

from capacity.artefacts import Job, job_parser
from capacity.startup import permanent_objects

with permanent_objects():
    from safetensors.torch import load_file, save_file

    from capacity.quantize import State, quantize_state

CARRIED = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "training.json")


def write_variant(state: State, scheme: dict, checkpoint: Path, folder: Path) -> dict:
    """Write one variant: weights, what was done to each tensor, and the files that make it loadable."""
    quantised, report = quantize_state(state, scheme)
    weights = folder / "model.safetensors"
    save_file(quantised, weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    (folder / "quantization.json").write_text(json.dumps({"scheme": scheme, **report}, indent=1, sort_keys=True) + "\n")
    code = sorted(path.name for path in checkpoint.glob("*.py"))  # of a model that transformers does not know
    for name in (*CARRIED, *code):
        shutil.copyfile(checkpoint / name, folder / name)
    return {key: value for key, value in report.items() if key != "tensors"}


def main() -> None:
    """Quantise the checkpoint that the order names."""
    args = job_parser(__doc__).parse_args()
    with Job(args) as job:
        checkpoint = job.parent("checkpoint")
        missing = job.missing_members()
        state = load_file(checkpoint / "model.safetensors") if missing else {}
        for member in missing:
            with job.making_member(member) as variant:
                variant.metrics = write_variant(state, member.spec, checkpoint, variant.folder)
        for member in job.order.members:
            job.add_input(member.name)
        job.metrics = {"variants": len(job.order.members), "reused": len(job.order.members) - len(missing)}


if __name__ == "__main__":
    main()
