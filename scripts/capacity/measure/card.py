"""The card of a measure: how much a candidate remembers beside a GPT-2, from its table, and what limits that."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from capacity.measure.baseline import TOLERANCE
from capacity.measure.pair import BASELINE, CANDIDATE, MeasureStudy
from capacity.tables.bits import Array
from capacity.tables.naming import FULL_PRECISION
from capacity.tables.summary import half_width, seed_interval

NEARLY_ALL = 0.95  # of what is offered: more might be kept where more is offered
WIDE = 0.1  # half an interval of a ratio, relative to it
MOST_ADVISED = 30  # seeds


@dataclass(frozen=True)
class Mean:
    """Over seeds, with Student's 95 % interval, or the range of two seeds; low = high = mean of one."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Array) -> "Mean":
        """Of one value a seed."""
        low, high, _ = seed_interval(values)
        return cls(float(values.mean()), low, high)

    def __str__(self) -> str:
        interval = f" ({self.low:.3g} to {self.high:.3g})" if self.low < self.high else ""
        return f"{self.mean:.3g}{interval}"


@dataclass(frozen=True)
class BothModels:
    """One world and number of exposures. lr: the best tried. ratio: candidate over baseline, paired by seed."""

    exposures: int
    N: int
    R_max: dict[str, float]
    R: dict[str, Mean]
    R_calibrated: dict[str, Mean]
    lr: dict[str, float]
    ratio: Mean


@dataclass(frozen=True)
class MeasureCard:
    """peak: R where most is kept, by exposures. kept: share of R that a scheme leaves, by scheme and model.

    against: what the baseline is called.
    """

    name: str
    against: str
    P: dict[str, int]
    seeds: int
    peak: dict[int, dict[str, Mean]]
    peak_ratio: dict[int, Mean]
    cells: list[BothModels]
    kept: dict[str, dict[str, Mean]]
    extractable: dict[str, Mean]
    flops_a_token: dict[str, float]
    tokens_per_second: dict[str, float]
    training_hours: float
    limits: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def make_card(study: MeasureStudy, table: pd.DataFrame, runs: pd.DataFrame) -> MeasureCard:
    """The card of a finished study. runs: seconds and tokens a second of its trainings, as in runs.csv."""
    table = table.assign(who=table["model"].str.removeprefix("measure-"))
    best = table[table["chosen"]]
    full = best[best["scheme"] == FULL_PRECISION]
    cells = [_cell(part) for _, part in full.groupby(["exposures", "N"], sort=True)]
    peaks = {int(E): _peaks(part) for E, part in full.groupby("exposures")}
    one_a_model = full.groupby("who").first()
    trained = full[["who", "checkpoint_id"]].merge(runs[["checkpoint_id", "tokens_per_second"]], on="checkpoint_id")
    speeds = trained.groupby("who")["tokens_per_second"].median()
    card = MeasureCard(
        name=study.name,
        against=study.against,
        P={label: int(P) for label, P in one_a_model["P"].items()},
        seeds=int(full["seed"].nunique()),
        peak={E: {label: Mean.of(R) for label, R in peak.items()} for E, peak in peaks.items()},
        peak_ratio={E: Mean.of(peak[CANDIDATE] / peak[BASELINE]) for E, peak in peaks.items()},
        cells=cells,
        kept={scheme: _kept(best, scheme) for scheme in best["scheme"].unique() if scheme != FULL_PRECISION},
        extractable=_extractable(full),
        flops_a_token={label: float(flops) for label, flops in one_a_model["flops_a_token"].items()},
        tokens_per_second={label: float(speed) for label, speed in speeds.items()},
        training_hours=float(runs["seconds"].sum() / 3600),
    )
    card.limits.extend(_limits(study, card))
    return card


def _by_seed(rows: pd.DataFrame, column: str = "R") -> Array:
    return rows.sort_values("seed")[column].to_numpy(float)


def _cell(rows: pd.DataFrame) -> BothModels:
    parts = {label: rows[rows["who"] == label] for label in (CANDIDATE, BASELINE)}
    return BothModels(
        exposures=int(rows["exposures"].iloc[0]),
        N=int(rows["N"].iloc[0]),
        R_max={label: float(part["R_max"].mean()) for label, part in parts.items()},
        R={label: Mean.of(_by_seed(part)) for label, part in parts.items()},
        R_calibrated={label: Mean.of(_by_seed(part, "R_calibrated")) for label, part in parts.items()},
        lr={label: float(part["lr"].iloc[0]) for label, part in parts.items()},
        ratio=Mean.of(_by_seed(parts[CANDIDATE]) / _by_seed(parts[BASELINE])),
    )


def _peaks(rows: pd.DataFrame) -> dict[str, Array]:
    """R of each model in the world in which it keeps most, one value a seed."""
    peaks = {}
    for label, part in rows.groupby("who"):
        peaks[str(label)] = _by_seed(part[part["N"] == _best_world(part)])
    return peaks


def _best_world(rows: pd.DataFrame) -> int:
    """N of the world of which most is kept in the mean over seeds."""
    return int(rows.groupby("N")["R"].mean().idxmax())


def _kept(best: pd.DataFrame, scheme: str) -> dict[str, Mean]:
    """The share of R that a scheme leaves where most is kept after most exposures."""
    longest = best[best["exposures"] == best["exposures"].max()]
    kept = {}
    for label, part in longest.groupby("who"):
        N = _best_world(part[part["scheme"] == FULL_PRECISION])
        R = {name: _by_seed(part[(part["N"] == N) & (part["scheme"] == name)]) for name in (FULL_PRECISION, scheme)}
        kept[str(label)] = Mean.of(R[scheme] / R[FULL_PRECISION])
    return kept


def _extractable(full: pd.DataFrame) -> dict[str, Mean]:
    """R_extractable by model where most is kept after most exposures; empty without an extraction."""
    if "R_extractable" not in full:
        return {}
    longest = full[full["exposures"] == full["exposures"].max()]
    return {
        str(label): Mean.of(_by_seed(part[part["N"] == _best_world(part)], "R_extractable"))
        for label, part in longest.groupby("who")
    }


def _limits(study: MeasureStudy, card: MeasureCard) -> Iterator[str]:
    """What keeps the answer from being a better one, each with what to do."""
    P = card.P
    if study.left_out:
        yield f"worlds that offer {_listed(study.left_out)} bits a parameter did not fit the budget; --budget more"
    if abs(P[CANDIDATE] / P[BASELINE] - 1) > TOLERANCE:
        yield f"the models differ in size: {P[CANDIDATE]:,} and {P[BASELINE]:,} parameters; name another --baseline"
    for label, rate in study.diverged:
        yield f"{label}: a training diverged at a learning rate of {rate:g}; the others count"
    for label, rates in study.rates.items():
        ends = {rates[0], *(rates[-1:] if math.isinf(study.too_high(label)) else [])}
        at_end = {cell.lr[label] for cell in card.cells if cell.exposures == min(card.peak)} & ends
        for rate in sorted(at_end):
            yield f"{label}: the best of the learning rates {_listed(rates)} is {rate:g}, at the end of the list"
    for E, peak in card.peak.items():
        for label, R in peak.items():
            most = max(cell.R_max[label] for cell in card.cells if cell.exposures == E)
            if R.mean > NEARLY_ALL * most:
                yield f"{label}: keeps nearly all of the {most:.2g} bits on offer after {E} exposures; --offer more"
    for E, ratio in card.peak_ratio.items():
        if fault := _imprecise(E, ratio, card.peak[E][BASELINE], card.seeds):
            yield fault


def _imprecise(exposures: int, ratio: Mean, baseline: Mean, seeds: int) -> str:
    """Why a ratio is known too little, with what to do; blank where it is known well enough."""
    if seeds < 3:
        return f"the ratio after {exposures} exposures is of {seeds} seed{'s' if seeds > 1 else ''}; --seeds 3"
    if baseline.low <= 0:
        return f"the ratio after {exposures} exposures says nothing: what the baseline keeps cannot be told from zero"
    half = (ratio.high - ratio.low) / 2
    if half <= WIDE * abs(ratio.mean):
        return ""
    known = f"the ratio after {exposures} exposures is known to {half:.2g} of {ratio.mean:.2g}"
    spread = half / half_width(seeds)  # of one seed
    enough = (n for n in range(seeds, MOST_ADVISED + 1) if half_width(n, spread) <= WIDE * abs(ratio.mean))
    wanted = next(enough, None)
    return f"{known}; {f'about {wanted}' if wanted else f'more than {MOST_ADVISED}'} seeds would make it 10 %"


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def as_markdown(card: MeasureCard, command: str) -> str:
    """The card as people read it."""
    lines = [f"# {card.name}: bits of knowledge a parameter", ""]
    for E, ratio in sorted(card.peak_ratio.items(), reverse=True):
        lines.append(
            f"- After {E:,} exposures it keeps at most **{card.peak[E][CANDIDATE]}** bits a parameter, "
            f"{card.against} {card.peak[E][BASELINE]}: **{ratio} times** as many, paired by seed."
        )
    lines += [
        *_sizes(card),
        "",
        "| exposures | R_max | R | R of the baseline | ratio | R calibrated | best rate |",
        "|" + "---|" * 7,
    ]
    for cell in sorted(card.cells, key=lambda each: (-each.exposures, each.N)):
        lines.append(
            f"| {cell.exposures} | {_offered(cell)} | {cell.R[CANDIDATE]} | {cell.R[BASELINE]} | {cell.ratio} | "
            f"{cell.R_calibrated[CANDIDATE]} | {cell.lr[CANDIDATE]:g}, baseline {cell.lr[BASELINE]:g} |"
        )
    if card.kept:
        lines += ["", "| rounded to | leaves of R | of the baseline's |", "|---|---|---|"]
        lines += [f"| {scheme} | {kept[CANDIDATE]} | {kept[BASELINE]} |" for scheme, kept in card.kept.items()]
    if card.extractable:
        lines += [
            "",
            f"Answers prove {card.extractable[CANDIDATE]} bits a parameter, "
            f"the baseline's {card.extractable[BASELINE]}.",
        ]
    return "\n".join([*lines, *foot(card.limits, card.seeds, command)])


def foot(limits: Sequence[str], seeds: int, command: str) -> list[str]:
    """The last lines of a card: what limits the answer, what the numbers are, what made it."""
    listed = [f"- {limit}" for limit in limits] or ["Nothing that was looked for."]
    return ["", "## What limits this answer", "", *listed, "", f"{seeds_text(seeds)} Made by `{command}`.", ""]


def _offered(cell: BothModels) -> str:
    """R_max of the candidate, and of the baseline where that is another size."""
    candidate, baseline = cell.R_max[CANDIDATE], cell.R_max[BASELINE]
    other = f", baseline {baseline:.3g}" if abs(candidate / baseline - 1) > TOLERANCE else ""
    return f"{candidate:.3g}{other}"


def seeds_text(seeds: int) -> str:
    """What the numbers of a card and their intervals are."""
    if seeds < 3:
        return f"Means over {seeds} seeds and their range." if seeds == 2 else "One seed, so no intervals."
    return f"Means over {seeds} seeds, Student's 95 % intervals."


def _sizes(card: MeasureCard) -> Iterator[str]:
    speed, flops, P = card.tokens_per_second, card.flops_a_token, card.P
    yield (
        f"- {P[CANDIDATE]:,} parameters (the baseline {P[BASELINE]:,}), {flops[CANDIDATE]:,.0f} FLOPs a "
        f"token trained on ({flops[BASELINE]:,.0f}), "
        f"{speed[CANDIDATE]:,.0f} tokens/s ({speed[BASELINE]:,.0f}), "
        f"{card.training_hours:.2g} hours of training in all."
    )
