"""What many quantisation schemes store, against what their weights take: a second figure where there are over eight.

A series is the schemes of one kind, named alike but for their bits: int8, int6, int5.
"""

import re
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from capacity.figures.drawing import COLOURS, GUIDE, LOWEST_R_BY_SCHEME, MARKERS, R, save, style
from capacity.tables.summary import summarise

MANY_SCHEMES = 8  # more of them are compared by what they take rather than with R_max
LOWEST_SHARE = -0.02  # bits a bit of weights below it stand at the edge
TICKS = (4, 6, 8, 12, 16, 24, 32)


def plot_storage(table: pd.DataFrame, study: str, folder: Path) -> None:
    """Writes storage-<name>.png and .svg, where the study has many schemes; equal tables give equal bytes.

    A row of panels a number of exposures, R on the left and bits stored a bit of weights on the right; there dotted and
    without intervals the calibrated bits.
    """
    if table.loc[table["study"] == study, "scheme"].nunique() <= MANY_SCHEMES:
        return
    summary = summarise(table[(table["study"] == study) & table["chosen"]])
    summary["kind_of_scheme"] = [re.sub(r"\d+", "", scheme, count=1) for scheme in summary["scheme"]]
    summary["size"] = summary["weight_bits"].astype(float) / summary["P"].astype(float)
    exposures = sorted(summary["exposures"].unique(), reverse=True)
    kinds = dict(
        zip(summary["kind_of_scheme"].unique(), zip(cycle(COLOURS), cycle(MARKERS), strict=False), strict=False)
    )
    calibrated = summary["R_calibrated"].notna().any()  # a table of an older version has none
    with style():
        figure = Figure(figsize=(10, 1.2 + 3.2 * len(exposures)), layout="constrained")
        panels = figure.subplots(len(exposures), 2, squeeze=False, sharex=True)
        for (ratio, share), count in zip(panels, exposures, strict=True):
            rows = summary[summary["exposures"] == count]
            _plot(ratio, rows, kinds, "R", LOWEST_R_BY_SCHEME)
            _plot(share, rows, kinds, "bits_per_weight_bit", LOWEST_SHARE)
            if calibrated:
                _plot_calibrated(share, rows, kinds)
            ratio.set_ylabel(f"bits stored a parameter, {R}\nafter {count} exposures")
            share.set_ylabel("bits stored a bit of weights")
        for axes in panels[-1]:
            axes.set_xlabel("bits of weights a parameter, all counted")
        handles = [
            Line2D([], [], color=colour, marker=marker, markersize=5, label=kind)
            for kind, (colour, marker) in kinds.items()
        ]
        if calibrated:
            handles.append(Line2D([], [], color="0.4", marker=".", markersize=4, linestyle=":", label="calibrated"))
        figure.legend(handles=handles, loc="outside right center", frameon=False)
        figure.suptitle(f"{study} (hollow: below {LOWEST_R_BY_SCHEME:g} and {LOWEST_SHARE:g})")
        save(figure, folder, f"storage-{study}")


def _plot_calibrated(axes: Axes, rows: pd.DataFrame, kinds: dict[str, tuple[str, str]]) -> None:
    """Calibrated bits a bit of weights against the size of the weights."""
    share = rows["R_calibrated"] / rows["size"]
    for kind, series in rows.groupby("kind_of_scheme", sort=False):
        series = series.sort_values("size")
        colour, _ = kinds[str(kind)]
        axes.plot(series["size"], share[series.index], color=colour, marker=".", markersize=4, linestyle=":")


def _plot(axes: Axes, rows: pd.DataFrame, kinds: dict[str, tuple[str, str]], column: str, lowest: float) -> None:
    """One column against the size of the weights, with intervals of R; points below the edge stand hollow at it."""
    scale = rows[column] / rows["R"]
    for kind, series in rows.groupby("kind_of_scheme", sort=False):
        series = series.sort_values("size")
        factor = scale[series.index].to_numpy(float)
        y, low, high = (np.maximum(series[part].to_numpy(float) * factor, lowest) for part in ("R", "R_low", "R_high"))
        colour, marker = kinds[str(kind)]
        axes.plot(series["size"], y, color=colour, marker=marker, markersize=5, linewidth=0.9)
        axes.vlines(series["size"], low, high, color=colour, linewidth=0.9)
        hollow = y <= lowest
        axes.plot(
            series["size"][hollow], y[hollow], marker, color=colour, markersize=5, markerfacecolor="white", zorder=3
        )
    axes.axhline(0, **GUIDE)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
