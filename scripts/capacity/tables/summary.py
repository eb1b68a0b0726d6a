"""The summary of a capacity table over seeds: means, with an interval of the mean of R."""

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from capacity.errors import UserError
from capacity.tables.bits import Array
from capacity.tables.scores import CONFIDENCE
from capacity.tables.table import GROUP_COLUMNS

MEAN_COLUMNS = (
    *("P", "P_active", "weight_bits", "bits_per_weight_bit", "bits_stored", "R_max", "R_calibrated", "temperature"),
    *("R_name_only", "accuracy", "accuracy_name", "final_loss_nats"),
)


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """One row a run and scheme: the mean over its seeds of R and an interval of that mean.

    interval_kind: "t95", Student's 95 % interval, from three seeds on; "range", lowest to highest, for two;
    "single", the value itself, for one. Raises UserError where a seed occurs twice in a group.
    """
    rows = []
    for key, group in table.groupby(list(GROUP_COLUMNS), sort=False, dropna=False):
        if group["seed"].duplicated().any():
            label = ", ".join(f"{column} {value}" for column, value in zip(GROUP_COLUMNS, key, strict=True))
            raise UserError(f"{label}: one seed occurs twice; give the runs regimes of different names")
        low, high, kind = seed_interval(group["R"].to_numpy(float))
        means = {column: group[column].mean() for column in MEAN_COLUMNS}
        interval = {"R": group["R"].mean(), "R_low": low, "R_high": high, "interval_kind": kind}
        taken = {"seeds": len(group), "chosen": bool(group["chosen"].all())}
        rows.append({**dict(zip(GROUP_COLUMNS, key, strict=True)), **taken, **interval, **means})
    order = [*GROUP_COLUMNS, "seeds", "chosen", "P", "R", "R_low", "R_high", "interval_kind", *MEAN_COLUMNS[1:]]
    return pd.DataFrame(rows, columns=order)


def seed_interval(values: Array) -> tuple[float, float, str]:
    """Low and high of the interval of a mean, and its kind as `summarise` names it. values: (seeds,), one a seed."""
    if len(values) < 3:
        return float(values.min()), float(values.max()), "range" if len(values) == 2 else "single"
    half = half_width(len(values), values.std(ddof=1))
    return float(values.mean() - half), float(values.mean() + half), "t95"


def half_width(seeds: int, deviation: float = 1.0) -> float:
    """Half of Student's interval of a mean over so many seeds. deviation: the standard deviation of one seed."""
    return float(stdtrit(seeds - 1, (1 + CONFIDENCE) / 2) * deviation / np.sqrt(seeds))
