"""The paper's Figure 1 with our models in it: bits against parameters after 1000 and after 100 exposures, R over R_max.

The paper's digitised points stand behind ours; there are none for 100 exposures. Ours are models in full precision
that are named in the paper's notation, each labelled with layers and heads, and coloured by the bits they were offered.
"""

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from capacity.figures.drawing import (
    COLOURS,
    FULL_PRECISION_BITS,
    LOWEST_R,
    NOTE,
    PAPER,
    draw_guide,
    finish,
    finish_ratio,
    label_ticks,
    plot_points,
    style,
)
from capacity.figures.published_points import FIGURE_1A
from capacity.tables.summary import summarise

LABEL_DECADES = 0.17  # that a label is wide
NOTATION = re.compile(r"gpt2-\d+-\d+")
LOOKS: dict[int, dict[str, Any]] = {
    1000: {"color": COLOURS[0], "marker": "o", "linestyle": "none", "markersize": 5},
    100: {"color": COLOURS[2], "marker": "^", "linestyle": "none", "markersize": 5},
}


def plot_figure_one(table: pd.DataFrame, folder: Path, title: str = "") -> None:
    """Writes figure1.png and figure1.svg into the folder; equal tables give equal bytes."""
    summary = summarise(plain_models(table))
    with style():
        figure = Figure(figsize=(11.7, 4.4), layout="constrained")
        panels = figure.subplots(1, 3)
        for panel, exposures in zip(panels[:2], LOOKS, strict=True):
            _plot_bits(panel, summary[summary["exposures"] == exposures], exposures)
        _plot_ratios(panels[2], summary)
        finish(figure, _legend(), 3, title, folder, "figure1")


def plain_models(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the paper's GPT-2 in full precision, a run that several studies share once."""
    named = table["model"].map(lambda name: bool(NOTATION.fullmatch(name)))
    return table[named & (table["bits_per_weight"] >= FULL_PRECISION_BITS)].drop_duplicates("variant_id")


def _plot_bits(axes: Axes, summary: pd.DataFrame, exposures: int) -> None:
    """Bits stored against parameters, from our models to the paper's, with the lines of 1 and 2 bits a parameter."""
    if exposures == 1000:
        axes.plot([p.P for p in FIGURE_1A], [p.R * p.P for p in FIGURE_1A], zorder=0, **PAPER)
    plot_points(axes, summary["P"], summary, LOOKS[exposures], lowest=LOWEST_R, factor=summary["P"])
    for name, P, lowest in _labels(summary):
        axes.annotate(name, (P, max(lowest, LOWEST_R) * P), (4, -9), textcoords="offset points", **NOTE)
    axes.set(xscale="log", yscale="log", xlim=(1e3, 1e9), ylim=(3e2, 2e9))
    axes.set(xlabel="parameters, $P$", ylabel="bits stored", title=f"{exposures} exposures")
    label_ticks(axes, EngFormatter(sep=""), subs=(1,))
    for bits in (1, 2):
        draw_guide(axes, slope=bits)
    axes.text(0.97, 0.04, "lines: 1 and 2 bits a parameter", transform=axes.transAxes, ha="right", **NOTE)


def _labels(summary: pd.DataFrame) -> list[tuple[str, float, float]]:
    """Each size once, as layers and heads, with its P and lowest R; of two too near for two labels the commoner."""
    sizes = summary.groupby(["l", "h"]).agg(P=("P", "median"), R=("R", "min"), count=("R", "size")).reset_index()
    placed: list[tuple[str, float, float]] = []
    for size in sizes.sort_values(["count", "P"], ascending=[False, True]).itertuples():
        if all(abs(math.log10(size.P / P)) > LABEL_DECADES for _, P, _ in placed):
            placed.append((f"{size.l}-{size.h}", size.P, size.R))
    return placed


def _plot_ratios(axes: Axes, summary: pd.DataFrame) -> None:
    """R over R_max: on the diagonal a model holds all that it was offered."""
    for exposures, look in LOOKS.items():
        rows = summary[summary["exposures"] == exposures]
        plot_points(axes, rows["R_max"], rows, look, lowest=LOWEST_R)
    finish_ratio(axes)
    axes.set_title("stored against offered")


def _legend() -> list[Line2D]:
    ours = [Line2D([], [], label=f"here, {exposures} exposures", **look) for exposures, look in LOOKS.items()]
    return [*ours, Line2D([], [], label="paper, Figure 1(a), 1000 exposures", **PAPER)]
