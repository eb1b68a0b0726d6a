"""Losses at other temperatures than 1, summed over each half of the people: what calibrated bits are computed from.

Logits divided by a temperature are a calibrated model, where one temperature can make it so.
That temperature is fitted on one half of the people and judged on the other, so the two are kept apart from the start.
"""

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from capacity.world.prior import Account

Array = NDArray[np.float64]

STEPS = 4  # temperatures a factor of two: the best is missed by 9 % at most, which costs a loss little
TEMPERATURES = 2.0 ** (np.arange(-STEPS, 4 * STEPS + 1) / STEPS)  # 1/2 to 16, 1 among them
HALVES_SEED = 240405406  # the same halves for every variant of N people, so that differences are paired
FLOATS_A_CHUNK = {"cpu": 2**17, "gpu": 2**24}  # of logits, small enough for a core's cache


def half_of(num_people: int) -> NDArray[np.int64]:
    """The half, 0 or 1, that each person is in, (N,): shuffled, of equal size or the first one larger."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([HALVES_SEED, num_people])))
    return generator.permutation(np.arange(num_people) % 2)


def nats_at_temperatures(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The loss in nats of each target at each of TEMPERATURES, fp32 (temperatures, M).

    logits: fp32 (M, V). targets: int64 (M,).
    """
    chunk = max(1, FLOATS_A_CHUNK["cpu" if logits.device.type == "cpu" else "gpu"] // logits.shape[1])
    parts = zip(logits.split(chunk), targets.split(chunk), strict=True)
    return torch.cat([_nats_of_chunk(*part) for part in parts], dim=1)


def _nats_of_chunk(logits_MV: torch.Tensor, targets_M: torch.Tensor) -> torch.Tensor:
    """log sum exp(z / T) - z_target / T; exp(z / T) squared is that of half the temperature, so few are taken."""
    below_MV = logits_MV - logits_MV.amax(dim=1, keepdim=True)
    target_M = below_MV.gather(1, targets_M[:, None])[:, 0]
    nats = torch.empty(len(TEMPERATURES), len(targets_M), device=logits_MV.device)
    for hottest in range(len(TEMPERATURES) - STEPS, len(TEMPERATURES)):
        powers_MV = (below_MV / TEMPERATURES[hottest]).exp_()
        for place in range(hottest, -1, -STEPS):
            nats[place] = powers_MV.sum(dim=1).log_() - target_M / TEMPERATURES[place]
            powers_MV.square_()
    return nats


class HalfLosses:
    """Losses of the people in each half, summed as people come; an item that is not mentioned counts as not stored."""

    def __init__(self, num_people: int, account: Account):
        self.half = half_of(num_people)
        self.items = ["name", *(name for name, _ in account.items)]
        bits = [account.name_prior_bits, *(prior for _, prior in account.items)]
        self.prior_nats = np.array(bits) * np.log(2)
        self.sums = np.zeros((2, 2, len(TEMPERATURES), len(self.items)))  # whole and first chunk, half, ...

    def add(self, first_person: int, nats: Array) -> None:
        """Add people in order, float (2, temperatures, people, items): of whole items, and of first chunks."""
        whole, first_chunk = nats
        filled = np.where(np.isnan(whole), self.prior_nats, whole)
        halves = self.half[first_person : first_person + nats.shape[2]]
        for half in (0, 1):
            self.sums[0, half] += filled[:, halves == half].sum(axis=1)
            self.sums[1, half] += first_chunk[:, halves == half].sum(axis=1)

    def table(self) -> pa.Table:
        """One row a half, temperature and item, in this order, the name first.

        Columns: half, 0 or 1; temperature; item; people, of the half; nats, summed over them and over the item's
        tokens; first_chunk_nats, the same of the first chunk of a bioD value, NaN elsewhere.
        """
        grid, items = len(TEMPERATURES), len(self.items)
        codes = np.tile(np.arange(items, dtype=np.int16), 2 * grid)
        return pa.table(
            {
                "half": np.repeat(np.arange(2, dtype=np.int8), grid * items),
                "temperature": np.tile(np.repeat(TEMPERATURES, items), 2),
                "item": pa.DictionaryArray.from_arrays(codes, self.items),
                "people": np.repeat(np.bincount(self.half, minlength=2), grid * items),
                "nats": self.sums[0].ravel(),
                "first_chunk_nats": self.sums[1].ravel(),
            }
        )
