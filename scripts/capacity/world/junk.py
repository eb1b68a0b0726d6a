"""Junk people: as many as wanted, none of them stored. Their facts are made from their numbers when they are rendered.

They share the useful people's pools and templates, and none of their names: junk person j has the name that
the keyed bijection of names gives to number N + j (arXiv 2404.05405, Section 10, says "different people").
"""

import functools
import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from capacity.errors import UserError
from capacity.world import streams
from capacity.world.bijection import keyed_bijection, mix
from capacity.world.facts import World, name_codes, name_sizes
from capacity.world.grammar import Grammar
from capacity.world.sampling import BLOCK, Draws, draw_words, fresh_probe_draws


class JunkPeople:
    """The junk people of a world: its grammar without the tag, and facts by number.

    N: how many there are. Raises UserError where the pools have too few names left.
    """

    def __init__(self, world: World):
        assert world.junk
        self.useful, self.N = world, world.junk.people
        self.grammar: Grammar = replace(world.grammar, tag="")
        check_names_left(world.grammar, world.N, self.N)
        self._names = functools.lru_cache(maxsize=1)(self._names_of)

    def codes(self, column: str, people: NDArray[np.int64]) -> NDArray[np.int64]:
        """What a column says of some junk people, (len(people),); uniform, and the same whenever it is asked."""
        if column in (slot.column for slot in self.grammar.name):
            return self._names(people.tobytes())[column]
        sizes = self.grammar.column_sizes
        key = streams.key(self.useful.seed, streams.JUNK_VALUES, list(sizes).index(column))
        words = people.astype(np.uint64) + key.generate_state(1, np.uint64)
        return (mix(mix(words) + np.uint64(1)) % np.uint64(sizes[column])).astype(np.int64)

    def _names_of(self, people: bytes) -> dict[str, NDArray]:
        """Name columns of people; the last answer is kept, since the parts of a name are asked for in turn."""
        numbers = self.useful.N + np.frombuffer(people, dtype=np.int64)
        key = streams.key(self.useful.seed, streams.NAMES)
        return name_codes(self.grammar, keyed_bijection(numbers, math.prod(name_sizes(self.grammar)), key))


def check_names_left(grammar: Grammar, num_people: int, num_junk: int) -> None:
    """Refuse more junk people than there are names besides those of the useful people. Raises UserError."""
    num_names = math.prod(name_sizes(grammar))
    if num_people + num_junk > num_names:
        raise UserError(
            f"junk.people: {num_junk} besides N: {num_people}, but the pools give {num_names} full names; "
            f"use at most {num_names - num_people}, or larger name pools"
        )


def junk_draws(junk: JunkPeople, seed: int, block: int, count: int = BLOCK) -> Draws:
    """Junk biographies block * count..: each of a uniform junk person, worded anew."""
    rng = streams.generator(seed, streams.JUNK, block)
    return draw_words(junk.grammar, rng, rng.integers(0, junk.N, count))


def junk_probe_draws(junk: JunkPeople, seed: int, draw: int, start: int, stop: int) -> Draws:
    """Junk people start..stop-1 in fresh words, as a probe words the useful ones."""
    return fresh_probe_draws(junk.grammar, junk.N, (seed, streams.JUNK_PROBE, draw), start, stop)
