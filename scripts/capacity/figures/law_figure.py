"""Figure 1 of the README: the most bits per parameter that a GPT-2 of each size stores, after 1000 and 100 exposures.

Only the base world is drawn (studies `base-law` and `ladder`): of each size the dataset of which the model stores most.
Behind are the peaks of the paper's own points and, where one is fitted, the law: solid where it was fitted, dashed
where it is extended.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from capacity.figures.drawing import EXPOSURE_COLOURS, EXPOSURE_MARKERS, PAPER, save, style
from capacity.figures.figure1 import plain_models
from capacity.figures.published_points import FIGURE_1A
from capacity.tables.scaling_law import FittedLaw
from capacity.tables.summary import summarise

BASE_STUDIES = ("base-law", "ladder")  # and those that add seeds, sizes or exposures to them: base-law-...
FULL = 0.95  # of R_max: above it a model has stored what it was offered, and could store more
LARGEST_P = 1e9
WORDS: dict[str, Any] = {"fontsize": 10, "color": "0.35"}


def is_base(study: str) -> bool:
    """Whether a study measures the base world: one of `BASE_STUDIES`, or one that continues it under a longer name."""
    return any(study == base or study.startswith(f"{base}-") for base in BASE_STUDIES)


def peaks(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each size and number of exposures: the dataset of which most is stored, and whether that was all."""
    rows = plain_models(table[table["study"].map(is_base)])
    summary = summarise(rows[rows["exposures"].isin(list(EXPOSURE_COLOURS))]).astype({"P": float, "R": float})
    most = summary.loc[summary.groupby(["exposures", "P"])["R"].idxmax()].sort_values(["exposures", "P"])
    return most.assign(full=most["R"] > FULL * most["R_max"].astype(float))


def published_peaks() -> pd.DataFrame:
    """The paper's own sizes: the highest R over its datasets, without models that store all that they are offered."""
    points = pd.DataFrame(FIGURE_1A)
    points = points[points["R"] <= FULL * points["R_max"]]
    return points.loc[points.groupby("P")["R"].idxmax()]


def plot_law(table: pd.DataFrame, fitted: FittedLaw | None, folder: Path, name: str = "figure1") -> None:
    """Writes <name>.png, .svg and .csv into the folder; equal tables give equal bytes."""
    drawn, paper = peaks(table), published_peaks()
    with style():
        figure = Figure(figsize=(6.6, 4.3), layout="constrained")
        axes = figure.subplots()
        low = min(2e3, drawn["P"].min() / 2) if len(drawn) else 2e3
        axes.set(xscale="log", xlim=(low, LARGEST_P), ylim=(0, max(3.0, 1.15 * drawn["R"].max() if len(drawn) else 0)))
        for bits in (1, 2):
            axes.axhline(bits, color="0.8", linewidth=0.9, zorder=0)
            axes.text(0.99 * LARGEST_P, bits - 0.03, f"{bits} bit{'s' * (bits > 1)}", ha="right", va="top", **WORDS)
        axes.plot(paper["P"], paper["R"], zorder=1, **PAPER)
        axes.text(9e6, 2.78, "the paper, 1000 exposures", ha="center", va="bottom", **WORDS)
        if fitted is not None:
            axes.text(0.99 * LARGEST_P, 2.53, "law (dashed: extended)", ha="right", va="bottom", **WORDS)
        for exposures, colour in EXPOSURE_COLOURS.items():
            rows = drawn[drawn["exposures"] == exposures]
            _plot_peaks(axes, rows, colour, EXPOSURE_MARKERS[exposures])
            if fitted is not None:
                _plot_curve(axes, fitted, exposures, colour, low)
            if len(rows):
                _label(axes, rows, exposures, colour)
        axes.set_xlabel("parameters", fontsize=11)
        axes.set_ylabel("bits per parameter", fontsize=11)
        axes.tick_params(labelsize=11)
        axes.xaxis.set_major_locator(LogLocator(base=10, numticks=12))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_minor_locator(NullLocator())
        save(figure, folder, name, _title(drawn), _data(drawn, paper))


def _plot_peaks(axes: Axes, rows: pd.DataFrame, colour: str, marker: str) -> None:
    """Points with their intervals; a full model is hollow, for it could store more."""
    axes.vlines(rows["P"], rows["R_low"].astype(float), rows["R_high"].astype(float), color=colour, linewidth=1.4)
    for full, face in ((False, colour), (True, "white")):
        some = rows[rows["full"] == full]
        axes.plot(some["P"], some["R"], marker=marker, color=colour, markerfacecolor=face, linestyle="none", zorder=3)
    for P, R in rows.loc[rows["seeds"] == 1, ["P", "R"]].itertuples(index=False):
        axes.annotate("one seed", (P, R), (7, -13), textcoords="offset points", **WORDS)


def _plot_curve(axes: Axes, fitted: FittedLaw, exposures: int, colour: str, low: float) -> None:
    """What the law says a model can hold at most: solid over the sizes of the fit, dashed beyond them."""
    first, last = fitted.P_range
    for start, end, line in ((low, first, "--"), (first, last, "-"), (last, LARGEST_P, "--")):
        P = np.geomspace(start, end, 60)
        axes.plot(P, fitted.law.capacity(exposures, P), line, color=colour, linewidth=1.1, zorder=2)


def _label(axes: Axes, rows: pd.DataFrame, exposures: int, colour: str) -> None:
    """The number of exposures beside its points, in their colour."""
    up = exposures == max(EXPOSURE_COLOURS)
    beside = rows.iloc[-1] if up else rows.iloc[len(rows) // 2]
    place, sides = ((0, 10), ("center", "bottom")) if up else ((4, -14), ("left", "top"))
    look: dict[str, Any] = {"color": colour, "fontsize": 11, "ha": sides[0], "va": sides[1]}
    point = (beside["P"], float(beside["R_high" if up else "R_low"]))
    axes.annotate(f"{exposures} exposures", point, place, textcoords="offset points", **look)


def _title(drawn: pd.DataFrame) -> str:
    """The conclusion: between how many bits per parameter a model stores after each number of exposures."""
    parts: list[str] = []
    for exposures in EXPOSURE_COLOURS:
        R = drawn.loc[drawn["exposures"] == exposures, "R"]
        if len(R):
            unit = "" if parts else "bits per parameter "
            parts.append(f"{R.min():.1f} to {R.max():.1f} {unit}after {exposures} exposures")
    return f"GPT-2 stores {', '.join(parts)}" if parts else "No model of the base world is in these tables"


def _data(drawn: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """Our points, then the paper's."""
    columns = ["study", "dataset", "setting", "model", "exposures", "P", "R", "R_low", "R_high", "seeds", "R_max"]
    published = paper[["P", "R", "R_max"]].assign(study="paper, Figure 1(a)", exposures=1000, full=False)
    return pd.concat([drawn[[*columns, "full"]], published], ignore_index=True)
