"""Scores of a variant as matrices of people by items, and what follows from them: R, bits a person, an interval."""

import numpy as np
import pandas as pd

from capacity.errors import UserError
from capacity.tables.bits import Array, item_bits, person_bits
from capacity.world.prior import Account

CONFIDENCE = 0.95
BOOTSTRAP_SEED = 240405405  # the same resamples for every variant of N people, so that differences are paired
FLOATS_A_CHUNK = 2**22


def score_matrices(scores: pd.DataFrame, account: Account) -> dict[str, Array]:
    """Each score column as float (N, 1 + items), the name first; those of first chunks as (N, K), values only.

    Raises UserError where the rows are not people by the account's items.
    """
    items = ["name", *(name for name, _ in account.items)]
    num_people = len(scores) // len(items)
    same_items = scores["item"].to_numpy() == np.tile(np.array(items, dtype=object), num_people + 1)[: len(scores)]
    same_people = scores["person"].to_numpy() == np.arange(len(scores)) // len(items)
    if len(scores) % len(items) or not (same_items.all() and same_people.all()):
        raise UserError(f"scores are not people 0..N-1 by items {', '.join(items)}: probe this dataset again")
    whole, first_chunks = ("nats", "nats_name_only", "exact"), ("first_chunk_nats", "first_chunk_nats_name_only")
    columns = (*whole, *first_chunks)
    matrices = {column: scores[column].to_numpy(float).reshape(num_people, len(items)) for column in columns}
    return matrices | {column: matrices[column][:, 1:] for column in first_chunks}


def R_of(scores: pd.DataFrame, account: Account, P: int) -> float:
    """Bits stored divided by parameters."""
    matrices = score_matrices(scores, account)
    return float(person_bits(matrices["nats"], matrices["first_chunk_nats"], account).total.sum() / P)


def mean_bits(scores: pd.DataFrame, account: Account) -> float:
    """Bits stored of name and values, mean over people."""
    return float(item_bits(score_matrices(scores, account)["nats"], account).sum(axis=1).mean())


def bootstrap_interval(per_person: Array, num_resamples: int) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a sum over people, float (N,), drawn with replacement."""
    num_people = len(per_person)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([BOOTSTRAP_SEED, num_people])))
    sums = np.empty(num_resamples)
    chunk = max(1, FLOATS_A_CHUNK // num_people)
    for start in range(0, num_resamples, chunk):
        stop = min(start + chunk, num_resamples)
        chosen = generator.integers(num_people, size=(stop - start, num_people))
        sums[start:stop] = per_person[chosen].sum(axis=1)
    low, high = np.quantile(sums, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
