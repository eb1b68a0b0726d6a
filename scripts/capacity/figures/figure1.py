"""The paper's Figure 1 with our models in it: bits against parameters after 1000 and 100 exposures, R over R_max.

The paper's digitised points stand behind ours; there are none for 100 exposures. Ours are models in full precision that
are named in the paper's notation. Capacity is what a model can hold at most, so the world of which a model holds most
(right: of those that offer as much) is large, and its other worlds are small and pale.
"""

import re
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from capacity.figures.drawing import (
    EXPOSURE_COLOURS,
    EXPOSURE_MARKERS,
    FULL_PRECISION_BITS,
    LOWEST_R,
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
from capacity.figures.published_points import FIGURE_1A
from capacity.tables.summary import summarise
from capacity.tables.table import GROUP_COLUMNS

NOTATION = re.compile(r"gpt2-\d+-\d+")
LOOKS: dict[int, dict[str, Any]] = {
    exposures: {"color": colour, "marker": EXPOSURE_MARKERS[exposures], "linestyle": "none", "markersize": 6}
    for exposures, colour in EXPOSURE_COLOURS.items()
}
PALE: dict[str, Any] = {"markersize": 2.5, "alpha": 0.45, "zorder": 2}
TITLE = "Bits of knowledge stored, from models of 3,000 parameters to the paper's"


def plot_figure_one(table: pd.DataFrame, folder: Path, name: str = "figure1") -> None:
    """Writes <name>.png, .svg and .csv into the folder; equal tables give equal bytes."""
    summary = summarise(plain_models(table))
    summary = summary[summary["exposures"].isin(list(LOOKS))]
    summary = summary.assign(most=_is_most(summary, []), most_of_offer=_is_most(summary, [summary["R_max"].round(1)]))
    with style():
        figure = Figure(figsize=(9.6, 4.9), layout="constrained")
        bits, ratio = figure.subplots(1, 2)
        _plot_bits(bits, summary)
        _plot_ratios(ratio, summary)
        finish(figure, _legend(summary), 3, TITLE, folder, name, _data(summary))


def plain_models(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the paper's GPT-2 in full precision at the chosen rate, a run that several studies share once."""
    named = table["model"].map(lambda name: bool(NOTATION.fullmatch(name)))
    rows = table[named & (table["bits_per_weight"] >= FULL_PRECISION_BITS) & table["chosen"]]
    rows = rows.drop_duplicates("variant_id")
    return rows.assign(study=_first_study(rows))


def _first_study(rows: pd.DataFrame) -> pd.Series:
    """The first study that has a row's cell, so that all its seeds are one point; their own, where one occurs twice."""
    cell = [column for column in GROUP_COLUMNS if column != "study"]
    twice = rows.duplicated([*cell, "seed"], keep=False)
    return rows["study"].where(twice, rows.groupby(cell, dropna=False)["study"].transform("first"))


def _is_most(summary: pd.DataFrame, among: list[pd.Series]) -> pd.Series:
    """Whether a row has the highest R of its size and exposures, and of what else it is compared among."""
    best = summary.groupby([summary["P"], summary["exposures"], *among])["R"].transform("max")
    return summary["R"] == best


def _plot_bits(axes: Axes, summary: pd.DataFrame) -> None:
    """Bits stored against parameters, from our models to the paper's, with the lines of 1 and 2 bits per parameter."""
    axes.plot([p.P for p in FIGURE_1A], [p.R * p.P for p in FIGURE_1A], zorder=0, **PAPER)
    for exposures, look in LOOKS.items():
        rows = summary[summary["exposures"] == exposures]
        others, most = rows[~rows["most"] & (rows["R"] >= LOWEST_R)], rows[rows["most"]]
        axes.plot(others["P"].astype(float), (others["R"] * others["P"]).astype(float), **look | PALE)
        plot_points(axes, most["P"], most, look, lowest=LOWEST_R, factor=most["P"])
    low = min(1e3, summary["P"].min() / 2) if len(summary) else 1e3
    axes.set(xscale="log", yscale="log", xlim=(low, 1e9), ylim=(low * LOWEST_R, 4e9))
    axes.set(xlabel="parameters, $P$", ylabel="bits stored")
    label_ticks(axes, EngFormatter(sep=""), subs=(1,))
    for bits in (1, 2):
        draw_guide(axes, slope=bits)
    axes.text(0.97, 0.04, "lines: 1 and 2 bits per parameter", transform=axes.transAxes, ha="right", **NOTE)


def _plot_ratios(axes: Axes, summary: pd.DataFrame) -> None:
    """R over R_max: on the diagonal a model holds all that it was offered."""
    for exposures, look in LOOKS.items():
        rows = summary[summary["exposures"] == exposures]
        others, most = rows[~rows["most_of_offer"] & (rows["R"] >= LOWEST_R)], rows[rows["most_of_offer"]]
        axes.plot(others["R_max"].astype(float), others["R"].astype(float), **look | PALE)
        plot_points(axes, most["R_max"], most, look, lowest=LOWEST_R)
    finish_ratio(axes)


def _legend(summary: pd.DataFrame) -> list[Line2D]:
    ours = [Line2D([], [], label=f"here, {exposures} exposures", **look) for exposures, look in LOOKS.items()]
    paper = Line2D([], [], label="paper, Figure 1(a), 1000 exposures", **PAPER)
    pale = Line2D(
        [], [], label="here, datasets of which a model stores less", color="0.4", marker="o", linestyle="none"
    )
    pale.set(markersize=2.5)
    if not (summary.loc[summary["most"] | summary["most_of_offer"], "R"] < LOWEST_R).any():
        return [*ours, paper, pale]
    return [*ours, paper, pale, hollow_handle(f"hollow: {R} below {LOWEST_R:g}")]


def _data(summary: pd.DataFrame) -> pd.DataFrame:
    """Our points, then the paper's."""
    columns = ["study", "dataset", "setting", "model", "exposures", "P", "bits_stored", "R", "R_low", "R_high", "R_max"]
    published = [
        {
            "study": "paper, Figure 1(a)",
            "exposures": 1000,
            "P": p.P,
            "bits_stored": p.R * p.P,
            "R": p.R,
            "R_max": p.R_max,
        }
        for p in FIGURE_1A
    ]
    ours = summary[[*columns, "most", "most_of_offer"]].astype({"P": float, "bits_stored": float})
    return pd.concat([ours, pd.DataFrame(published)], ignore_index=True)
