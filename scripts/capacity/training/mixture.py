"""Which parts of a training are useful and which are junk: exact numbers of both, spread at random."""

import functools

import numpy as np
from numpy.typing import NDArray

from capacity.world import streams

GROUP = 4096  # units that one key spreads


class Mixture:
    """M units (rows, windows or biographies) of which U are useful, in their order; the others are junk.

    Any range of units can be asked for on its own.
    """

    def __init__(self, num_useful: int, num_units: int, seed: int):
        self.num_useful, self.num_units, self.seed = num_useful, num_units, seed
        self._group = functools.lru_cache(maxsize=4)(self._spread)

    @classmethod
    def of_share(cls, num_useful: int, junk_share: float, seed: int) -> "Mixture":
        """With so many units that the share of junk is as near to the one asked for as whole units allow."""
        return cls(num_useful, round(num_useful / (1 - junk_share)), seed)

    def split(self, start: int, stop: int) -> tuple[NDArray[np.bool_], int, int]:
        """Which of units start..stop-1 are useful, and how many useful and junk units come before start."""
        parts = []
        for group in range(start // GROUP, (stop - 1) // GROUP + 1):
            first = group * GROUP
            parts.append(self._group(group)[max(start - first, 0) : stop - first])
        group, rest = divmod(start, GROUP)
        useful = self._useful_before(group * GROUP) + int(self._group(group)[:rest].sum())
        return np.concatenate(parts), useful, start - useful

    def _useful_before(self, unit: int) -> int:
        """Useful units before the start of a group."""
        return unit * self.num_useful // self.num_units

    def _spread(self, group: int) -> NDArray[np.bool_]:
        first, last = group * GROUP, min((group + 1) * GROUP, self.num_units)
        useful = np.zeros(last - first, dtype=bool)
        useful[: self._useful_before(last) - self._useful_before(first)] = True
        streams.generator(self.seed, streams.MIXTURE, group).shuffle(useful)
        return useful
