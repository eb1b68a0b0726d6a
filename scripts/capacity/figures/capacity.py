"""The capacity figure: bits against parameters, R against R_max, R by quantisation scheme.

One series is one (regime, exposures).
"""

from collections.abc import Iterator
from itertools import cycle
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
    GUIDE,
    LINES,
    LOWEST_R,
    LOWEST_R_BY_SCHEME,
    MARKERS,
    NOTE,
    PAPER,
    R,
    draw_guide,
    finish,
    finish_ratio,
    hollow_handle,
    label_ticks,
    plot_points,
    style,
)
from capacity.tables.summary import summarise
from capacity.tables.table import GROUP_COLUMNS

Series = dict[tuple[str, int], dict[str, Any]]


def plot_capacity(table: pd.DataFrame, folder: Path, title: str = "") -> None:
    """Writes capacity.png and capacity.svg into the folder; equal tables give equal bytes.

    table: as `capacity.tables.table.capacity_table` returns it. The first two panels show its variants in full
    precision, the third every scheme; it is left out where there is but one.
    """
    summary = summarise(table[table["chosen"]])  # of several learning rates the best
    schemes = schemes_by_width(summary)
    series = series_styles(summary)
    with style():
        num_panels = 3 if len(schemes) > 1 else 2
        figure = Figure(figsize=(3.9 * num_panels, 4.6), layout="constrained")
        panels = figure.subplots(1, num_panels)
        full_precision = summary[summary["bits_per_weight"] >= FULL_PRECISION_BITS]
        _plot_bits(panels[0], full_precision, series)
        plot_ratio(panels[1], full_precision, series)
        if num_panels == 3:
            _plot_schemes(panels[2], summary, schemes, series)
        finish(figure, legend(series), num_panels, title, folder, "capacity", _data(summary))


def _data(summary: pd.DataFrame) -> pd.DataFrame:
    names = ["study", "setting", "dataset", "N", "exposures", "model", "regime", "scheme", "bits_per_weight"]
    return summary[[*names, "P", "bits_stored", "R", "R_low", "R_high", "interval_kind", "seeds", "R_max"]]


def series_styles(summary: pd.DataFrame) -> Series:
    """Marker, line and colour of each (regime, exposures), most exposures first."""
    keys = {(regime, int(count)) for regime, count in zip(summary["regime"], summary["exposures"], strict=True)}
    names = sorted(keys, key=lambda name: (-name[1], name[0]))
    looks = zip(cycle(COLOURS), cycle(MARKERS), cycle(LINES), strict=False)
    return {
        name: {"color": colour, "marker": marker, "linestyle": line, "markersize": 5, "linewidth": 1.1}
        for name, (colour, marker, line) in zip(names, looks, strict=False)
    }


def schemes_by_width(summary: pd.DataFrame) -> list[str]:
    """Schemes from the most bits a weight to the fewest."""
    widths = dict(zip(summary["scheme"], summary["bits_per_weight"], strict=True))
    return sorted(widths, key=lambda scheme: (-widths[scheme], scheme))


def _plot_bits(axes: Axes, summary: pd.DataFrame, series: Series) -> None:
    """Bits stored against parameters; models of different sizes differ in more than that, and are not joined."""
    for name, rows in rows_of(summary, series):
        plot_points(axes, rows["P"], rows, series[name] | {"linestyle": "none"}, lowest=LOWEST_R, factor=rows["P"])
    axes.set(xscale="log", yscale="log", xlabel="parameters, $P$", ylabel="bits stored")
    axes.margins(0.12)
    left, right = axes.get_xlim() if summary.empty else (summary["P"].min() / 1.6, summary["P"].max() * 1.6)
    bottom, top = axes.get_ylim()
    axes.set(xlim=(left, right), ylim=(min(bottom / 1.5, left), max(top, 2.5 * right)))  # both guides in full
    label_ticks(axes, EngFormatter(sep=""))
    for bits, label in ((1, "1 bit a\nparameter"), (2, "2 bits a\nparameter")):
        draw_guide(axes, slope=bits)
        axes.text(1.01, bits * right, label, transform=axes.get_yaxis_transform(), va="center", **NOTE)


def plot_ratio(axes: Axes, summary: pd.DataFrame, series: Series) -> None:
    """R against R_max, one line a model and world of any N, above the paper's points and the line of perfect models."""
    for name, rows in rows_of(summary, series):
        people = rows["setting"].str.replace(r"dataset\.N=\S+", "", regex=True)
        for _, curve in rows.groupby(["study", "dataset", "model", "tokenizer", "lr", people], sort=False):
            curve = curve.sort_values("R_max")
            plot_points(axes, curve["R_max"], curve, series[name], lowest=LOWEST_R)
    finish_ratio(axes)


def _plot_schemes(axes: Axes, summary: pd.DataFrame, schemes: list[str], series: Series) -> None:
    """R by quantisation scheme, one line a model."""
    model_columns = [column for column in GROUP_COLUMNS if column not in ("scheme", "bits_per_weight")]
    for name, rows in rows_of(summary, series):
        for _, curve in rows.groupby(model_columns, sort=False, dropna=False):
            places = curve["scheme"].map(schemes.index)
            curve = curve.assign(place=places).sort_values("place")
            plot_points(axes, curve["place"], curve, series[name], lowest=LOWEST_R_BY_SCHEME)
    axes.axhline(0, **GUIDE)
    axes.set_xticks(range(len(schemes)), schemes)
    axes.set(xlabel="quantisation scheme", ylabel=f"bits stored a parameter, {R}", xlim=(-0.4, len(schemes) - 0.6))
    axes.set_ylim(bottom=max(axes.get_ylim()[0], LOWEST_R_BY_SCHEME - 0.1))


def rows_of(summary: pd.DataFrame, series: Series) -> Iterator[tuple[tuple[str, int], pd.DataFrame]]:
    """Each series that has rows, with them."""
    for name in series:
        rows = summary[(summary["regime"] == name[0]) & (summary["exposures"] == name[1])]
        if len(rows):
            yield name, rows


def legend(series: Series) -> list[Line2D]:
    """The series, the paper's points, and points that stand at an edge."""
    handles = [
        Line2D([], [], label=f"{regime}, {count} exposures", **style) for (regime, count), style in series.items()
    ]
    published = "paper: GPT-2, bioS, 1000 exposures"
    paper = Line2D([], [], label=published, **PAPER)
    below = f"hollow: {R} below {LOWEST_R:g}, among schemes below −{-LOWEST_R_BY_SCHEME:g}"
    return [*handles, paper, hollow_handle(below)]
