"""Ask every fine-tuned model of a set the questions of all people; tries that were asked before are reused."""

import functools
import json

from capacity.artefacts.making import Making
from capacity.jobs.job import Job, job_parser
from capacity.jobs.startup import hand_over, lean_imports

hand_over()
with lean_imports():
    import pyarrow.parquet as pq

    from capacity.artefacts.spec import Spec
    from capacity.extraction.answers import answer_texts, memorised
    from capacity.extraction.questions import GROUPS, read_texts
    from capacity.models.build import load_model
    from capacity.probe.spec import ProbeSettings
    from capacity.tokenizers.tokenization import has_all_rows, load_tokenizer
    from capacity.world.facts import load_world
    from capacity.world.text_renderer import renderer_of


def make_member(job: Job[ProbeSettings], member: Spec, making: Making) -> None:
    """Ask one fine-tuned model: a file of answers for each group of people, and what it has still memorised."""
    folder = job.parent("questions")
    model = load_model(job.results / str(member.parents["finetune"]), job.settings.accelerator)
    for group in GROUPS:
        texts = read_texts(folder, group)
        if len(texts):
            answers = answer_texts(model, load_tokenizer(folder), texts, str(model.device))
            pq.write_table(answers, making.folder / f"{group}.parquet")
    world, known = load_world(job.parent("dataset")), job.parent("tokenizer")
    renderer = renderer_of(world, load_tokenizer(known), has_all_rows(known))
    attributes = list(json.loads((folder / "wordings.json").read_text(encoding="utf-8")))
    kept = memorised(model, renderer, world, attributes, job.settings, str(model.device))
    pq.write_table(kept, making.folder / "memorised.parquet")


def main() -> None:
    """Probe the fine-tuned models that the spec names."""
    args = job_parser(__doc__).parse_args()
    with Job(args, ProbeSettings.read) as job:
        job.make_set(functools.partial(make_member, job), "tries")


if __name__ == "__main__":
    main()
