"""Score every variant of one checkpoint on the facts it was trained on; variants that were scored before are reused."""

import json
from pathlib import Path

from capacity.jobs.job import Job, job_parser
from capacity.jobs.startup import hand_over, lean_imports

hand_over()
with lean_imports():
    import pyarrow.parquet as pq

    from capacity.models.build import load_model
    from capacity.probe.score import score_junk, score_people
    from capacity.tokenizers.tokenization import has_all_rows, load_tokenizer
    from capacity.world.facts import World, load_world
    from capacity.world.render import Renderer
    from capacity.world.written import renderer_of


def about(world: World, variant: Path) -> dict:
    """What the table needs beside the scores: bits on offer, how the model was trained, what its weights take."""
    training, quantization = (
        json.loads((variant / f"{name}.json").read_text()) for name in ("training", "quantization")
    )
    stored = {"weight_bits": quantization["stored_bits"], "bits_per_weight": quantization["bits_per_weight"]}
    return {"account": vars(world.account), "training": training, **stored}


def main() -> None:
    """Probe the variants that the order names."""
    args = job_parser(__doc__).parse_args()
    with Job(args, dict) as job:
        missing = job.missing_members()
        if missing:
            world = load_world(job.parent("dataset"))
            folder = job.parent("tokenizer")
            renderer = renderer_of(world, load_tokenizer(folder), has_all_rows(folder))
        for member in missing:
            variant = job.results / member.parents["variant"]
            with job.making_member(member) as probe:
                model = load_model(variant, job.settings["accelerator"])
                scores = score_people(model, renderer, world, member.settings, device=str(model.device))
                pq.write_table(scores, probe.folder / "scores.parquet")
                if isinstance(renderer, Renderer) and world.settings.get("junk"):
                    junk = score_junk(model, renderer, world, member.settings, str(model.device))
                    pq.write_table(junk, probe.folder / "junk.parquet")
                (probe.folder / "about.json").write_text(json.dumps(about(world, variant), indent=1) + "\n")
        for member in job.spec.members:
            job.add_input(member.name)
        job.metrics = {"variants": len(job.spec.members), "reused": len(job.spec.members) - len(missing)}


if __name__ == "__main__":
    main()
