"""Training steps made on demand: any step of a run, on its own, as arrays.

Over E exposures the people come in E fresh orders, each biography worded anew; nothing is stored.
"""

import functools
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from capacity.errors import UserError
from capacity.tokenizers.tokenization import has_all_rows, load_tokenizer
from capacity.training.mixture import Mixture
from capacity.training.spec import TrainingRegime, TrainingSettings
from capacity.training.token_stream import TokenStream, mixed_stream, with_eos
from capacity.world.facts import World, load_world
from capacity.world.junk import JunkPeople, junk_draws
from capacity.world.pieces import EOS_ID
from capacity.world.render import Renderer
from capacity.world.sampling import BLOCK, Draws, concatenate, num_blocks, training_draws
from capacity.world.text_renderer import TextRenderer, renderer_of
from capacity.world.zipf import Zipf

IGNORED = -100  # a target that is not scored, as torch's cross-entropy has it
MOST_COUNTED = 300_000_000  # tokens that take six minutes to make
JUNK_TOKENS = 2**17  # of junk rendered at a time for windows

Array = NDArray[np.int32]
Steps = tuple[Array, Array]  # inputs and targets, each (count, B, T)


class TrainingBatches:
    """The steps of one training: a regime applied to a world, keyed by the run's seed.

    rows: a row is one biography, inputs [EOS, biography], targets [biography, EOS], padded to the longest
    biography that the grammar can produce. windows: the stream EOS biography EOS biography ... EOS, cut into
    windows of T targets; every token of the stream but the first EOS is a target once. What is missing of the
    last batch, and all padding, is IGNORED. Where the world has junk, rows or windows of junk come between the
    useful ones, or junk biographies between the useful ones of a window, in the share that it asks for; exposures
    count the world's own people alone. all_rows: as in Renderer.
    """

    def __init__(self, world: World, tokenizer: Tokenizer, regime: TrainingRegime, seed: int, all_rows: bool = False):
        self.world, self.seed = world, seed
        self.renderer = renderer_of(world, tokenizer, all_rows)
        self.batch, self.exposures = regime.batch, regime.exposures
        self._mixed_windows = world.junk is not None and world.junk.windows == "mixed"
        self._windows = regime.packing == "windows"
        self.context = regime.context or self.renderer.max_length + 1
        self.zipf = Zipf(world.N, self.exposures, regime.zipf, seed) if regime.zipf else None
        self._block = functools.lru_cache(maxsize=4)(self._draw_block)
        self.junk = self._junk_text() if world.junk else None
        self._check_countable()

    def _check_countable(self) -> None:
        """Refuse windows over texts whose length only tokenising shows, where there are too many. Raises UserError."""
        if not self._windows or isinstance(self.renderer, TextRenderer) or not self.renderer.pieces.merge:
            return
        tokens = int(self.num_biographies * (self.renderer.mean_length + 1))
        if tokens > MOST_COUNTED:
            raise UserError(
                f"packing: windows over about {tokens:.2g} tokens, and the tokenizer joins values to what follows: "
                f"all are made before the first step; use packing: rows, or {MOST_COUNTED:.0e} tokens at most"
            )

    def _junk_text(self) -> "JunkText":
        assert isinstance(self.renderer, Renderer), "written texts have no junk"
        return JunkText(self.world, self.renderer, self.context, self.seed)

    def check_context(self) -> None:
        """Refuse windows that are shorter than biographies: no probe could be made. Raises UserError.

        A probe words people anew, so what counts is the longest that there can be. Where tokens reach across pieces
        that is a bound far above it, and some that are drawn are looked at.
        """
        renderer, longest = self.renderer, self.renderer.max_length
        if isinstance(renderer, Renderer) and renderer.pieces.merge:
            longest = int(renderer.lengths(self._biographies(0, min(self.world.N, BLOCK))).max())
        if longest > self.context:
            raise UserError(
                f"context: {self.context}, but biographies can have {longest} tokens, and a model is probed on whole "
                f"ones; use {longest} or more"
            )

    @classmethod
    def read(cls, dataset: Path, tokenizer: Path, settings: TrainingSettings, **more: Any) -> Self:
        """The steps of a training on the dataset and by the tokenizer of two folders. more: what a subclass takes."""
        world, known, all_rows = load_world(dataset), load_tokenizer(tokenizer), has_all_rows(tokenizer)
        return cls(world, known, settings.regime, settings.seed, all_rows=all_rows, **more)

    @property
    def description(self) -> str:
        """What is trained on, in a few words for the model card."""
        return f"{self.world.kind} with N = {self.world.N:,} people"

    @property
    def vocab_size(self) -> int:
        """V, as in Renderer."""
        return self.renderer.vocab_size

    @property
    def num_biographies(self) -> int:
        """Useful ones."""
        return self.exposures * self.world.N

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return -(-self._num_units // self.batch)

    @property
    def _num_units(self) -> int:
        """Rows or windows of the whole training."""
        return self.mixture.num_units if self.mixture else self.num_useful_units

    @property
    def num_useful_units(self) -> int:
        """Rows or windows that are not all junk."""
        return -(-self._stream.num_tokens // self.context) if self._windows else self.num_biographies

    @functools.cached_property
    def mixture(self) -> Mixture | None:
        """How useful units and units of junk are mixed; None where there are none of junk alone."""
        if self.world.junk is None or self._mixed_windows:
            return None
        return Mixture.of_share(self.num_useful_units, self.world.junk.share, self.seed)

    def steps(self, first: int, count: int) -> Steps:
        """Steps first..first+count-1. Any step has the same bits whichever steps it is asked for with.

        inputs, targets: int32 (count, B, T). Raises ValueError where there are fewer steps.
        """
        if not 0 <= first < first + count <= self.num_steps:
            raise ValueError(f"steps {first}..{first + count} of {self.num_steps}")
        inputs, targets = padding(count * self.batch, self.context)
        start, stop = first * self.batch, min((first + count) * self.batch, self._num_units)
        if self.mixture is None:
            self._fill(inputs, targets, start, stop)
        else:
            self._fill_mixed(inputs, targets, start, stop)
        shape = (count, self.batch, self.context)
        return inputs.reshape(shape), targets.reshape(shape)

    def _fill_mixed(self, inputs: Array, targets: Array, start: int, stop: int) -> None:
        """Put units start..stop-1 of the mixture into the first rows."""
        assert self.mixture is not None
        assert self.junk is not None
        useful, useful_start, junk_start = self.mixture.split(start, stop)
        for mask, fill, begin in ((useful, self._fill, useful_start), (~useful, self._fill_junk, junk_start)):
            rows = np.flatnonzero(mask)
            if len(rows):
                some_inputs, some_targets = padding(len(rows), self.context)
                fill(some_inputs, some_targets, begin, begin + len(rows))
                inputs[rows], targets[rows] = some_inputs, some_targets

    def _fill_junk(self, inputs: Array, targets: Array, start: int, stop: int) -> None:
        assert self.junk is not None
        if self._windows:
            self.junk.fill_windows(inputs, targets, start, stop)
        else:
            fill_rows(self.junk.renderer, self.junk.biographies(start, stop), inputs, targets)

    def _fill(self, inputs: Array, targets: Array, start: int, stop: int) -> None:
        """Put useful units start..stop-1 into the first rows."""
        if self._windows:
            self._fill_windows(inputs.reshape(-1), targets.reshape(-1), start, stop)
        else:
            fill_rows(self.renderer, self._biographies(start, stop), inputs, targets)

    def _fill_windows(self, inputs: Array, targets: Array, first: int, last: int) -> None:
        start, stop = first * self.context, min(last * self.context, self._stream.num_tokens)
        stream = self._stream.cut(max(start - 1, 0), stop)  # from one token earlier, the first input
        num_targets, before = stop - start, stream[:-1]
        targets[:num_targets] = stream[-num_targets:]
        inputs[num_targets - len(before) : num_targets] = before  # the training's first input stays EOS

    def _biographies(self, start: int, stop: int) -> Draws:
        """Biographies start..stop-1 of the training, counted through all exposures."""
        parts, N = [], self.world.N
        for exposure in range(start // N, (stop - 1) // N + 1):
            low, high = max(start - exposure * N, 0), min(stop - exposure * N, N)
            for block in range(low // BLOCK, (high - 1) // BLOCK + 1):
                draws = self._block(exposure, block)
                parts.append(draws[max(low - block * BLOCK, 0) : high - block * BLOCK])
        return concatenate(parts)

    def _draw_block(self, exposure: int, block: int) -> Draws:
        return training_draws(self.world, self.seed, exposure, block, self.zipf)

    @functools.cached_property
    def _stream(self) -> TokenStream:
        """What windows are cut from, without its first EOS."""
        useful, junk = self._useful_stream, self.junk
        if not self._mixed_windows:
            return useful
        assert junk is not None
        assert self.world.junk is not None
        share = self.world.junk.share
        num_junk = junk.num_biographies(useful.num_tokens * share / (1 - share))
        return mixed_stream(useful, junk, num_junk, self.seed)

    @functools.cached_property
    def _useful_stream(self) -> TokenStream:
        """The biographies of the world's own people, a block of draws at a time."""
        starts = np.arange(num_blocks(self.world)) * BLOCK
        firsts = (np.arange(self.exposures)[:, None] * self.world.N + starts).ravel()
        return TokenStream(
            np.append(firsts, self.num_biographies),
            lambda start, stop: self.renderer.lengths(self._biographies(start, stop)) + 1,
            lambda start, stop: with_eos(self.renderer, self._biographies(start, stop)),
        )


class JunkText:
    """Endless junk, as biographies for rows or cut into windows; any part of it can be made on its own."""

    def __init__(self, world: World, renderer: Renderer, context: int, seed: int):
        self.world, self.context, self.seed = JunkPeople(world), context, seed
        self.renderer = renderer.for_junk(self.world)
        self._draws = functools.lru_cache(maxsize=2)(self._draw)
        self._tokens = functools.lru_cache(maxsize=2)(self._render)
        self._windows_a_block = max(JUNK_TOKENS // context, 1)

    def biographies(self, start: int, stop: int) -> Draws:
        """Junk biographies start..stop-1."""
        parts = []
        for block in range(start // BLOCK, (stop - 1) // BLOCK + 1):
            first = block * BLOCK
            parts.append(self._draws(block)[max(start - first, 0) : stop - first])
        return concatenate(parts)

    def num_biographies(self, tokens: float) -> int:
        """How many junk biographies, from the first on and each with its EOS, come nearest to so many tokens."""
        block, before = 0, 0
        while True:
            ends = before + np.cumsum(self.lengths(block * BLOCK, (block + 1) * BLOCK))
            if ends[-1] >= tokens:
                break
            block, before = block + 1, ends[-1]
        ends = np.append(before, ends)
        return block * BLOCK + int(np.argmin(abs(ends - tokens)))

    def lengths(self, start: int, stop: int) -> NDArray[np.int64]:
        """Tokens of each of biographies start..stop-1, its EOS included."""
        return self.renderer.lengths(self.biographies(start, stop)) + 1

    def tokens(self, start: int, stop: int) -> NDArray[np.unsignedinteger]:
        """Biographies start..stop-1 end to end, each followed by EOS."""
        return with_eos(self.renderer, self.biographies(start, stop))

    def fill_windows(self, inputs: Array, targets: Array, start: int, stop: int) -> None:
        """Put windows start..stop-1 into the first rows; the first of a block begins with a biography."""
        for row, window in enumerate(range(start, stop)):
            block, place = divmod(window, self._windows_a_block)
            stream = self._tokens(block)[place * self.context : (place + 1) * self.context + 1]
            inputs[row], targets[row] = stream[:-1], stream[1:]

    def _draw(self, block: int) -> Draws:
        return junk_draws(self.world, self.seed, block)

    def _render(self, block: int) -> NDArray[np.unsignedinteger]:
        """EOS and so many biographies, each with its EOS, as fill a block of windows however short they are."""
        size = self._windows_a_block * self.context
        draws = junk_draws(self.world, self.seed, block, size // (self.renderer.min_length + 1) + 1)
        some = int(size / (self.renderer.mean_length + 1)) + 1
        parts, missing = [np.array([EOS_ID])], size
        for first in range(0, len(draws), some):
            parts.append(with_eos(self.renderer, draws[first : first + some]))
            missing -= len(parts[-1])
            if missing <= 0:
                break
        return np.concatenate(parts)[: size + 1]


def padding(rows: int, context: int) -> Steps:
    """Inputs and targets, (rows, context), of nothing but padding."""
    return np.full((rows, context), EOS_ID, dtype=np.int32), np.full((rows, context), IGNORED, dtype=np.int32)


def fill_rows(renderer: Renderer | TextRenderer, draws: Draws, inputs: Array, targets: Array) -> None:
    """Put one biography into each of the first rows."""
    rendering, rows = renderer.tokens(draws, labels=False), len(draws)
    real = np.arange(inputs.shape[1] - 1) < rendering.lengths[:, None]
    inputs[:rows, 1:][real] = rendering.tokens
    targets[:rows, :-1][real] = rendering.tokens
    targets[np.arange(rows), rendering.lengths] = EOS_ID
