"""A law fitted to the capacity table: R as a function of exposures E, parameters P, what is offered, and the scheme.

Capacity grows with exposures and with size as

    C(E, P) = c / (1 + (P_half / P)^beta) / (1 + (E_half (P / 10,000)^-delta / E)^gamma),

and a model that is offered R_max a parameter keeps R = (R_max^-k + C^-k)^(-1/k): all of it while it is little, C where
it is much. Large models level off at c. Rounding takes a share that grows with exposures:
R_scheme = R (1 - a (E / 100)^b). The form is ours; the paper gives only C(1000) = 2 and C(100) = 1.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.optimize import brentq, least_squares

from capacity.errors import UserError
from capacity.tables.bits import Array
from capacity.tables.naming import FULL_PRECISION
from capacity.tables.scores import CONFIDENCE

UNIT = 10_000  # parameters of a model whose E_half is E_half
FEWEST_SIZES = 3  # that show a curve; with fewer, size changes nothing
# Where the search starts, and its bounds.
CURVE = {"c": (2.0, 0.1, 10.0), "E_half": (100.0, 1.0, 1e4), "gamma": (1.5, 0.2, 6.0), "k": (5.0, 1.0, 30.0)}
SIZE = {"P_half": (2000.0, 1.0, 1e6), "beta": (1.0, 0.1, 4.0), "delta": (0.2, 0.0, 2.0)}
LARGEST = 1e15  # parameters
RESAMPLES = 200
SEED = 240405405


@dataclass(frozen=True)
class Law:
    """Fitted parameters. damage: scheme -> (a, b)."""

    c: float  # bits a parameter after endless exposures, of a large model
    E_half: float  # exposures that give half of what endless ones do, at 10,000 parameters
    gamma: float
    k: float  # how sharply R bends from R_max to C
    damage: dict[str, tuple[float, float]]
    P_half: float = 0.0  # parameters of a model that keeps half as much of each as a large one
    beta: float = 1.0
    delta: float = 0.0  # how fast larger models need fewer exposures

    def capacity(self, exposures: Any, P: Any) -> Any:
        """Bits a parameter that a model of P parameters keeps after so many exposures where more is offered."""
        largest = self.c / (1 + (self.P_half / P) ** self.beta)
        return largest / (1 + (self.E_half * (P / UNIT) ** -self.delta / exposures) ** self.gamma)

    def R(self, R_max: Any, exposures: Any, P: Any, scheme: str = FULL_PRECISION) -> Any:
        """Bits stored a parameter."""
        kept = (R_max**-self.k + self.capacity(exposures, P) ** -self.k) ** (-1 / self.k)
        return kept * self.share(exposures, scheme)

    def share(self, exposures: Any, scheme: str) -> Any:
        """What a scheme leaves of R; 1 in full precision, negative where it is worse than knowing nothing.

        Raises UserError for a scheme that the law was not fitted to.
        """
        if scheme == FULL_PRECISION:
            return 1.0
        if scheme not in self.damage:
            raise UserError(f"scheme {scheme!r}: the law has {', '.join([FULL_PRECISION, *self.damage])}")
        a, b = self.damage[scheme]
        return 1 - a * (exposures / 100) ** b

    def parameters_for(self, bits: float, exposures: float, share: float, scheme: str = FULL_PRECISION) -> float:
        """The least P that stores a share of some bits; infinite where none of up to 10^15 does.

        The kept part of R_max = bits / P is (1 + (R_max / C)^k)^(-1/k), which grows with P.
        """
        needed = share / max(self.share(exposures, scheme), 1e-9)
        if needed >= 1:
            return float("inf")
        bend = np.log(needed**-self.k - 1) / self.k  # of R_max / C, where as much is kept

        def lacking(log_P: float) -> float:
            P = np.exp(log_P)
            return float(np.log(bits / P) - np.log(self.capacity(exposures, P)) - bend)

        if lacking(np.log(LARGEST)) > 0:
            return float("inf")
        return float(np.exp(brentq(lacking, 0.0, np.log(LARGEST), xtol=1e-12))) if lacking(0.0) > 0 else 1.0


@dataclass(frozen=True)
class FittedLaw:
    """A law, and the same fit to resamples of the seeds, from which intervals come."""

    law: Law
    resampled: list[Law]
    rows: int
    seeds: int
    P_range: tuple[int, int]
    E_range: tuple[int, int]  # of exposures that three sizes have, or all
    bits_range: tuple[int, int]  # offered
    unseen_error: float | None = None  # median over cells, relative, by the law of the other sizes

    def interval(self, number: Any, scheme: str = FULL_PRECISION) -> tuple[float, float]:
        """The 95 % interval of a number that is a function of a law. scheme: which resamples must have, beside."""
        values = [number(law) for law in self.resampled if scheme in (FULL_PRECISION, *law.damage)]
        low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="nearest")
        return float(low), float(high)

    def write(self, path: Path) -> None:
        """As JSON, six digits a number."""
        path.write_text(json.dumps(_rounded(asdict(self))) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """The law in a file. Raises UserError where there is none."""
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; `make law` fits one to the reference tables") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: no fitted law ({error}); `make law` fits one") from None
        try:
            laws = [_law(each) for each in (content.pop("law"), *content.pop("resampled"))]
            return cls(laws[0], laws[1:], **content)
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(f"{path}: no fitted law of this version ({error}); `make law` fits one") from None


def _law(content: Mapping[str, Any]) -> Law:
    return Law(**{**content, "damage": {scheme: tuple(pair) for scheme, pair in content["damage"].items()}})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def fit_law(table: pd.DataFrame, resamples: int = RESAMPLES) -> FittedLaw:
    """The law that fits a capacity table best, with the seeds of each size resampled for intervals.

    Raises UserError where the table has fewer than three numbers of exposures: the curve has three parameters.
    """
    full = table[table["scheme"] == FULL_PRECISION]
    if full["exposures"].nunique() < 3:
        raise UserError("a law needs models of at least three numbers of exposures; run the study `exposures`")
    generator = np.random.Generator(np.random.Philox(SEED))
    resampled = [_fit(_redrawn(table, generator)) for _ in range(resamples)]
    sizes = full.groupby("exposures")["P"].nunique()
    of_many = sizes[sizes >= min(FEWEST_SIZES, full["P"].nunique())].index  # one size says nothing of the others
    known = (full["P"], of_many, full["R_max"] * full["P"])
    P_range, E_range, bits_range = ((int(values.min()), int(values.max())) for values in known)
    return FittedLaw(_fit(table), resampled, len(full), table["seed"].nunique(), P_range, E_range, bits_range)


def _redrawn(table: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """A resample of the seeds of each size by itself: sizes have worlds, and numbers of seeds, of their own."""
    parts = []
    for _, of_size in table.groupby("P"):
        seeds = np.array(sorted(of_size["seed"].unique()))
        parts += [of_size[of_size["seed"] == seed] for seed in generator.choice(seeds, size=len(seeds))]
    return pd.concat(parts)


def _fit(table: pd.DataFrame) -> Law:
    full = table[table["scheme"] == FULL_PRECISION]
    R_max, exposures, P, R = (full[column].to_numpy(float) for column in ("R_max", "exposures", "P", "R"))
    sought = CURVE | SIZE if full["P"].nunique() >= FEWEST_SIZES else CURVE
    start, lowest, highest = zip(*sought.values(), strict=True)

    def curve(parameters: Array, damage: dict[str, tuple[float, float]]) -> Law:
        return Law(**dict(zip(sought, map(float, parameters), strict=True)), damage=damage)

    def residuals(parameters: Array) -> Array:
        return curve(parameters, {}).R(R_max, exposures, P) - R

    found = least_squares(residuals, start, bounds=(lowest, highest), x_scale=start).x
    schemes = [scheme for scheme in table["scheme"].unique() if scheme != FULL_PRECISION]
    return curve(found, {scheme: _fit_damage(table, scheme) for scheme in schemes})


def _fit_damage(table: pd.DataFrame, scheme: str) -> tuple[float, float]:
    """a and b of one scheme: its R over that of the same checkpoint in full precision is 1 - a (E / 100)^b."""
    keys = ["checkpoint_id", "exposures"]
    pairs = table[table["scheme"] == scheme].merge(
        table[table["scheme"] == FULL_PRECISION][[*keys, "R"]].drop_duplicates(), on=keys, suffixes=("", "_full")
    )
    lost = 1 - pairs["R"].to_numpy(float) / pairs["R_full"].to_numpy(float)
    decades = np.log10(pairs["exposures"].to_numpy(float) / 100)

    def residuals(parameters: Array) -> Array:
        return parameters[0] * 10 ** (parameters[1] * decades) - lost

    a, b = least_squares(residuals, (float(np.median(lost)) or 1e-3, 0.5), loss="soft_l1").x
    return float(a), float(b)


def held_out(law: Law, table: pd.DataFrame) -> pd.DataFrame:
    """One row a cell of a table that the law was not fitted to: R, what the law says, and the relative error."""
    full = table[table["scheme"] == FULL_PRECISION]
    cells = full.groupby(["model", "P", "N", "exposures", "R_max"], as_index=False)["R"].mean()
    R_max, exposures, P = (cells[column].astype(float) for column in ("R_max", "exposures", "P"))
    cells["predicted"] = law.R(R_max, exposures, P)
    return cells.assign(relative_error=cells["predicted"] / cells["R"] - 1)


def each_size_held_out(table: pd.DataFrame) -> pd.DataFrame:
    """The same for every cell, by the law that fits all sizes but the cell's own."""
    sizes = sorted(table["P"].unique())
    unseen = [held_out(_fit(table[table["P"] != P]), table[table["P"] == P]) for P in sizes]
    return pd.concat(unseen, ignore_index=True)
