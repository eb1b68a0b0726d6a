"""The capacity figure: bits against parameters, R against R_max, R by quantisation scheme.

One series is one (regime, exposures). Series differ by marker, line and grey value at once, so that a print
in black and white or a colour-blind reader loses nothing. Points are means over seeds with their intervals.
"""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, Formatter, LogLocator, NullFormatter, StrMethodFormatter

from capacity.table import GROUP_COLUMNS, summarise

# Okabe and Ito's colours, neighbours of different lightness. The lengths of the three lists have no common
# divisor, so that a combination comes back after 280 series only.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#56B4E9", "#009E73", "#E69F00", "#CC79A7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":", "-.", (0, (8, 2, 1, 2, 1, 2)))
R, R_MAX = "$R$", "$R^{\\mathrm{max}}$"
GUIDE: dict[str, Any] = {"color": "0.6", "linewidth": 0.9, "zorder": 1}
NOTE: dict[str, Any] = {"fontsize": 8, "color": "0.35"}
FULL_PRECISION_BITS = 32  # a weight of fewer bits is a quantised one
LOWEST_R = 0.02  # below it, and at R <= 0, a point on a log axis stands hollow at the lower edge
LOWEST_R_BY_SCHEME = -0.5  # quantised models can fall far below zero: hollow at the lower edge, too
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "capacity",
}

# (R_max, R) of GPT-2 on bioS at 1000 exposures, N = 50K, 100K, 200K, 500K and 1M (five models each): arXiv
# 2404.05405, Figure 1(a), as a third party digitised it from the figure's vector graphics.
PUBLISHED = (
    *((3.63, 1.72), (2.92, 1.93), (2.10, 1.74), (1.84, 1.67), (1.48, 1.43)),
    *((4.80, 2.13), (3.62, 2.16), (2.42, 1.91), (1.82, 1.74), (1.46, 1.43)),
    *((4.75, 2.31), (4.01, 2.35), (2.39, 2.03), (2.05, 1.90), (1.74, 1.70)),
    *((5.01, 2.72), (3.91, 2.50), (2.76, 2.17), (2.07, 1.98), (1.81, 1.77)),
    *((4.61, 2.71), (3.19, 2.34), (2.44, 2.16), (2.04, 1.97), (1.78, 1.75)),
)

Series = dict[tuple[str, int], dict[str, Any]]


def plot_capacity(table: pd.DataFrame, folder: Path, title: str = "") -> None:
    """Writes capacity.png and capacity.svg into the folder; equal tables give equal bytes.

    table: as `capacity.table.capacity_table` returns it. The first two panels show its variants in full
    precision, the third every scheme; it is left out where there is but one.
    """
    summary = summarise(table)
    schemes = _schemes_by_width(summary)
    series = _series_styles(summary)
    with matplotlib.rc_context(STYLE):
        num_panels = 3 if len(schemes) > 1 else 2
        figure = Figure(figsize=(3.9 * num_panels, 4.6), layout="constrained")
        panels = figure.subplots(1, num_panels)
        full_precision = summary[summary["bits_per_weight"] >= FULL_PRECISION_BITS]
        _plot_bits(panels[0], full_precision, series)
        _plot_ratio(panels[1], full_precision, series)
        if num_panels == 3:
            _plot_schemes(panels[2], summary, schemes, series)
        figure.legend(handles=_legend(series), loc="outside lower center", ncols=num_panels, frameon=False)
        figure.suptitle(title)
        figure.savefig(folder / "capacity.png", dpi=150, metadata={"Software": None})
        figure.savefig(folder / "capacity.svg", metadata={"Date": None, "Creator": None})


def _series_styles(summary: pd.DataFrame) -> Series:
    """Marker, line and colour of each (regime, exposures), most exposures first."""
    keys = {(regime, int(count)) for regime, count in zip(summary["regime"], summary["exposures"], strict=True)}
    names = sorted(keys, key=lambda name: (-name[1], name[0]))
    looks = zip(cycle(COLOURS), cycle(MARKERS), cycle(LINES), strict=False)
    return {
        name: {"color": colour, "marker": marker, "linestyle": line, "markersize": 5, "linewidth": 1.1}
        for name, (colour, marker, line) in zip(names, looks, strict=False)
    }


def _schemes_by_width(summary: pd.DataFrame) -> list[str]:
    """Schemes from the most bits a weight to the fewest."""
    widths = dict(zip(summary["scheme"], summary["bits_per_weight"], strict=True))
    return sorted(widths, key=lambda scheme: (-widths[scheme], scheme))


def _plot_bits(axes: Axes, summary: pd.DataFrame, series: Series) -> None:
    """Bits stored against parameters, one line for each N of a series."""
    for name, rows in _rows_of(summary, series):
        for _, curve in rows.groupby(["study", "dataset", "N"], sort=False):
            curve = curve.sort_values("P")
            _plot_points(axes, curve["P"], curve, series[name], lowest=LOWEST_R, factor=curve["P"])
    axes.set(xscale="log", yscale="log", xlabel="parameters, $P$", ylabel="bits stored")
    axes.margins(0.12)
    left, right = axes.get_xlim() if summary.empty else (summary["P"].min() / 1.6, summary["P"].max() * 1.6)
    bottom, top = axes.get_ylim()
    axes.set(xlim=(left, right), ylim=(min(bottom / 1.5, left), max(top, 2.5 * right)))  # both guides in full
    _label_ticks(axes, EngFormatter(sep=""))
    for bits, label in ((1, "1 bit a\nparameter"), (2, "2 bits a\nparameter")):
        _guide(axes, slope=bits)
        axes.text(1.01, bits * right, label, transform=axes.get_yaxis_transform(), va="center", **NOTE)


def _plot_ratio(axes: Axes, summary: pd.DataFrame, series: Series) -> None:
    """R against R_max, one line a series, above the paper's points and the line of perfect models."""
    axes.plot(*zip(*PUBLISHED, strict=True), "+", color="0.7", markersize=5, zorder=0)
    for name, rows in _rows_of(summary, series):
        for _, curve in rows.groupby(["study"], sort=False):
            curve = curve.sort_values("R_max")
            _plot_points(axes, curve["R_max"], curve, series[name], lowest=LOWEST_R)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=f"bits offered a parameter, {R_MAX}",
        ylabel=f"bits stored a parameter, {R}",
    )
    axes.margins(0.12)
    _label_ticks(axes, StrMethodFormatter("{x:g}"))
    x, y = _guide(axes, slope=1)
    axes.text(x, y, f"{R} = {R_MAX}", ha="right", va="bottom", **NOTE)


def _plot_schemes(axes: Axes, summary: pd.DataFrame, schemes: list[str], series: Series) -> None:
    """R by quantisation scheme, one line a model."""
    model_columns = [column for column in GROUP_COLUMNS if column not in ("scheme", "bits_per_weight")]
    for name, rows in _rows_of(summary, series):
        for _, curve in rows.groupby(model_columns, sort=False, dropna=False):
            places = curve["scheme"].map(schemes.index)
            curve = curve.assign(place=places).sort_values("place")
            _plot_points(axes, curve["place"], curve, series[name], lowest=LOWEST_R_BY_SCHEME)
    axes.axhline(0, **GUIDE)
    axes.set_xticks(range(len(schemes)), schemes)
    axes.set(xlabel="quantisation scheme", ylabel=f"bits stored a parameter, {R}", xlim=(-0.4, len(schemes) - 0.6))
    axes.set_ylim(bottom=max(axes.get_ylim()[0], LOWEST_R_BY_SCHEME - 0.1))


def _rows_of(summary: pd.DataFrame, series: Series) -> Iterator[tuple[tuple[str, int], pd.DataFrame]]:
    for name in series:
        rows = summary[(summary["regime"] == name[0]) & (summary["exposures"] == name[1])]
        if len(rows):
            yield name, rows


def _plot_points(
    axes: Axes,
    x: pd.Series,
    rows: pd.DataFrame,
    style: dict[str, Any],
    lowest: float,
    factor: pd.Series | float = 1.0,
) -> None:
    """Draws R (times a factor) with its interval; a point below the lowest R is hollow and stands at it."""
    x = x.to_numpy(float)
    R, R_low, R_high = (np.maximum(rows[column].to_numpy(float), lowest) for column in ("R", "R_low", "R_high"))
    y, low, high = (values * np.asarray(factor, dtype=float) for values in (R, R_low, R_high))
    axes.plot(x, y, **style)
    axes.vlines(x, low, high, color=style["color"], linewidth=0.9)
    hollow = rows["R"].to_numpy(float) < lowest
    axes.plot(x[hollow], y[hollow], **(style | {"linestyle": "none", "markerfacecolor": "white"}), zorder=3)


def _guide(axes: Axes, slope: float) -> tuple[float, float]:
    """Draws a grey line y = slope x across log axes whose limits stay as they are; returns its upper end."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x = np.array([max(left, bottom / slope), min(right, top / slope)])
    axes.plot(x, slope * x, **GUIDE)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    return float(x[1]), float(slope * x[1])


def _label_ticks(axes: Axes, formatter: Formatter) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        axis.set_major_formatter(formatter)
        axis.set_minor_formatter(NullFormatter())


def _legend(series: Series) -> list[Line2D]:
    handles = [
        Line2D([], [], label=f"{regime}, {count} exposures", **style) for (regime, count), style in series.items()
    ]
    published = "paper: GPT-2, bioS, 1000 exposures"
    paper = Line2D([], [], marker="+", color="0.7", linestyle="none", label=published)
    hollow: dict[str, Any] = {"marker": "o", "linestyle": "none"}
    hollow |= {"markerfacecolor": "white", "markeredgecolor": "0.3"}
    below = f"hollow: {R} below {LOWEST_R:g}, among schemes below −{-LOWEST_R_BY_SCHEME:g}"
    return [*handles, paper, Line2D([], [], label=below, **hollow)]
