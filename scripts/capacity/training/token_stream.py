"""Biographies end to end as one stream of tokens, each followed by EOS; any part of it can be made on its own."""

import functools
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from capacity.training.mixture import GROUP, Mixture
from capacity.world.pieces import EOS_ID
from capacity.world.render import Renderer
from capacity.world.sampling import Draws
from capacity.world.text_renderer import TextRenderer

Tokens = NDArray[np.unsignedinteger]


class Biographies(Protocol):
    """Numbered biographies, any range of which can be asked for."""

    def lengths(self, start: int, stop: int, /) -> NDArray[np.int64]:
        """Tokens of each of biographies start..stop-1, its EOS included."""

    def tokens(self, start: int, stop: int, /) -> Tokens:
        """Biographies start..stop-1 end to end, each followed by EOS."""


class TokenStream:
    """A stream of numbered biographies.

    firsts: (blocks + 1,), the first biography of each block and, last, how many there are; of a block all lengths
    are counted at once. lengths, tokens: as in Biographies.
    """

    def __init__(
        self,
        firsts: NDArray[np.int64],
        lengths: Callable[[int, int], NDArray[np.int64]],
        tokens: Callable[[int, int], Tokens],
    ):
        self.firsts, self.lengths, self.tokens = firsts, lengths, tokens
        self._ends_in = functools.lru_cache(maxsize=4)(self._count_ends)

    @property
    def num_biographies(self) -> int:
        """In the whole stream."""
        return int(self.firsts[-1])

    @property
    def num_tokens(self) -> int:
        """Of all biographies, each with its EOS."""
        return int(self._block_ends[-1])

    def cut(self, start: int, stop: int) -> Tokens:
        """Tokens start..stop-1."""
        first, _ = self._holding(start)
        last, end = self._holding(stop - 1)
        tokens = self.tokens(first, last + 1)
        begin = end - len(tokens)
        return tokens[start - begin : stop - begin]

    def _holding(self, token: int) -> tuple[int, int]:
        """The biography that holds a token, and where it ends."""
        block = int(np.searchsorted(self._block_ends, token, side="right"))
        begin = int(self._block_ends[block - 1]) if block else 0
        ends = self._ends_in(block)
        place = int(np.searchsorted(ends, token - begin, side="right"))
        return int(self.firsts[block]) + place, begin + int(ends[place])

    def _count_ends(self, block: int) -> NDArray[np.int64]:
        """Where each biography of a block ends, counted from the block's start."""
        return np.cumsum(self.lengths(int(self.firsts[block]), int(self.firsts[block + 1])))

    @functools.cached_property
    def _block_ends(self) -> NDArray[np.int64]:
        """Where each block ends; from lengths alone, nothing is rendered."""
        return np.cumsum([self._count_ends(block)[-1] for block in range(len(self.firsts) - 1)])


def mixed_stream(useful: TokenStream, junk: Biographies, num_junk: int, seed: int) -> TokenStream:
    """The biographies of a stream in their order with the first junk ones between them, spread evenly and at random."""
    mixture = Mixture(useful.num_biographies, useful.num_biographies + num_junk, seed)

    def split(start: int, stop: int) -> list[tuple[Biographies, NDArray[np.bool_], int, int]]:
        """Of biographies start..stop-1: whose they are, where these stand, and from which number to which."""
        mask, useful_first, junk_first = mixture.split(start, stop)
        sides: list[tuple[Biographies, NDArray[np.bool_], int]]
        sides = [(useful, mask, useful_first), (junk, ~mask, junk_first)]
        return [(side, places, first, first + int(places.sum())) for side, places, first in sides if places.any()]

    def lengths(start: int, stop: int) -> NDArray[np.int64]:
        sizes = np.empty(stop - start, dtype=np.int64)
        for side, places, first, last in split(start, stop):
            sizes[places] = side.lengths(first, last)
        return sizes

    def tokens(start: int, stop: int) -> Tokens:
        sizes = lengths(start, stop)
        joined = np.empty(sizes.sum(), dtype=np.uint32)
        for side, places, first, last in split(start, stop):
            joined[np.repeat(places, sizes)] = side.tokens(first, last)
        return joined

    firsts = np.append(np.arange(0, mixture.num_units, GROUP), mixture.num_units)
    return TokenStream(firsts, lengths, tokens)


def with_eos(renderer: Renderer | TextRenderer, draws: Draws) -> Tokens:
    """Biographies end to end, each followed by EOS."""
    rendering = renderer.tokens(draws, labels=False)
    closings = np.cumsum(rendering.lengths + 1) - 1
    stream = np.full(closings[-1] + 1, EOS_ID, dtype=rendering.tokens.dtype)
    inside = np.ones(len(stream), dtype=bool)
    inside[closings] = False
    stream[inside] = rendering.tokens
    return stream
