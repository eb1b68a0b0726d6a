"""One figure a study: R of every cell of its grid under every scheme, and R against R_max.

A line of the left panel is one cell, named by what the study varies; its grey bar is R_max.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from capacity.drawing import (
    COLOURS,
    FULL_PRECISION_BITS,
    GUIDE,
    LOWEST_R_BY_SCHEME,
    MARKERS,
    R_MAX,
    R,
    save,
    style,
)
from capacity.figures import legend, plot_ratio, schemes_by_width, series_styles
from capacity.storage_figure import MANY_SCHEMES, plot_storage
from capacity.table import GROUP_COLUMNS, summarise

CELL_COLUMNS = [column for column in GROUP_COLUMNS if column not in ("study", "scheme", "bits_per_weight")]
NAMED = ("dataset", "tokenizer", "model", "regime", "N", "lr")
LINE_INCHES = 0.2


def plot_study(table: pd.DataFrame, study: str, folder: Path) -> None:
    """Writes study-<name>.png and .svg into the folder; equal tables give equal bytes."""
    summary = summarise(table[(table["study"] == study) & table["chosen"]])
    schemes, series = schemes_by_width(summary), series_styles(summary)
    if len(schemes) > MANY_SCHEMES:
        plot_storage(table, study, folder)
        return
    num_cells = len(summary[CELL_COLUMNS].drop_duplicates())
    with style():
        figure = Figure(figsize=(11.7, max(4.2, 1.6 + LINE_INCHES * num_cells)), layout="constrained")
        cells, ratio = figure.subplots(1, 2, width_ratios=(3, 2))
        looks = _scheme_looks(schemes)
        _plot_cells(cells, summary, looks)
        plot_ratio(ratio, summary[summary["bits_per_weight"] >= FULL_PRECISION_BITS], series)
        ratio.set_box_aspect(1)
        bar = Line2D([], [], color="0.6", marker="|", linestyle="none", markersize=9, label=R_MAX)
        handles = [Line2D([], [], label=scheme, **look) for scheme, look in looks.items()]
        figure.legend(handles=[*handles, bar, *legend(series)], loc="outside lower center", ncols=4, frameon=False)
        figure.suptitle(study)
        save(figure, folder, f"study-{study}")


def _scheme_looks(schemes: list[str]) -> dict[str, dict[str, Any]]:
    """Filled for full precision, then hollow markers of different form and colour."""
    looks: dict[str, dict[str, Any]] = {}
    for i, scheme in enumerate(schemes):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        looks[scheme] = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 5}
        looks[scheme] |= {"markerfacecolor": "none"} if i else {}
    return looks


def _plot_cells(axes: Axes, summary: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """R by cell and scheme; a point below the edge stands at it."""
    cells = summary.groupby(CELL_COLUMNS, sort=False, dropna=False).ngroup()
    names = cell_names(summary)
    for scheme, look in looks.items():
        rows = summary[summary["scheme"] == scheme]
        places = -cells[rows.index].to_numpy(float)
        values, low, high = (
            np.maximum(rows[column].to_numpy(float), LOWEST_R_BY_SCHEME) for column in ("R", "R_low", "R_high")
        )
        axes.hlines(places, low, high, color=look["color"], linewidth=0.9, zorder=2)
        axes.plot(values, places, **look, zorder=3)
    axes.plot(summary["R_max"], -cells, "|", color="0.6", markersize=9, zorder=1)
    for bits in (0, 1, 2):
        axes.axvline(bits, **GUIDE)
    order = cells.drop_duplicates()
    axes.set_yticks(-order, names[order.index])
    below = (summary["R"] < LOWEST_R_BY_SCHEME).any()
    axes.set_xlabel(
        f"bits stored a parameter, {R}" + (f" (at the edge: below {LOWEST_R_BY_SCHEME:g})" if below else "")
    )
    axes.set_xlim(right=min(axes.get_xlim()[1], max(3.0, 1.3 * summary["R"].max())))
    axes.set_ylim(-cells.max() - 0.7, 0.7)


def cell_names(summary: pd.DataFrame) -> pd.Series:
    """What tells the cells of a study apart, in words."""
    swept = " ".join(summary["setting"])
    varied = [c for c in NAMED if summary[c].nunique(dropna=False) > 1 and f".{c}=" not in swept]
    parts = [
        summary[column].map(lambda value, c=column: value if isinstance(value, str) else f"{c}={value:g}")
        for column in varied
    ]
    settings = summary["setting"].map(lambda text: ", ".join(part.split(".", 1)[1] for part in text.split(" ") if part))
    columns = pd.concat([*parts, settings], axis=1)
    return columns.apply(lambda row: ", ".join(part for part in row if part) or "the run", axis=1)
