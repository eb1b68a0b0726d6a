"""Who is written about, in which words and in which order: the choices behind a rendering, keyed and apart from it.

Any block of any exposure can be drawn on its own, and training, probes and tokenizer text use separate
streams.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capacity.errors import UserError
from capacity.world import streams
from capacity.world.facts import World
from capacity.world.grammar import Grammar
from capacity.world.zipf import Zipf

BLOCK = 65_536  # people whose choices come from one key
TABLE_LIMIT = 7  # sentences up to which all orders are listed (5,040), seven times faster than sorting


@dataclass(frozen=True)
class Draws:
    """B biographies of S attributes.

    people: int64 (B,). order: uint8 (B, P), the attribute of the sentence at each position; P = S, or 1 where
    one sentence is rendered. templates: uint8 (B, S), the template of each attribute, rendered or not. Of people
    in written texts, templates is the number of the text, (B, 1), and order says nothing.
    """

    people: NDArray[np.int64]
    order: NDArray[np.uint8]
    templates: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, rows: slice) -> "Draws":
        return Draws(self.people[rows], self.order[rows], self.templates[rows])


BlockDraws = Callable[[int, NDArray[np.int64]], Draws]  # block number, its people


def concatenate(draws: Iterable[Draws]) -> Draws:
    """The biographies of several draws, one after another."""
    parts = list(draws)
    if len(parts) == 1:
        return parts[0]
    return Draws(
        np.concatenate([part.people for part in parts]),
        np.concatenate([part.order for part in parts]),
        np.concatenate([part.templates for part in parts]),
    )


def num_blocks(world: World) -> int:
    """Blocks an exposure."""
    return -(-world.N // BLOCK)


def training_draws(world: World, seed: int, exposure: int, block: int, zipf: Zipf | None = None) -> Draws:
    """One block of an exposure, in which each person comes once, in an order and in words of its own.

    zipf: how often each person comes instead, in N biographies all the same.
    """
    people = _people_order(world.N, seed, exposure, zipf)[block * BLOCK : (block + 1) * BLOCK].astype(np.int64)
    if world.grammar.paragraphs:
        return _kept(world, exposure, people)
    rng = streams.generator(seed, streams.TRAINING, exposure, block)
    return draw_telling(world, rng, people)


def probe_draws(world: World, seed: int, draw: int, start: int, stop: int) -> Draws:
    """People start..stop-1 in fresh words; a sentence that gives another's value away comes after that one.

    In training the working city precedes the employer half of the time. Where it would here, the two change
    places, so that the employer is scored before its city. Paragraphs that are kept stay as they
    are, and the renderer labels a city that gives the employer away as part of the employer. Of written texts,
    those with most facts right come first.
    """
    if world.rewritings:
        _check_range(world.N, start, stop)
        people = np.arange(start, stop, dtype=np.int64)
        return _written(people, world.rewritings.least_flawed(draw, people))
    if world.grammar.paragraphs:
        _check_range(world.N, start, stop)
        return _kept(world, draw, np.arange(start, stop, dtype=np.int64))

    return fresh_probe_draws(world.grammar, world.N, (seed, streams.PROBE, draw), start, stop)


def fresh_probe_draws(grammar: Grammar, num_people: int, key: tuple[int, int, int], start: int, stop: int) -> Draws:
    """Some of the people in fresh words that give nothing away, keyed by seed, stream and draw."""

    def block_draws(block: int, people: NDArray[np.int64]) -> Draws:
        draws = draw_words(grammar, streams.generator(*key, block), people)
        _hide_leaks(grammar, draws.order)
        return draws

    return _people_in_order(num_people, start, stop, block_draws)


def name_only_draws(world: World, seed: int, draw: int, start: int, stop: int, attribute: str) -> Draws:
    """People start..stop-1, each with one attribute's sentence: its value given name and attribute alone.

    Raises UserError where the world has no such attribute.
    """
    try:
        index = world.grammar.attribute_index(attribute)
    except KeyError:
        known = ", ".join(attribute.name for attribute in world.grammar.attributes)
        raise UserError(f"attribute: {attribute}; this world has {known}") from None

    def block_draws(block: int, people: NDArray[np.int64]) -> Draws:
        rng = streams.generator(seed, streams.NAME_ONLY, draw, index, block)
        templates = _draw_templates(world.grammar, rng, len(people))
        if world.grammar.paragraphs:
            templates = _kept(world, draw, people).templates
        return Draws(people, np.full((len(people), 1), index, dtype=np.uint8), templates)

    return _people_in_order(world.N, start, stop, block_draws)


def tokenizer_draws(world: World, count: int) -> Draws:
    """`count` biographies for training a tokenizer, people in turn, keyed by the world's seed."""
    blocks = []
    for block, first in enumerate(range(0, count, BLOCK)):
        people = np.arange(first, min(first + BLOCK, count), dtype=np.int64) % world.N
        rng = streams.generator(world.seed, streams.TOKENIZER, block)
        blocks.append(draw_telling(world, rng, people))
    return concatenate(blocks)


def calibration_draws(world: World, seed: int, count: int) -> Draws:
    """Biographies of `count` people drawn without replacement, worded as in training, for calibrating a quantizer."""
    rng = streams.generator(seed, streams.CALIBRATION)
    people = rng.permutation(world.N)[:count].astype(np.int64)
    return _kept(world, 0, people) if world.grammar.paragraphs else draw_telling(world, rng, people)


def _people_in_order(num_people: int, start: int, stop: int, block_draws: BlockDraws) -> Draws:
    """Rows start..stop-1 of the blocks that hold them, so that cutting people up changes nobody's words."""
    _check_range(num_people, start, stop)
    parts = []
    for block in range(start // BLOCK, (stop - 1) // BLOCK + 1):
        first = block * BLOCK
        whole = block_draws(block, np.arange(first, min(first + BLOCK, num_people), dtype=np.int64))
        parts.append(whole[max(start - first, 0) : stop - first])
    return concatenate(parts)


def _check_range(num_people: int, start: int, stop: int) -> None:
    if not 0 <= start < stop <= num_people:
        raise ValueError(f"people {start}..{stop} of {num_people}")


def _kept(world: World, turn: int, people: NDArray[np.int64]) -> Draws:
    """The people in the words of the paragraph whose turn it is; a person's paragraphs come in turn."""
    assert world.grammar.paragraphs
    kept = _paragraph(world, turn % world.grammar.paragraphs)
    return Draws(people, kept.order.take(people, axis=0), kept.templates.take(people, axis=0))


@functools.lru_cache(maxsize=2)
def _paragraph(world: World, number: int) -> Draws:
    """One paragraph of every person, drawn once for a world, keyed by the world's seed."""
    blocks = []
    for block, first in enumerate(range(0, world.N, BLOCK)):
        people = np.arange(first, min(first + BLOCK, world.N), dtype=np.int64)
        rng = streams.generator(world.seed, streams.PARAGRAPHS, number, block)
        blocks.append(draw_words(world.grammar, rng, people))
    return concatenate(blocks)


@functools.lru_cache(maxsize=2)
def _people_order(num_people: int, seed: int, exposure: int, zipf: Zipf | None) -> NDArray[np.int32]:
    """The order of people in an exposure; two are kept, for blocks are asked for in turn."""
    people = zipf.people(exposure) if zipf else np.arange(num_people, dtype=np.int32)
    streams.generator(seed, streams.PEOPLE_ORDER, exposure).shuffle(people)
    return people


def draw_telling(world: World, rng: np.random.Generator, people: NDArray[np.int64]) -> Draws:
    """The people in fresh words, or each in one of its written texts."""
    if world.rewritings:
        return _written(people, rng.integers(0, world.rewritings.W, len(people)))
    return draw_words(world.grammar, rng, people)


def _written(people: NDArray[np.int64], numbers: NDArray[np.integer]) -> Draws:
    return Draws(people, np.zeros((len(people), 1), dtype=np.uint8), numbers.astype(np.uint8)[:, None])


def draw_words(grammar: Grammar, rng: np.random.Generator, people: NDArray[np.int64]) -> Draws:
    """A uniform template of each attribute, and a uniform order of all of them, for each of the people."""
    templates = _draw_templates(grammar, rng, len(people))
    size = len(grammar.attributes)
    if not grammar.shuffled:
        return Draws(people, np.tile(np.arange(size, dtype=np.uint8), (len(people), 1)), templates)
    return Draws(people, _draw_orders(size, rng, len(people)), templates)


def _draw_templates(grammar: Grammar, rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """A uniform template of each attribute, uint8 (count, S)."""
    templates = np.zeros((count, len(grammar.attributes)), dtype=np.uint8)
    for index, attribute in enumerate(grammar.attributes):
        if len(attribute.templates) > 1:
            templates[:, index] = rng.integers(0, len(attribute.templates), count, dtype=np.uint16)
    return templates


def _draw_orders(size: int, rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Uniform orders of `size` sentences, uint8 (count, size)."""
    if size <= TABLE_LIMIT:
        table = _all_orders(size)
        return table.take(rng.integers(0, len(table), count, dtype=np.uint16), axis=0)
    return rng.random((count, size)).argsort(axis=1).astype(np.uint8)


@functools.cache
def _all_orders(size: int) -> NDArray[np.uint8]:
    return np.array(list(itertools.permutations(range(size))), dtype=np.uint8)


def _hide_leaks(grammar: Grammar, order: NDArray[np.uint8]) -> None:
    """Swap, in place, each sentence that precedes the one whose value decides its own."""
    for index, attribute in enumerate(grammar.attributes):
        if attribute.determined_by is None:
            continue
        source = grammar.attribute_index(attribute.determined_by)
        places, source_places = np.argmax(order == index, axis=1), np.argmax(order == source, axis=1)
        leaking = np.flatnonzero(places < source_places)
        order[leaking, places[leaking]] = source
        order[leaking, source_places[leaking]] = index
