"""Bits stored by how often people were shown, where the training showed some far more often than others."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from capacity.tables.bits import bits_offered, person_bits
from capacity.tables.scores import score_matrices
from capacity.world.prior import Account
from capacity.world.zipf import Zipf

# Of the table's row that a band belongs to; variant_id alone tells which one it is.
OF_THE_ROW = (
    *("study", "run", "setting", "dataset", "N", "exposures", "model", "regime", "lr", "seed", "scheme", "variant_id"),
)
EDGES = 10 ** np.arange(0, 10, 0.5)  # of bands, in times a person was shown: two bands a factor of ten


def band_rows(row: Mapping[str, Any], zipf: float, scores: pd.DataFrame, account: Account) -> list[dict[str, Any]]:
    """One row a band of a variant: people shown `told_from` to `told_to` times, and the share of their bits stored.

    bits_offered: each person's share of what the world offers. A name is worth log2 (N0 / N) bits for every
    person, so one that is shown often can store more than is offered.
    """
    matrices = score_matrices(scores, account)
    stored = person_bits(matrices["nats"], matrices["first_chunk_nats"], account).total
    exact = matrices["exact"][:, 1:].mean(axis=1)
    counts = Zipf(row["N"], row["exposures"], zipf, row["seed"]).counts()
    offered = bits_offered(row["N"], account) / row["N"]
    bands = np.digitize(counts, EDGES)
    rows = []
    for band in np.unique(bands):
        mine = bands == band
        measured = {
            "told_from": int(counts[mine].min()),
            "told_to": int(counts[mine].max()),
            "people": int(mine.sum()),
            "bits_offered": offered * mine.sum(),
            "bits_stored": stored[mine].sum(),
            "share_stored": stored[mine].mean() / offered,
            "accuracy": exact[mine].mean(),
        }
        rows.append({**{name: row[name] for name in OF_THE_ROW}, **measured})
    return rows
