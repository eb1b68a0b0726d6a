"""Curves of trainings: what they draw from planted files, and the second axis where the loss says bits."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from legibility import faults
from matplotlib.figure import Figure

from capacity.figures.training_curves import plot_curves, read_curves
from capacity.tables.table import read_table

STEPS = 20


def curves(**per_run: tuple[float, float]) -> pd.DataFrame:
    """Two runs, each with what one nat costs in bits a parameter, and in bits a person."""
    parts = []
    for number, (run, (parameter, person)) in enumerate(per_run.items()):
        loss = np.linspace(5, 1 + 0.1 * number, STEPS)
        about = {"run": run, "cell": run, "seed": 1, "state": "done", "step": range(STEPS)}
        columns = {"exposures": np.linspace(0.1, 100, STEPS), "tokens": 10, "loss": loss, "lr": 0.01}
        bits = {"R_at_least": 2 - parameter * loss, "bits_a_person_at_least": 39 - person * loss}
        parts.append(pd.DataFrame({**about, **columns, **bits}))
    return pd.concat(parts)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Plots curves and gives the figure."""

    def plot(rows: pd.DataFrame) -> Figure:
        figures: list[Figure] = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: figures.append(figure))
        plot_curves(rows, "base", tmp_path)
        return figures[0]

    return plot


@pytest.mark.parametrize(
    ("runs", "label", "slope"),
    [
        ({"a": (1.0, 10.0), "b": (1.0, 10.0)}, "bits stored a parameter, at least", 1.0),
        ({"a": (1.0, 10.0), "b": (2.0, 10.0)}, "bits stored a person, at least", 10.0),
        ({"a": (1.0, 10.0), "b": (1.001, 10.0)}, "bits stored a parameter, at least", 1.0005),  # a seed of longer texts
        ({"a": (1.0, 10.0), "b": (np.nan, 10.0)}, "bits stored a person, at least", 10.0),
        ({"a": (1.0, 10.0), "b": (2.0, 11.0)}, None, None),
        ({"a": (1.0, 10.0), "b": (np.nan, np.nan)}, None, None),
    ],
)
def test_the_loss_has_a_second_axis_where_it_says_the_same_bits_for_all_runs(drawn, runs, label, slope):
    figure = drawn(curves(**runs))
    loss, _ = figure.axes
    axes = loss.child_axes
    assert [axis.get_ylabel() for axis in axes] == ([label] if label else [])
    assert faults(figure) == []
    for axis in axes:
        start = 2 if "parameter" in label else 39
        for nats in (1, 4):
            heights = [side.transData.transform((0, y))[1] for side, y in ((axis, start - slope * nats), (loss, nats))]
            assert heights[0] == pytest.approx(heights[1], abs=0.5)  # pixels


def test_bits_come_from_the_files_of_a_training_and_only_where_all_are_there(tmp_path: Path, built):
    """Of a tiny real run: at the last exposure as by hand; a parameter only when it is done."""
    results = built.path / "results"
    rows = read_table(results / "capacity_table.csv")
    rows = rows[(rows["study"] == "base") & (rows["scheme"] == "none") & (rows["exposures"] == 2)]
    found, missing = read_curves(rows.to_dict("records"), results)
    assert missing == []
    row, last = rows.iloc[0], found.iloc[-1]
    grammar = json.loads((results / "datasets" / row["dataset_id"] / "grammar.json").read_text())
    prior = grammar["account"]["name_prior_bits"] + sum(bits for _, bits in grammar["account"]["items"])
    tokens = row["tokens"] / (6 * 2)
    bits = prior - (last["loss"] * tokens - np.log(2)) / np.log(2)  # two orders of two sentences
    assert last["bits_a_person_at_least"] == pytest.approx(bits, rel=1e-6)
    assert last["R_at_least"] == pytest.approx(6 * bits / row["P"], rel=1e-6)
    begun = tmp_path / "results" / "resume" / row["checkpoint_id"]
    begun.mkdir(parents=True)
    for text in ("", "step,exposures,tokens,loss,lr\n"):
        (begun / "metrics.csv").write_text(text)
        found, missing = read_curves(rows.to_dict("records"), tmp_path / "results")
        assert (len(found), len(missing)) == (0, 1), "a disk without room can leave it like that"
    elsewhere = tmp_path / "results" / "checkpoints" / row["checkpoint_id"]
    elsewhere.mkdir(parents=True)
    (elsewhere / "metrics.csv").write_bytes((results / "checkpoints" / elsewhere.name / "metrics.csv").read_bytes())
    found, _ = read_curves(rows.to_dict("records"), tmp_path / "results")
    assert found[["R_at_least", "bits_a_person_at_least"]].isna().all(axis=None)
