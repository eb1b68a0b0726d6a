"""What many quantisation schemes store, against what their weights take: a second figure where there are over eight.

A panel is the schemes of one method, named alike but for their bits: int8, int6, int5. Bits stored a bit of weights,
how near the weights are to the limit of their memory, are R over x; grey lines are a tenth and a fifth of one.
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

from capacity.figures.drawing import (
    COLOURS,
    FULL_PRECISION_BITS,
    GUIDE,
    LOWEST_R_BY_SCHEME,
    MARKERS,
    R,
    finish,
    hollow_handle,
    plot_points,
    style,
)
from capacity.tables.summary import summarise

MANY_SCHEMES = 8  # more of them are compared by what they take rather than with R_max
COLUMNS = 4
TICKS = (2, 4, 8, 16, 32)
SHARES = (0.1, 0.2)  # bits stored a bit of weights, as guides
NAMES = ("setting", "dataset", "tokenizer", "model", "regime")  # what makes lines besides exposures, where it differs

Looks = dict[str, tuple[str, str]]  # colour and marker of a line


def plot_storage(table: pd.DataFrame, study: str, folder: Path, question: str = "") -> None:
    """Writes storage-<name>.png, .svg and .csv, where the study has many schemes; equal tables give equal bytes.

    Dotted and without intervals: calibrated bits, where the table has them.
    """
    if table.loc[table["study"] == study, "scheme"].nunique() <= MANY_SCHEMES:
        return
    summary = summarise(table[(table["study"] == study) & table["chosen"]])
    summary["method"] = [re.sub(r"\d+", "", scheme, count=1) for scheme in summary["scheme"]]
    summary["size"] = summary["weight_bits"].astype(float) / summary["P"].astype(float)
    whole = summary["bits_per_weight"] >= FULL_PRECISION_BITS
    methods = list(dict.fromkeys(summary.loc[~whole, "method"]))
    apart = [name for name in NAMES if summary.groupby("exposures")[name].nunique().max() > 1]
    summary["line"] = [
        ", ".join((f"{count} exposures", *more)) for count, *more in summary[["exposures", *apart]].values
    ]
    lines = dict.fromkeys(summary.sort_values("exposures", ascending=False, kind="stable")["line"])
    looks = dict(zip(lines, zip(cycle(COLOURS), cycle(MARKERS), strict=False), strict=False))
    with style():
        down = -(-len(methods) // COLUMNS)
        figure = Figure(figsize=(9.6, 1.6 + 2.1 * down), layout="constrained")
        panels = figure.subplots(down, COLUMNS, squeeze=False, sharex=True, sharey=True).flatten()
        for axes, method in zip(panels, methods, strict=False):
            _plot(axes, summary[(summary["method"] == method) & ~whole], looks)
            for bits in summary.loc[whole, ["line", "R"]].itertuples():
                axes.axhline(bits.R, color=looks[str(bits.line)][0], linewidth=0.8, linestyle="--", zorder=1)
        for axes in panels[len(methods) :]:
            axes.remove()
        for axes in panels[max(0, len(methods) - COLUMNS) : len(methods)]:
            axes.set_xlabel("bits of weights a parameter", fontsize=8)
            axes.tick_params(labelbottom=True)
        for axes in panels[: len(methods) : COLUMNS]:
            axes.set_ylabel(f"bits stored a parameter, {R}", fontsize=8)
        columns = [
            "scheme",
            "exposures",
            *apart,
            "size",
            "R",
            "R_low",
            "R_high",
            "R_calibrated",
            "bits_per_weight_bit",
            "seeds",
        ]
        calibrated = bool(summary["R_calibrated"].notna().any())
        handles = _handles(looks, calibrated)
        finish(figure, handles, 3, question or study, folder, f"storage-{study}", summary[columns])


def _plot(axes: Axes, rows: pd.DataFrame, looks: Looks) -> None:
    """R against the size of the weights, with intervals; points below the edge stand hollow at it."""
    for line, series in rows.groupby("line", sort=False):
        series = series.sort_values("size")
        colour, marker = looks[str(line)]
        look = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 0.9}
        plot_points(axes, series["size"], series, look, lowest=LOWEST_R_BY_SCHEME)
        x, calibrated = series["size"].to_numpy(float), series["R_calibrated"].astype(float)
        axes.plot(x, calibrated, color=colour, marker=".", markersize=4, linestyle=":")
    names = list(dict.fromkeys(rows.sort_values("bits_per_weight", ascending=False)["scheme"]))
    axes.set_title(" … ".join(dict.fromkeys([names[0], names[-1]])), fontsize=9)
    axes.axhline(0, **GUIDE)
    axes.set_xscale("log")
    least, most = min(2.4, 0.9 * rows["size"].min()), max(24, 1.1 * rows["size"].max())
    axes.set(xlim=(least, most), ylim=(LOWEST_R_BY_SCHEME - 0.12, None))
    sizes = np.geomspace(least, most)
    for share in SHARES:
        axes.plot(sizes, share * sizes, **GUIDE)
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _handles(looks: Looks, calibrated: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=5, label=line)
        for line, (colour, marker) in looks.items()
    ]
    handles.append(Line2D([], [], color="0.3", linestyle="--", linewidth=0.8, label="not quantised"))
    if calibrated:
        handles.append(Line2D([], [], color="0.3", marker=".", markersize=4, linestyle=":", label="calibrated"))
    hollow = hollow_handle(f"hollow: {R} below −{-LOWEST_R_BY_SCHEME:g}")
    guide = Line2D([], [], label="0.1 and 0.2 bits stored a bit of weights", **GUIDE)
    return [*handles, hollow, guide]
