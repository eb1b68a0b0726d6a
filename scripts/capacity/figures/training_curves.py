"""Loss and learning rate over exposures, a line a run, coloured by what a study varies; trainings under way too."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from capacity.figures.drawing import COLOURS, LINES, save, style
from capacity.tables.naming import cell_names, run_names

CURVE = "metrics.csv"  # in a checkpoint, and in the resume folder of a training that is under way
COLUMNS = ("run", "cell", "seed", "state", "step", "exposures", "tokens", "loss", "lr")
LEGEND_COLUMNS = 3


def read_curves(rows: Sequence[dict[str, Any]], results: Path) -> tuple[pd.DataFrame, list[str]]:
    """The curves of one study's runs by exposures, with COLUMNS, and the names of runs that have none yet.

    rows: of a capacity table. A run's state is "done", or "under way" where its curve is that of a training's files.
    """
    runs = pd.DataFrame(rows).assign(run=run_names(rows)).drop_duplicates("checkpoint_id")
    runs["cell"] = cell_names(runs.to_dict("records"))
    found, missing = [], []
    for run in runs.itertuples():
        done, begun = (results / stage / str(run.checkpoint_id) / CURVE for stage in ("checkpoints", "resume"))
        path = done if done.is_file() else begun
        if not path.is_file():
            missing.append(str(run.run))
            continue
        state = "done" if path == done else "under way"
        found.append(pd.read_csv(path).assign(run=run.run, cell=run.cell, seed=run.seed, state=state))
    curves = pd.concat(found) if found else pd.DataFrame(columns=COLUMNS)
    return curves[list(COLUMNS)], missing


def plot_curves(curves: pd.DataFrame, study: str, folder: Path) -> None:
    """Writes <study>.png, .svg and .csv into the folder."""
    looks = looks_of(list(dict.fromkeys(curves["cell"])))
    with style():
        figure = Figure(figsize=(9.5, 4.2 + 0.2 * len(looks) / LEGEND_COLUMNS), layout="constrained")
        loss, lr = figure.subplots(1, 2, sharex=True)
        for (_, cell), rows in curves.groupby(["run", "cell"], sort=False):
            loss.plot(rows["exposures"], rows["loss"], **looks[cell])
            lr.plot(rows["exposures"], rows["lr"], **looks[cell])
        loss.set(xscale="log", xlabel="exposures", ylabel="loss, nats a token")
        lr.set(xlabel="exposures", ylabel="learning rate")
        handles = [Line2D([], [], label=cell, **look) for cell, look in looks.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False)
        save(figure, folder, study, study, curves)


def looks_of(cells: list[str]) -> dict[str, dict[str, Any]]:
    """A colour a cell, shared by its seeds; where there are more cells than colours, shades from dark to light."""
    if len(cells) <= len(COLOURS):
        colours: Sequence[Any] = COLOURS
    else:
        shade = matplotlib.colormaps["viridis"]
        colours = [shade(0.95 * i / (len(cells) - 1)) for i in range(len(cells))]
    return {
        cell: {"color": colours[i], "linestyle": LINES[i % len(LINES)], "linewidth": 1.2}
        for i, cell in enumerate(cells)
    }
