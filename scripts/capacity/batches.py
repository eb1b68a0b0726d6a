"""Training steps made on demand: any step of a run, on its own, as arrays.

Over E exposures the people come in E fresh orders, each biography worded anew; nothing is stored.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from capacity.errors import UserError
from capacity.world import EOS_ID, Draws, Renderer, World, num_blocks, training_draws
from capacity.world.draws import BLOCK, concatenate

IGNORED = -100  # a target that is not scored, as torch's cross-entropy has it

Steps = tuple[NDArray[np.int32], NDArray[np.int32]]  # inputs and targets, each (count, B, T)


class TrainingBatches:
    """The steps of one training: a regime applied to a world, keyed by the run's seed.

    rows: a row is one biography, inputs [EOS, biography], targets [biography, EOS], padded to the longest
    biography that the grammar can produce. windows: the stream EOS biography EOS biography ... EOS, cut into
    windows of T targets; every token of the stream but the first EOS is a target once. What is missing of the
    last batch, and all padding, is IGNORED. Raises UserError where packing and context do not go together.
    """

    def __init__(self, world: World, tokenizer: Tokenizer, regime: dict[str, Any], seed: int):
        self.world, self.seed = world, seed
        self.renderer = Renderer(world, tokenizer)
        self.batch, self.exposures = regime["batch"], regime["exposures"]
        _check(regime)
        self._windows = regime["packing"] == "windows"
        self.context = regime["context"] if self._windows else self.renderer.max_length + 1
        self._block = functools.lru_cache(maxsize=4)(self._draw_block)

    @property
    def vocab_size(self) -> int:
        """V, as in Renderer."""
        return self.renderer.vocab_size

    @property
    def num_biographies(self) -> int:
        return self.exposures * self.world.N

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole training."""
        units = -(-self.num_exposure_tokens // self.context) if self._windows else self.num_biographies
        return -(-units // self.batch)

    @property
    def num_exposure_tokens(self) -> int:
        """Targets that are scored in the whole training: the tokens of every biography and its EOS."""
        return int(self._block_ends[-1])

    def steps(self, first: int, count: int) -> Steps:
        """Steps first..first+count-1. Any step has the same bits whichever steps it is asked for with.

        inputs, targets: int32 (count, B, T). Raises ValueError where there are fewer steps.
        """
        if not 0 <= first < first + count <= self.num_steps:
            raise ValueError(f"steps {first}..{first + count} of {self.num_steps}")
        inputs, targets = (self._window_steps if self._windows else self._row_steps)(first, count)
        shape = (count, self.batch, self.context)
        return inputs.reshape(shape), targets.reshape(shape)

    def _row_steps(self, first: int, count: int) -> Steps:
        start, stop = first * self.batch, min((first + count) * self.batch, self.num_biographies)
        rendering = self.renderer.tokens(self._biographies(start, stop), labels=False)
        inputs, targets = self._padding(count)
        inputs, targets = inputs.reshape(-1, self.context), targets.reshape(-1, self.context)
        real = np.arange(self.context - 1) < rendering.lengths[:, None]
        rows = stop - start
        inputs[:rows, 1:][real] = rendering.tokens
        targets[:rows, :-1][real] = rendering.tokens
        targets[np.arange(rows), rendering.lengths] = EOS_ID
        return inputs, targets

    def _biographies(self, start: int, stop: int) -> Draws:
        """Biographies start..stop-1 of the training, counted through all exposures."""
        parts, N = [], self.world.N
        for exposure in range(start // N, (stop - 1) // N + 1):
            low, high = max(start - exposure * N, 0), min(stop - exposure * N, N)
            for block in range(low // BLOCK, (high - 1) // BLOCK + 1):
                draws, _ = self._block(exposure * num_blocks(self.world) + block)
                parts.append(draws[max(low - block * BLOCK, 0) : high - block * BLOCK])
        return concatenate(parts)

    def _window_steps(self, first: int, count: int) -> Steps:
        size = self.batch * self.context
        start, stop = first * size, min((first + count) * size, self.num_exposure_tokens)
        stream = self._targets(max(start - 1, 0), stop)  # from one token earlier, the first input
        num_targets, before = stop - start, stream[:-1]
        inputs, targets = self._padding(count)
        targets[:num_targets] = stream[-num_targets:]
        inputs[num_targets - len(before) : num_targets] = before  # the training's first input stays EOS
        return inputs, targets

    def _targets(self, start: int, stop: int) -> NDArray[np.unsignedinteger]:
        """Tokens start..stop-1 of the stream without its first EOS: biographies, each with its EOS."""
        parts = []
        first, last = np.searchsorted(self._block_ends, [start, stop - 1], side="right")
        for index in range(first, last + 1):
            draws, sizes = self._block(index)
            ends = np.cumsum(sizes)
            ends += self._block_ends[index] - ends[-1]
            low, high = np.searchsorted(ends, [start, stop - 1], side="right")
            parts.append(draws[low : high + 1])
        stream = self._with_eos(concatenate(parts))
        begin = ends[min(high, len(ends) - 1)] - len(stream)
        return stream[start - begin : stop - begin]

    def _with_eos(self, draws: Draws) -> NDArray[np.unsignedinteger]:
        """Biographies end to end, each followed by EOS."""
        rendering = self.renderer.tokens(draws, labels=False)
        closings = np.cumsum(rendering.lengths + 1) - 1
        stream = np.full(closings[-1] + 1, EOS_ID, dtype=rendering.tokens.dtype)
        inside = np.ones(len(stream), dtype=bool)
        inside[closings] = False
        stream[inside] = rendering.tokens
        return stream

    def _padding(self, count: int) -> Steps:
        size = count * self.batch * self.context
        return np.full(size, EOS_ID, dtype=np.int32), np.full(size, IGNORED, dtype=np.int32)

    def _draw_block(self, index: int) -> tuple[Draws, NDArray[np.int64]]:
        """A block, counted through all exposures, and the tokens of each of its biographies with EOS."""
        exposure, block = divmod(index, num_blocks(self.world))
        draws = training_draws(self.world, self.seed, exposure, block)
        return draws, self.renderer.lengths(draws) + 1

    @functools.cached_property
    def _block_ends(self) -> NDArray[np.int64]:
        """Where each block of the training ends in the stream; from lengths alone, nothing is rendered."""
        num_indices = self.exposures * num_blocks(self.world)
        return np.cumsum([self._draw_block(index)[1].sum() for index in range(num_indices)])


def _check(regime: dict[str, Any]) -> None:
    packing, context = regime["packing"], regime["context"]
    if packing not in ("rows", "windows"):
        raise UserError(f"packing: {packing}; use rows or windows")
    if packing == "rows" and context is not None:
        raise UserError(f"context: {context} with packing: rows; a row is one biography, remove context")
    if packing == "windows" and (context is None or context < 1):
        raise UserError(f"context: {context} with packing: windows; give a length in tokens, 1 or more")
    for key in ("batch", "exposures"):
        if regime[key] < 1:
            raise UserError(f"{key}: {regime[key]}; use 1 or more")
