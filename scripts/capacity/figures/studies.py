"""One figure a study: R of every cell of its grid under every scheme, and R against R_max.

A line of the left panel is one cell, named by what the study varies, or one scheme where there are many; its grey bars
are R_max.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from capacity.figures.capacity import legend, plot_ratio, schemes_by_width, series_styles
from capacity.figures.drawing import (
    COLOURS,
    FULL_PRECISION_BITS,
    GUIDE,
    LOWEST_R_BY_SCHEME,
    MARKERS,
    R_MAX,
    R,
    finish,
    style,
)
from capacity.tables.summary import summarise

NAMED = ("dataset", "tokenizer", "model", "regime", "N", "lr")
LINE_INCHES = 0.2
MANY_SCHEMES = 6


def plot_study(table: pd.DataFrame, study: str, folder: Path) -> None:
    """Writes study-<name>.png and .svg into the folder; equal tables give equal bytes."""
    summary = summarise(table[table["study"] == study])
    series = series_styles(summary)
    summary, lines, looks = _lines_and_looks(summary)
    with style():
        height = max(4.2, 2.0 + LINE_INCHES * (len(lines) + len(looks) / 4))
        figure = Figure(figsize=(11.7, height), layout="constrained")
        cells, ratio = figure.subplots(1, 2, width_ratios=(3, 2))
        _plot_lines(cells, summary, lines, looks)
        plot_ratio(ratio, summary[summary["bits_per_weight"] >= FULL_PRECISION_BITS], series)
        ratio.set_box_aspect(1)
        bar = Line2D([], [], color="0.6", marker="|", linestyle="none", markersize=9, label=R_MAX)
        handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
        finish(figure, [*handles, bar, *legend(series)], 4, study, folder, f"study-{study}")


def _lines_and_looks(summary: pd.DataFrame) -> tuple[pd.DataFrame, list[str], dict[str, dict[str, Any]]]:
    """The summary with the columns `line` and `look`, the lines from top to bottom, and the look of each marker.

    A line is a cell and a marker a scheme; the other way round where there are many schemes.
    """
    names, schemes = cell_names(summary), schemes_by_width(summary)
    cells = list(dict.fromkeys(names))
    line, look, lines, markers = names, summary["scheme"], cells, schemes
    if len(schemes) > max(MANY_SCHEMES, len(cells)):
        line, look, lines, markers = look, line, markers, lines
    looks: dict[str, dict[str, Any]] = {}
    for i, name in enumerate(markers):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        looks[name] = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 5}
        looks[name] |= {"markerfacecolor": "none"} if i else {}
    return summary.assign(line=line, look=look), lines, looks


def _plot_lines(axes: Axes, summary: pd.DataFrame, lines: list[str], looks: dict[str, dict[str, Any]]) -> None:
    """R by line, one marker a look; a point below the edge stands at it."""
    places = -summary["line"].map(lines.index).astype(float)
    for name, look in looks.items():
        rows = summary["look"] == name
        values, low, high = (
            np.maximum(summary.loc[rows, column].to_numpy(float), LOWEST_R_BY_SCHEME)
            for column in ("R", "R_low", "R_high")
        )
        axes.hlines(places[rows], low, high, color=look["color"], linewidth=0.9, zorder=2)
        axes.plot(values, places[rows], **look, zorder=3)
    axes.plot(summary["R_max"], places, "|", color="0.6", markersize=9, zorder=1)
    for bits in (0, 1, 2):
        axes.axvline(bits, **GUIDE)
    axes.set_yticks([-place for place in range(len(lines))], lines)
    below = (summary["R"] < LOWEST_R_BY_SCHEME).any()
    edge = f" (at the edge: below {LOWEST_R_BY_SCHEME:g})" if below else ""
    axes.set_xlabel(f"bits stored a parameter, {R}{edge}")
    axes.set_xlim(right=min(axes.get_xlim()[1], max(3.0, 1.3 * summary["R"].max())))
    axes.set_ylim(-len(lines) + 0.3, 0.7)


def cell_names(summary: pd.DataFrame) -> pd.Series:
    """What distinguishes the cells of a study, in words."""
    swept = " ".join(summary["setting"])
    varied = [c for c in NAMED if summary[c].nunique(dropna=False) > 1 and f".{c}=" not in swept]
    parts = [
        summary[column].map(lambda value, c=column: value if isinstance(value, str) else f"{c}={value:g}")
        for column in varied
    ]
    settings = summary["setting"].map(lambda text: ", ".join(part.split(".", 1)[1] for part in text.split(" ") if part))
    columns = pd.concat([*parts, settings], axis=1)
    return columns.apply(lambda row: ", ".join(part for part in row if part) or "the run", axis=1)
