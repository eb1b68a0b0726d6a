"""The reproduction in one picture: a row a claim, what was measured over what was published, by verdict."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from capacity.figures.drawing import COLOURS, finish, literal, style
from capacity.tables.claims import INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN, REPRODUCED, region

LOOKS = {REPRODUCED: (COLOURS[1], "o"), INCONCLUSIVE: ("0.35", "s"), NOT_REPRODUCED: (COLOURS[2], "X")}
OTHER = ("0.35", "D")  # of any other verdict that has a number
HIGHEST = 2.0  # of measured over published; the edge of the axis
CHARACTERS = 68


def plot_claims(record: pd.DataFrame, folder: Path) -> None:
    """Writes claims-figure.png, .svg and .csv into the folder. record: a row for each claim."""
    rows = record[record["measured"].notna() & (record["verdict"] != NOT_RUN)].reset_index(drop=True)
    data = pd.DataFrame([_as_ratio(row) for row in rows.to_dict("records")])
    verdicts = list(dict.fromkeys([*LOOKS, *data["verdict"]]))
    with style():
        figure = Figure(figsize=(8.6, 1.6 + 0.21 * max(1, len(data))), layout="constrained")
        axes = figure.subplots()
        axes.axvline(1, color="0.55", linewidth=0.9, zorder=0)
        for place, row in zip(-np.arange(len(data)), data.to_dict("records"), strict=True):
            colour, marker = LOOKS.get(row["verdict"], OTHER)
            least, most, low, high, value = np.clip(
                [row[name] for name in ("least", "most", "low", "high", "measured")], 0, HIGHEST
            )
            axes.barh(place, most - least, 0.8, least, color="0.9", zorder=0)
            axes.hlines(place, low, high, color=colour, linewidth=1.4)
            face = colour if value == row["measured"] else "white"
            axes.plot(value, place, marker=marker, color=colour, markerfacecolor=face, markersize=5, clip_on=False)
        axes.set_yticks(-np.arange(len(data), dtype=float), [_words(row) for row in data.to_dict("records")])
        axes.set(xlim=(0, HIGHEST), ylim=(0.6 - len(data), 0.6), xlabel="measured / published")
        handles = [_handle(verdict, (data["verdict"] == verdict).sum()) for verdict in verdicts]
        count = int((data["verdict"] == REPRODUCED).sum())
        title = f"{count} of {len(data)} claims that were run are reproduced (band: accepted; hollow: beyond the axis)"
        finish(figure, handles, 4, title, folder, "claims-figure", data)


def _as_ratio(row: dict[str, Any]) -> dict[str, Any]:
    """A claim's numbers over the published one."""
    least, most = region(row)
    numbers = {"measured": row["measured"], "low": row["low"], "high": row["high"], "least": least, "most": most}
    about = {name: row[name] for name in ("id", "result", "statement", "verdict")}
    return about | {name: float(number) / row["published"] for name, number in numbers.items()}


def _words(row: dict[str, Any]) -> str:
    """The paper's result and the sentence, cut to the room there is."""
    sentence = textwrap.shorten(str(row["statement"]), CHARACTERS, placeholder=" ...")
    return literal(f"{row['result']}  {sentence}".strip())


def _handle(verdict: str, count: int) -> Line2D:
    colour, marker = LOOKS.get(verdict, OTHER)
    return Line2D([], [], color=colour, marker=marker, linestyle="none", label=f"{verdict}: {count}")
