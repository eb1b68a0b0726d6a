"""One figure a study: R of every cell, with what was offered; x, lines and panels by `layout`.

Numbers on x make curves, whose points are joined where they differ in x alone; names on x make rows, whose points are
not. Grey marks are R_max.
"""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from capacity.figures.drawing import (
    COLOURS,
    GUIDE,
    LINES,
    LOWEST_R_BY_SCHEME,
    MARKERS,
    R_MAX,
    R,
    finish,
    hollow_handle,
    literal,
    style,
)
from capacity.figures.layout import EXPOSURES, Layout, column, layout_of, text_of, words_of
from capacity.tables.summary import summarise

ROW_INCHES, PANEL_INCHES, MOST_COLUMNS = 0.2, 3.6, 3
LOG_FROM = 4  # a range of x that is so many times larger at its end has a log axis
Looks = dict[str, dict[str, Any]]


def plot_study(
    table: pd.DataFrame, study: str, folder: Path, question: str = "", said: Mapping[str, str | None] | None = None
) -> None:
    """Writes study-<name>.png, .svg and .csv into the folder; equal tables give equal bytes.

    said: what the study's section says under `figure`. Of several learning rates of a regime the best is drawn.
    """
    rows = table[(table["study"] == study) & table["chosen"]]
    layout, cells = layout_of(summarise(rows), said)
    cells = _named(cells, layout)
    looks = _looks(_in_order(cells, "line", layout.lines))
    panels = _in_order(cells, "panel", (layout.panel,))
    curves = pd.api.types.is_numeric_dtype(cells[column(layout.x)])
    with style():
        figure, axes = _panels(len(panels), 0 if curves else cells["x"].nunique(), len(looks))
        for axis, panel in zip(axes, panels, strict=True):
            drawn = cells[cells["panel"] == panel]
            (_plot_curves if curves else _plot_rows)(axis, drawn, cells, layout, looks)
            axis.set_title(literal(panel), fontsize=9)
        finish(figure, _handles(cells, looks, curves), 3, question or study, folder, f"study-{study}", _data(cells))


def _named(cells: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """The cells with the columns `x`, `line` and `panel` in words, and the number on x where it is one."""
    lines = [
        ", ".join(text_of(key, value) for key, value in zip(layout.lines, values, strict=True))
        for values in cells[[column(key) for key in layout.lines]].itertuples(index=False)
    ]
    panels = [text_of(layout.panel, value) if layout.panel else "" for value in cells[column(layout.panel or layout.x)]]
    x = [text_of(layout.x, value) for value in cells[column(layout.x)]]
    return cells.assign(x=x, line=lines if layout.lines else "", panel=panels)


def _in_order(cells: pd.DataFrame, kind: str, keys: tuple[str | None, ...]) -> list[str]:
    """The names of a kind as they come, but the most exposures first, which have one colour in all figures then."""
    if EXPOSURES in keys:
        cells = cells.sort_values(column(EXPOSURES), ascending=False, kind="stable")
    return list(dict.fromkeys(cells[kind]))


def _looks(names: list[str]) -> Looks:
    """Colour, marker and line of each name."""
    looks = zip(names, cycle(COLOURS), cycle(MARKERS), cycle(LINES), strict=False)
    return {
        name: {"color": colour, "marker": marker, "linestyle": line, "markersize": 5, "linewidth": 1.1}
        for name, colour, marker, line in looks
    }


def _panels(number: int, rows: int, lines: int) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, as high as its rows need; no rows: as high as curves are."""
    columns = min(number, MOST_COLUMNS if rows == 0 else 2)
    down = -(-number // columns)
    high = 1.0 + ROW_INCHES * rows * max(1.0, 0.45 * lines) if rows else 3.2
    width = max(6.4, PANEL_INCHES * columns + (1.6 if rows else 0.6))
    figure = Figure(figsize=(width, 1.5 + max(1.6, high) * down), layout="constrained")
    axes = figure.subplots(down, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axis in axes[number:]:
        axis.remove()
    return figure, list(axes[:number])


def _plot_curves(axes: Axes, drawn: pd.DataFrame, cells: pd.DataFrame, layout: Layout, looks: Looks) -> None:
    """R against a number, one curve a line."""
    for name, curve in drawn.groupby("line", sort=False):
        curve = curve.sort_values(column(layout.x))
        x = curve[column(layout.x)].to_numpy(float)
        _points(axes, x, curve, looks[str(name)], across=False)
    offered = drawn.drop_duplicates([column(layout.x), "R_max"])
    axes.plot(offered[column(layout.x)].astype(float), offered["R_max"], "_", color="0.6", markersize=12, zorder=1)
    ticks = sorted(cells[column(layout.x)].astype(float).unique())
    if ticks[0] > 0 and ticks[-1] >= LOG_FROM * ticks[0]:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(0.12)
    axes.set_xlabel(words_of(layout.x))
    _bits(axes.axhline, axes.set_ylabel, axes)


def _plot_rows(axes: Axes, drawn: pd.DataFrame, cells: pd.DataFrame, layout: Layout, looks: Looks) -> None:
    """R by name, one row a name and one marker a line, a little apart."""
    names = list(dict.fromkeys(cells["x"]))
    spread = min(0.28, 0.12 * (len(looks) - 1))
    apart = np.linspace(spread, -spread, len(looks))
    for shift, (name, look) in zip(apart, looks.items(), strict=True):
        rows = drawn[drawn["line"] == name]
        y = shift - rows["x"].map(names.index).to_numpy(float)
        _points(axes, y, rows, look | {"linestyle": "none"}, across=True)
    y = -drawn["x"].map(names.index).to_numpy(float)
    axes.plot(drawn["R_max"].astype(float), y, "|", color="0.6", markersize=12, zorder=1)
    axes.set_yticks([-float(place) for place in range(len(names))], [literal(name) for name in names])
    axes.set_ylim(0.4 - len(names), 0.6)
    axes.margins(x=0.06)
    _bits(axes.axvline, axes.set_xlabel, axes)


def _points(axes: Axes, places: Any, rows: pd.DataFrame, look: dict[str, Any], across: bool) -> None:
    """R with its interval at some places, upwards or across; a point below the edge stands hollow at it."""
    R, low, high = (np.maximum(rows[name].to_numpy(float), LOWEST_R_BY_SCHEME) for name in ("R", "R_low", "R_high"))
    (axes.hlines if across else axes.vlines)(places, low, high, color=look["color"], linewidth=0.9, zorder=2)
    axes.plot(*((R, places) if across else (places, R)), **look, zorder=3)
    hollow = rows["R"].to_numpy(float) < LOWEST_R_BY_SCHEME
    edge = (R[hollow], places[hollow]) if across else (places[hollow], R[hollow])
    axes.plot(*edge, **(look | {"linestyle": "none", "markerfacecolor": "white"}), zorder=4)


def _bits(guide: Any, label: Any, axes: Axes) -> None:
    """The axis of R, with guides at whole bits."""
    for bits in (0, 1, 2):
        guide(bits, **GUIDE)
    label(f"bits stored a parameter, {R}")
    axes.label_outer(remove_inner_ticks=False)


def _handles(cells: pd.DataFrame, looks: Looks, curves: bool) -> list[Line2D]:
    shown = [
        Line2D([], [], label=literal(name) or f"stored, {R}", **(look if curves else look | {"linestyle": "none"}))
        for name, look in looks.items()
    ]
    mark = "_" if curves else "|"
    offered = Line2D([], [], color="0.6", marker=mark, linestyle="none", markersize=10, label=f"offered, {R_MAX}")
    below = hollow_handle(f"hollow: {R} below −{-LOWEST_R_BY_SCHEME:g}")
    return [*shown, offered, *([below] if (cells["R"] < LOWEST_R_BY_SCHEME).any() else [])]


def _data(cells: pd.DataFrame) -> pd.DataFrame:
    return cells[["panel", "line", "x", "R", "R_low", "R_high", "interval_kind", "seeds", "R_max"]]
