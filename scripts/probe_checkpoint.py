"""Score every variant of one checkpoint on the facts it was trained on; variants that were scored before are reused."""

from capacity.jobs.job import Job, job_parser
from capacity.jobs.startup import hand_over, lean_imports

hand_over()
with lean_imports():
    import pyarrow.parquet as pq

    from capacity.models.build import load_model
    from capacity.probe.score import score_junk, score_people
    from capacity.tokenizers.tokenization import has_all_rows, load_tokenizer
    from capacity.world.facts import load_world
    from capacity.world.render import Renderer
    from capacity.world.written import renderer_of


def main() -> None:
    """Probe the variants that the spec names."""
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
                if isinstance(renderer, Renderer) and world.junk:
                    junk = score_junk(model, renderer, world, member.settings, str(model.device))
                    pq.write_table(junk, probe.folder / "junk.parquet")
        for member in job.spec.members:
            job.add_input(member.name)
        job.metrics = {"variants": len(job.spec.members), "reused": len(job.spec.members) - len(missing)}


if __name__ == "__main__":
    main()
