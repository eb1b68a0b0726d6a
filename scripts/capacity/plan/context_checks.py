"""Windows that are shorter than a person's text, found before any job where that needs no people."""

import functools
from collections.abc import Container

from capacity.artefacts.spec import Spec
from capacity.errors import UserError
from capacity.tokenizers.spec import WordVocabulary, read_tokenizer
from capacity.training.spec import TrainingRegime
from capacity.world.kinds import WORLD, read_world


def check_contexts(specs: dict[str, Spec], done: Container[str]) -> None:
    """Refuse a training of windows that are shorter than the longest text of its grammar. Raises UserError.

    Of invented people and closed vocabularies alone; of others the training itself finds it.
    """
    for spec in specs.values():
        if spec.stage != "checkpoints" or spec.name in done:
            continue
        dataset, tokenizer = (specs[str(spec.parents[role])] for role in ("dataset", "tokenizer"))
        context = TrainingRegime.read(spec.settings["regime"]).context
        if context is None or dataset.stage != "datasets" or dataset.settings["kind"] not in ("bioD", "bioS"):
            continue
        if isinstance(read_tokenizer(tokenizer.settings), WordVocabulary):
            longest = _longest(read_world(dataset.settings | {"N": 1, "junk": None}).model_dump_json())
            if longest > context:
                raise UserError(
                    f"context: {context}, but biographies of {dataset.name} can have {longest} tokens, and a model is "
                    f"probed on whole ones; use {longest} or more"
                )


@functools.cache
def _longest(world: str) -> int:
    """Tokens of the longest text of a world, given as JSON."""
    from capacity.tokenizers.tokenization import build_tokenizer
    from capacity.world.facts import make_world
    from capacity.world.render import Renderer

    people = make_world(WORLD.validate_json(world))
    return Renderer(people, build_tokenizer(WordVocabulary(kind="word"), people)).max_length
