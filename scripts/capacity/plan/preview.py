"""What a dataset looks like before anything is trained: labelled texts, the bit account, sizes."""

import tempfile
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from capacity.config.dataset import BioR, Paraphraser
from capacity.errors import UserError, printable
from capacity.plan.requests import world_bytes
from capacity.plan.table_notes import table_notes
from capacity.plan.world_specs import rewriting_settings
from capacity.rewriting.rewrite import rewrite_world
from capacity.tables.bits import diversity_offered_bits
from capacity.world.facts import World, account_of, make_world
from capacity.world.junk import JunkPeople, junk_draws
from capacity.world.kinds import WorldSettings
from capacity.world.pieces import FILLER, NAME
from capacity.world.records import RecordsWorld
from capacity.world.render import Renderer
from capacity.world.sampling import Draws, training_draws
from capacity.world.text_renderer import TextRenderer, renderer_of

SAMPLE = 20_000  # people made for a preview; they are the first ones of the whole world
COLOURS = (36, 32, 33, 35, 34, 31)  # ANSI codes by label, in turn
JUNK_BIOGRAPHIES = 2
REWRITTEN_PEOPLE = 100


def sample_world(settings: WorldSettings) -> World:
    """The world of a spec, or its first people where there are many, with the account of all of them."""
    if isinstance(settings, RecordsWorld) or settings.N <= SAMPLE:
        return make_world(settings)
    world = make_world(settings.model_copy(update={"N": SAMPLE}))
    return World(world.settings, world.facts, world.grammar, account_of(world.grammar, settings))


def rewritten_sample(world: World, dataset: BioR) -> World:
    """A few people of a world in a few texts each. Raises UserError where only the job can write them."""
    if not isinstance(dataset.rewriter, Paraphraser):
        raise UserError(f"rewriter.kind: {dataset.rewriter.kind}; a preview shows texts of kind grammar alone")
    few = make_world(world.settings.model_copy(update={"N": min(world.N, REWRITTEN_PEOPLE)}))
    changes = {"N": few.N, "rewritings": min(dataset.rewritings, 4)}
    settings = rewriting_settings(dataset, few.seed).model_copy(update=changes)
    with tempfile.TemporaryDirectory() as scratch:
        return replace(rewrite_world(few, settings, Path(scratch))[0], account=world.account)


def labelled_texts(world: World, tokenizer: Tokenizer, count: int, colour: bool) -> list[str]:
    """Biographies of a training with their scored items marked, and some junk where the world has any."""
    renderer = renderer_of(world, tokenizer, all_rows=True)  # only texts are shown
    draws = training_draws(world, world.seed, 0, 0)[:count]
    texts = [_marked(world, renderer, tokenizer, draws[row : row + 1], colour) for row in range(len(draws))]
    if world.junk:
        junk = JunkPeople(world)
        assert isinstance(renderer, Renderer)
        for text in renderer.for_junk(junk).texts(junk_draws(junk, world.seed, 0, JUNK_BIOGRAPHIES)):
            texts.append(printable(f"(junk){text}"))
    return texts


def _marked(world: World, renderer: Renderer | TextRenderer, tokenizer: Tokenizer, draws: Draws, colour: bool) -> str:
    items = ["name", *(item for item, _ in world.account.items)]
    rendering = renderer.tokens(draws, labels=True)
    assert rendering.labels is not None
    parts = []
    pairs = zip(rendering.labels.tolist(), rendering.tokens.tolist(), strict=True)
    for label, run in groupby(pairs, key=lambda pair: pair[0]):
        text = printable(tokenizer.decode([token for _, token in run], skip_special_tokens=False))
        if label != FILLER:
            blank, item = text[: len(text) - len(text.lstrip())], items[label - NAME]
            shown = f"\x1b[{COLOURS[(label - NAME) % len(COLOURS)]}m{text.lstrip()}\x1b[0m"
            text = blank + (shown if colour else f"[{printable(item)}: {text.lstrip()}]")
        parts.append(text)
    return "".join(parts)


def account_lines(world: World, num_people: int) -> list[str]:
    """The bit account: bits a person by item, and what the whole dataset offers."""
    account = world.account
    rows = [("name", account.name_offered_bits, f"log2(N0/N); N0 = 2^{account.name_prior_bits:.2f} names")]
    rows += [(item, bits, "") for item, bits in account.items]
    person = account.name_offered_bits + sum(bits for _, bits in account.items)
    rows.append(("a person", person, ""))
    lines = [f"{item:24s} {bits:10.3f} bits  {note}".rstrip() for item, bits, note in rows]
    sets = diversity_offered_bits(account)
    if sets:
        lines.append(f"{'sets of values':24s} {sets:10.1f} bits  once for all people: K D log2(T^L / D)")
    lines.append(f"{'the dataset':24s} {num_people * person + sets:10.4g} bits  N = {num_people:,}")
    lines += [f"note: {note}" for note in table_notes(world)]
    beginnings = world.grammar.num_beginnings()
    for pool, count in beginnings.items():
        lines.append(f"note: {count} values of {pool} begin another; a loss does not show where they end")
    return [printable(line) for line in lines]


def size_lines(world: World, renderer: Renderer | TextRenderer, num_people: int, regimes: dict[str, int]) -> list[str]:
    """Tokens of a biography, vocabulary, and what the regimes, of so many exposures, would train on.

    Of written texts they come from a sample.
    """
    mean = float(renderer.lengths(training_draws(world, world.seed, 0, 0)).mean()) + 1
    columns = world.grammar.column_sizes.values()
    row_bytes = sum(np.min_scalar_type(max(size, 2**16) - 1).itemsize for size in columns)
    source = "these texts" if world.rewritings else "the dataset"
    memory = world_bytes(num_people, world.rewritings.W if world.rewritings else 0)
    lines = [
        f"tokens a biography, end included: {mean:.1f} on average, {renderer.max_length + 1} at most",
        f"vocabulary: {renderer.vocab_size:,} tokens, of which {source} can use {renderer.num_used:,}",
        f"facts: at most {row_bytes * num_people / 1e6:,.1f} MB on disk, "
        f"about {memory / 1e6:,.1f} MB of memory while training",
    ]
    for name, exposures in regimes.items():
        useful = mean * num_people * exposures
        total = f", {useful / (1 - world.junk.share):,.0f} with junk" if world.junk else ""
        lines.append(f"regime {name}: {exposures:,} exposures are {useful:,.0f} tokens{total}")
    return lines
