"""How often people are shown where some are shown far more often than others: Zipf's law, in exact counts."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from capacity.world import streams


@dataclass(frozen=True)
class Zipf:
    """Person n of N, counted from 0, is shown in proportion to (n + 1)^-exponent, `exposures` times on average.

    Lay all people end to end on a line of length N, each as long as its share of N. Over the training, every
    point (i + 1/2) / exposures for i = 0.. N * exposures - 1 shows the person it falls on; an exposure takes
    the points of one offset, N of them, and offsets come in an order drawn by the seed. So each person is shown
    its due number of times, rounded up or down, and any exposure can be made on its own.
    """

    num_people: int
    exposures: int
    exponent: float
    seed: int

    def people(self, exposure: int) -> NDArray[np.int32]:
        """The N people of an exposure, in order of their numbers; some several times, some not at all."""
        points = np.arange(self.num_people) + (self._offsets[exposure] + 0.5) / self.exposures
        return np.minimum(np.searchsorted(self._ends, points), self.num_people - 1).astype(np.int32)

    def counts(self) -> NDArray[np.int64]:
        """How often each person is shown in the whole training, (N,)."""
        ends = np.ceil(self._ends * self.exposures - 0.5).astype(np.int64)
        ends[-1] = self.num_people * self.exposures
        return np.diff(ends, prepend=0)

    @cached_property
    def _ends(self) -> NDArray[np.float64]:
        """Where each person ends on the line."""
        shares = np.arange(1, self.num_people + 1, dtype=np.float64) ** -self.exponent
        ends = np.cumsum(shares)
        return ends * (self.num_people / ends[-1])

    @cached_property
    def _offsets(self) -> NDArray[np.int64]:
        return streams.generator(self.seed, streams.ZIPF).permutation(self.exposures)
