"""What a mix found: how much of what is offered is kept, and how often a fact must be told until half of it is."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from capacity.measure.card import Mean, foot
from capacity.measure.mix import CLEAN, MOST_TOLD, Arm, MixStudy
from capacity.tables.bits import Array
from capacity.tables.summary import seed_interval

HALF = 0.5  # of the bits on offer


@dataclass(frozen=True)
class MixCell:
    """kept: R over R_max. lr: the best rate. at_end: whether it is the lowest or highest that was tried.
    junk_told: how often a junk person was told, on average.
    """

    exposures: int
    N: int
    junk_told: float
    kept: Mean
    lr: float
    at_end: bool


@dataclass(frozen=True)
class ArmResult:
    """needed: exposures until half of what is offered is kept, with its interval; None where a seed is at half with
    the fewest (early of them) or never (late of them). times: needed over that without junk, paired by seed.
    """

    arm: str
    kind: str
    share: float
    cells: list[MixCell]
    needed: Mean | None
    times: Mean | None
    early: int = 0
    late: int = 0


@dataclass(frozen=True)
class MixCard:
    """The arms in the order of the study. limits: what keeps the answer from being a better one, with what to do."""

    name: str
    P: int
    seeds: int
    arms: list[ArmResult]
    limits: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def crossing(exposures: Array, kept: Array) -> float:
    """Exposures at which a curve first reaches a half, linear in log exposures between two points.

    0 where the first point is there already, infinity where none is.
    """
    above = np.flatnonzero(kept >= HALF)
    if not above.size or above[0] == 0:
        return 0.0 if above.size else math.inf
    right = above[0]
    low, high = kept[right - 1], kept[right]
    part = (HALF - low) / (high - low)
    return float(exposures[right - 1] * (exposures[right] / exposures[right - 1]) ** part)


def make_mix_card(study: MixStudy, table: pd.DataFrame) -> MixCard:
    """The card of a finished study."""
    best = table[table["chosen"]]
    of_arm = {arm: best[best["dataset"] == f"mix-{arm.label}"] for arm in study.arms}
    needed = {arm: _needed(rows) for arm, rows in of_arm.items()}
    clean = next(crossings for arm, crossings in needed.items() if arm.kind == CLEAN)
    card = MixCard(
        name=study.name,
        P=int(best["P"].iloc[0]),
        seeds=int(best["seed"].nunique()),
        arms=[
            ArmResult(
                str(arm), arm.kind, arm.share, list(_cells(study, arm, rows)), _mean(needed[arm]),
                None if arm.kind == CLEAN or _mean(clean) is None else _mean(needed[arm] / clean),
                early=int((needed[arm] == 0).sum()), late=int(np.isinf(needed[arm]).sum()),
            )
            for arm, rows in of_arm.items()
        ],
    )  # fmt: skip
    card.limits.extend(_limits(study, card))
    return card


def _needed(rows: pd.DataFrame) -> Array:
    """Exposures that each seed needs, as of `crossing`."""
    return np.array(
        [
            crossing(part["exposures"].to_numpy(float), (part["R"] / part["R_max"]).to_numpy(float))
            for _, part in rows.sort_values("exposures").groupby("seed")
        ]
    )


def _mean(values: Array) -> Mean | None:
    """The geometric mean with its interval: exposures differ by factors. None where a seed's is outside."""
    if not (np.isfinite(values) & (values > 0)).all():
        return None
    logarithms = np.log(values)
    low, high, _ = seed_interval(logarithms)
    return Mean(float(np.exp(logarithms.mean())), float(np.exp(low)), float(np.exp(high)))


def _cells(study: MixStudy, arm: Arm, rows: pd.DataFrame) -> Iterator[MixCell]:
    rates = study.rates()
    for exposures, part in rows.groupby("exposures"):
        part = part.sort_values("seed")
        lr = float(part["lr"].iloc[0])
        ends = any(math.isclose(lr, end, rel_tol=1e-3) for end in (min(rates), max(rates)))
        kept = Mean.of((part["R"] / part["R_max"]).to_numpy(float))
        told = study.junk_told(arm, int(exposures))
        yield MixCell(int(exposures), int(part["N"].iloc[0]), told, kept, lr, ends)


def mix_markdown(card: MixCard, command: str) -> str:
    """The card as people read it."""
    exposures = [cell.exposures for cell in card.arms[0].cells]
    lines = [
        f"# {card.name}: how often must a fact be told among junk?",
        "",
        f"Exposures of a fact until a model of {card.P:,} parameters keeps half of the bits that its world offers:",
        "",
        "| text | exposures needed | times as many as without junk |",
        "|---|---|---|",
    ]
    for arm in card.arms:
        lines.append(f"| {arm.arm} | {_needed_text(arm, card.seeds)} | {arm.times or ''} |")
    lines += ["", "Share of the bits on offer that is kept:", ""]
    lines += [
        "| text | " + " | ".join(f"{E:,} exposures" for E in exposures) + " |",
        "|---" * (len(exposures) + 1) + "|",
    ]
    for arm in card.arms:
        lines.append(f"| {arm.arm} | " + " | ".join(str(cell.kept) for cell in arm.cells) + " |")
    return "\n".join([*lines, *foot(card.limits, card.seeds, command)])


def _needed_text(arm: ArmResult, seeds: int) -> str:
    if arm.needed:
        return str(arm.needed)
    parts = [
        f"{words} {cell.exposures:,}" + ("" if number == seeds else f" with {number} of {seeds} seeds")
        for number, words, cell in ((arm.early, "fewer than", arm.cells[0]), (arm.late, "more than", arm.cells[-1]))
        if number
    ]
    return ", ".join(parts)


def _limits(study: MixStudy, card: MixCard) -> Iterator[str]:
    """What keeps the answer from being a better one, each with what to do."""
    for rate in study.diverged:
        yield f"a training diverged at a learning rate of {rate:g}; the others count"
    for arm in card.arms:
        for number, more in ((arm.early, "fewer"), (arm.late, "more")):
            if number:
                outside = (
                    f"half of the bits are reached outside of the exposures tried with {number} of {card.seeds} seeds"
                )
                yield f"{arm.arm}: {outside}; --exposures with {more}"
        at_end = [f"{cell.exposures:,} ({cell.lr:g})" for cell in arm.cells if cell.at_end]
        if at_end:
            yield f"{arm.arm}: the best rate is the lowest or highest tried after {', '.join(at_end)} exposures"
        told = [f"{cell.junk_told:.0f} after {cell.exposures:,}" for cell in arm.cells if cell.junk_told > MOST_TOLD]
        if told:
            often = (
                f"a junk person is told more than {MOST_TOLD} times, the most in the paper: {', '.join(told)} exposures"
            )
            yield f"{arm.arm}: {often}; a smaller --scale, or fewer --exposures"
