"""Score every variant of one checkpoint on the facts it was trained on; variants that were scored before are reused."""

import functools
from pathlib import Path

from capacity.artefacts.making import Making
from capacity.jobs.job import Job, job_parser
from capacity.jobs.startup import hand_over, lean_imports

hand_over()
with lean_imports():
    import pyarrow.parquet as pq

    from capacity.artefacts.spec import Spec
    from capacity.models.build import load_model
    from capacity.probe.score import score_junk, score_people
    from capacity.probe.spec import ProbeSettings
    from capacity.probe.temperatures import HalfLosses
    from capacity.tokenizers.tokenization import has_all_rows, load_tokenizer
    from capacity.world.facts import World, load_world
    from capacity.world.render import Renderer
    from capacity.world.text_renderer import TextRenderer, renderer_of


@functools.cache  # once for all variants, and not at all where they were scored
def world_and_renderer(dataset: Path, tokenizer: Path) -> tuple[World, Renderer | TextRenderer]:
    """What a checkpoint learned, and how it was worded."""
    world = load_world(dataset)
    return world, renderer_of(world, load_tokenizer(tokenizer), has_all_rows(tokenizer))


def make_member(job: Job[ProbeSettings], member: Spec, making: Making) -> None:
    """Score one variant."""
    world, renderer = world_and_renderer(job.parent("dataset"), job.parent("tokenizer"))
    model = load_model(job.results / str(member.parents["variant"]), job.settings.accelerator)
    halves = HalfLosses(world.N, world.account)
    scores = score_people(model, renderer, world, job.settings, str(model.device), halves=halves)
    pq.write_table(scores, making.folder / "scores.parquet")
    pq.write_table(halves.table(), making.folder / "temperatures.parquet")
    if isinstance(renderer, Renderer) and world.junk:
        junk = score_junk(model, renderer, world, job.settings, str(model.device))
        pq.write_table(junk, making.folder / "junk.parquet")


def main() -> None:
    """Probe the variants that the spec names."""
    args = job_parser(__doc__).parse_args()
    with Job(args, ProbeSettings.read) as job:
        job.make_set(functools.partial(make_member, job), "variants")


if __name__ == "__main__":
    main()
