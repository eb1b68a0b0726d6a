"""How much of what is memorised can be asked for, against R_max: a second figure of studies that ask.

A series is what the study compares but the number of people; lines with filled markers are what is memorised, lines
with hollow ones what is extractable. Points are means over seeds with their intervals.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from capacity.figures.drawing import COLOURS, MARKERS, R_MAX, finish, style
from capacity.tables.extraction_rows import seed_means

SHARES = ("memorised", "extractable")


def plot_extraction(table: pd.DataFrame, study: str, folder: Path, question: str = "") -> None:
    """Writes extraction-<name>.png, .svg and .csv, where the study asks questions; equal tables give equal bytes."""
    rows = table[table["study"] == study]
    if "extractable" not in rows or rows["extractable"].isna().all():
        return
    means = seed_means(rows)
    with style():
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        axes = figure.subplots()
        handles = []
        for i, (name, series) in enumerate(means.groupby("series", sort=False)):
            colour, marker = COLOURS[1 + i % (len(COLOURS) - 1)], MARKERS[i % len(MARKERS)]
            for share in SHARES:
                handles.append(_plot(axes, series, share, colour, marker, str(name)))
        axes.set(
            xlabel=f"bits offered a parameter, {R_MAX}", ylabel="share of values, whole and exact", ylim=(-0.03, 1.03)
        )
        data = means[["series", "N", "seeds", "R_max", *(f"{s}{end}" for s in SHARES for end in ("", "_low", "_high"))]]
        finish(figure, handles, 1, question or study, folder, f"extraction-{study}", data)


def _plot(axes: Axes, series: pd.DataFrame, share: str, colour: str, marker: str, name: str) -> Line2D:
    """One line with its intervals; the handle for the legend."""
    hollow = share != SHARES[0]
    series = series.sort_values("R_max")
    x, y, low, high = (series[c].to_numpy(float) for c in ("R_max", share, f"{share}_low", f"{share}_high"))
    look: dict[str, Any] = {
        "color": colour,
        "marker": marker,
        "markersize": 5,
        "linewidth": 1.1,
        "linestyle": "--" if hollow else "-",
    }
    look |= {"markerfacecolor": "white"} if hollow else {}
    axes.vlines(x, np.clip(low, 0, 1), np.clip(high, 0, 1), color=colour, linewidth=0.9)
    axes.plot(x, y, **look)
    words = name.replace("=null", " not set").replace("=", " ")
    return Line2D([], [], label=f"{words}, {share}", **look)
