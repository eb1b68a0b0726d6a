"""Loss and learning rate over exposures, a line a run, coloured by what a study varies; trainings under way too.

Where one line turns the losses of all runs into bits, the loss has a second axis: the bits that it proves to be stored.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from capacity.artefacts.spec import read_spec
from capacity.errors import UserError
from capacity.figures.drawing import COLOURS, LINES, literal, save, style
from capacity.jobs.training_files import CURVE
from capacity.tables.loss_lower_bound import loss_in_bits
from capacity.tables.naming import cell_names, run_names
from capacity.tables.rows import TRAINING

BITS = {"R_at_least": "bits stored a parameter, at least", "bits_a_person_at_least": "bits stored a person, at least"}
COLUMNS = ("run", "cell", "seed", "state", "step", "exposures", "tokens", "loss", "lr", *BITS)
ON_ONE_LINE = 0.002  # of the range of bits: biographies are a little longer for one seed than for another
LEGEND_COLUMNS = 3


def read_curves(rows: Sequence[dict[str, Any]], results: Path) -> tuple[pd.DataFrame, list[str]]:
    """The curves of one study's runs by exposures, with COLUMNS, and the names of runs that have none yet.

    rows: of a capacity table. A run's state is "done", or "under way" where its curve is that of a training's files.
    """
    runs = pd.DataFrame(rows).assign(run=run_names(rows)).drop_duplicates("checkpoint_id")
    runs["cell"] = cell_names(runs.to_dict("records"))
    found, missing = [], []
    for run in runs.itertuples():
        # of a checkpoint, and of a training that is under way
        done, begun = (results / stage / str(run.checkpoint_id) / CURVE for stage in ("checkpoints", "resume"))
        path = done if done.is_file() else begun
        curve = _curve(path)
        if curve.empty:
            missing.append(str(run.run))
            continue
        state = "done" if path == done else "under way"
        curve = curve.assign(run=run.run, cell=run.cell, seed=run.seed, state=state)
        found.append(curve.assign(**bits_of(curve, str(run.checkpoint_id), results)))
    curves = pd.concat(found) if found else pd.DataFrame(columns=COLUMNS)
    return curves[list(COLUMNS)], missing


def _curve(path: Path) -> pd.DataFrame:
    """The rows of a training so far: none where it has written none, for want of time or of room."""
    try:
        return pd.read_csv(path)
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame()


def bits_of(curve: pd.DataFrame, checkpoint: str, results: Path) -> dict[str, Any]:
    """The columns of BITS of one run: NaN where its loss does not say, and a parameter of a training under way."""
    columns: dict[str, Any] = dict.fromkeys(BITS, float("nan"))
    try:
        world = loss_in_bits(read_spec(results / "specs" / f"{checkpoint}.json"), results)
    except (UserError, FileNotFoundError):  # a table without the specs or the datasets that it came from
        return columns
    if world is None:
        return columns
    last = curve.iloc[-1]
    bits = world.bits(curve["loss"].to_numpy(float), last["tokens"] / (last["exposures"] * world.N))
    columns["bits_a_person_at_least"] = bits
    training = results / "checkpoints" / checkpoint / TRAINING
    if training.is_file():
        columns["R_at_least"] = world.N * bits / json.loads(training.read_text())["parameters"]
    return columns


def plot_curves(curves: pd.DataFrame, study: str, folder: Path) -> None:
    """Writes <study>.png, .svg and .csv into the folder."""
    looks = looks_of(list(dict.fromkeys(curves["cell"])))
    with style():
        figure = Figure(figsize=(9.5, 4.2 + 0.2 * len(looks) / LEGEND_COLUMNS), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12)  # type: ignore[union-attr, call-arg]
        loss, lr = figure.subplots(1, 2, sharex=True)
        for (_, cell), rows in curves.groupby(["run", "cell"], sort=False):
            loss.plot(rows["exposures"], rows["loss"], **looks[cell])
            lr.plot(rows["exposures"], rows["lr"], **looks[cell])
        loss.set(xscale="log", xlabel="exposures", ylabel="loss, nats a token")
        lr.set(xlabel="exposures", ylabel="learning rate")
        add_bits(loss, curves)
        handles = [Line2D([], [], label=literal(cell), **look) for cell, look in looks.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False)
        save(figure, folder, study, study, curves)


def add_bits(axes: Axes, curves: pd.DataFrame) -> None:
    """A second axis of the loss: bits a parameter where they follow from the loss alone, else bits a person, if so.

    One line gives the bits of every loss then, whatever the run.
    """
    loss = curves["loss"].to_numpy(float)
    for column, label in BITS.items():
        bits = curves[column].to_numpy(float)
        if np.isnan(bits).any() or np.ptp(loss) == 0:
            continue
        slope, start = np.polyfit(loss, bits, 1)
        if np.abs(start + slope * loss - bits).max() <= ON_ONE_LINE * np.ptp(bits):
            axes.secondary_yaxis("right", functions=_line(slope, start)).set_ylabel(label)
            return


def _line(slope: Any, start: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """From a loss to bits, and back."""
    return lambda loss: start + slope * loss, lambda bits: (bits - start) / slope


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
