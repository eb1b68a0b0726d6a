"""A table held against another one, cell by cell and claim by claim.

Seeds of the same number share a world, but a training on another machine soon takes other roundings, so the two sides
are taken as independent: Welch's 95 % interval of the difference of their means over seeds.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import binom, ttest_ind

from capacity.tables.claims import CELL_COLUMNS, NOT_RUN, Claim, judge
from capacity.tables.scores import CONFIDENCE

SAME, OTHER, OPEN = "agrees", "differs", "too few seeds"


def compare_cells(mine: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """One row a cell that both tables have: means of R, their difference with its interval, and whether it holds 0.

    Of several learning rates the chosen one counts, on each side its own.
    """
    rows = []
    mine, reference = mine[mine["chosen"]], reference[reference["chosen"]]
    theirs = dict(iter(reference.groupby(CELL_COLUMNS, dropna=False, sort=False)))
    for key, group in mine.groupby(CELL_COLUMNS, dropna=False, sort=False):
        if key in theirs:
            studies = set(group["study"])
            a, b = (_R(part, studies) for part in (group, theirs[key]))
            low, high = _difference(a, b)
            verdict = OPEN if np.isnan(low) else SAME if low <= 0 <= high else OTHER
            sides = {"R": a.mean(), "seeds": len(a), "R_reference": b.mean(), "seeds_reference": len(b)}
            interval = {"difference": a.mean() - b.mean(), "low": low, "high": high, "verdict": verdict}
            rows.append({**dict(zip(CELL_COLUMNS, key, strict=True)), **sides, **interval})
    columns = [*CELL_COLUMNS, "R", "seeds", "R_reference", "seeds_reference", "difference", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def _R(group: pd.DataFrame, studies: set[str]) -> np.ndarray:
    """One value a seed: of these studies alone, where any of them has the cell."""
    same = group["study"].isin(studies)
    return (group[same] if same.any() else group).drop_duplicates("seed")["R"].to_numpy(float)


def _difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Welch's interval; without an interval where a side has one seed; exact where neither side varies."""
    if min(len(a), len(b)) < 2:
        return float("nan"), float("nan")
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return float(a.mean() - b.mean()), float(a.mean() - b.mean())
    interval = ttest_ind(a, b, equal_var=False).confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high)


def too_many_differ(cells: pd.DataFrame) -> bool:
    """Whether more cells differ than chance explains: one in twenty does where nothing is different."""
    judged = int((cells["verdict"] != OPEN).sum())
    return int((cells["verdict"] == OTHER).sum()) > binom.ppf(CONFIDENCE, judged, 1 - CONFIDENCE)


def compare_claims(claims: Sequence[Claim], mine: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Verdicts of both sides on the claims that my studies can say something about, from the same studies."""
    same_studies = reference[reference["study"].isin(set(mine["study"]))]
    ours, theirs = (judge(claims, table, "")[["id", "measured", "verdict"]] for table in (mine, same_studies))
    both = ours.merge(theirs, on="id", suffixes=("", "_reference"))
    return both[(both["verdict"] != NOT_RUN) & (both["verdict_reference"] != NOT_RUN)]
