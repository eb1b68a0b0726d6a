"""What all figures share: colours, lines and markers that survive print, points with intervals, guides, files.

Series differ by marker, line and grey value at once, so that a print in black and white or a colour-blind reader loses
nothing. Points are means over seeds with their intervals.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import Formatter, LogLocator, NullFormatter, StrMethodFormatter

from capacity.figures.published_points import FIGURE_1A
from capacity.tables.table import write_table

# Okabe and Ito's colours, neighbours of different lightness. The lengths of the three lists have no common
# divisor, so that a combination comes back after 280 series only.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#56B4E9", "#009E73", "#E69F00", "#CC79A7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":", "-.", (0, (8, 2, 1, 2, 1, 2)))
# Those of 1000 and of 100 exposures, in every figure that tells them apart.
EXPOSURE_COLOURS = {1000: COLOURS[0], 100: COLOURS[2]}
EXPOSURE_MARKERS = {1000: "o", 100: "^"}
R, R_MAX = "$R$", "$R^{\\mathrm{max}}$"
PAPER: dict[str, Any] = {"marker": "+", "color": "0.5", "markersize": 5, "linestyle": "none"}
GUIDE: dict[str, Any] = {"color": "0.55", "linewidth": 0.9, "zorder": 1}
NOTE: dict[str, Any] = {"fontsize": 8, "color": "0.35"}
CHARACTERS_AN_INCH = 13  # of a title
FULL_PRECISION_BITS = 32  # a weight of fewer bits is a quantised one
LOWEST_R = 0.02  # below it, and at R <= 0, a point on a log axis stands hollow at the lower edge
LOWEST_R_BY_SCHEME = -0.5  # quantised models can fall far below zero: hollow at the lower edge, too
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "capacity",
}


def style() -> Any:
    """The settings in which every figure is drawn, as a context, whatever a user's own file of settings says."""
    return matplotlib.style.context(["default", STYLE])


def finish(
    figure: Figure,
    handles: Sequence[Line2D],
    columns: int,
    title: str,
    folder: Path,
    name: str,
    data: pd.DataFrame,
) -> None:
    """Puts the legend below the panels and the title above, and writes the files."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    save(figure, folder, name, title, data)


def save(figure: Figure, folder: Path, name: str, title: str, data: pd.DataFrame) -> None:
    """Puts a title above and writes <name>.png, .svg and .csv, what is drawn; equal figures give equal bytes."""
    figure.suptitle(literal(textwrap.fill(title, int(CHARACTERS_AN_INCH * figure.get_figwidth()))), fontsize=10)
    write_table(data, folder / f"{name}.csv")
    figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})


def literal(text: str) -> str:
    """A text that matplotlib draws as it is: without this, what stands between two dollar signs is a formula."""
    return text.replace("$", r"\$")


def plot_points(
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


def hollow_handle(label: str) -> Line2D:
    """The legend of points that stand hollow at an edge."""
    return Line2D([], [], label=label, color="0.3", marker="o", markersize=5, markerfacecolor="white", linestyle="none")


def finish_ratio(axes: Axes) -> None:
    """What a panel of R against R_max has besides its points: the paper's own behind them, labels, the diagonal.

    On the diagonal are models that hold all that they were offered.
    """
    axes.plot([p.R_max for p in FIGURE_1A], [p.R for p in FIGURE_1A], zorder=0, **PAPER)
    axes.set(xscale="log", yscale="log")
    axes.set(xlabel=f"bits offered per parameter, {R_MAX}", ylabel=f"bits per parameter, {R}")
    axes.margins(0.12)
    label_ticks(axes, StrMethodFormatter("{x:g}"))
    x, y = draw_guide(axes, slope=1)
    axes.text(0.97 * x, y, f"{R} = {R_MAX}", ha="right", va="top", **NOTE)


def draw_guide(axes: Axes, slope: float) -> tuple[float, float]:
    """Draws a grey line y = slope x across log axes whose limits stay as they are; returns its upper end."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x = np.array([max(left, bottom / slope), min(right, top / slope)])
    axes.plot(x, slope * x, **GUIDE)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    return float(x[1]), float(slope * x[1])


def label_ticks(axes: Axes, formatter: Formatter, subs: tuple[int, ...] = (1, 2, 5)) -> None:
    """Plain numbers on log axes, at these multiples of each power of ten."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(base=10, subs=subs))
        axis.set_major_formatter(formatter)
        axis.set_minor_formatter(NullFormatter())
