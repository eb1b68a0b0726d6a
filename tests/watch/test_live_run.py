"""A run on a terminal shows itself, and what its trainings log: one run of the real engine with two trainings."""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkout import Checkout
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from terminal import Frames, on_a_terminal

RUNS = ("small atomic long s1", "small atomic short s1")


@dataclass
class Shown:
    """A run that has ended."""

    results: Path
    code: int
    frames: Frames


@pytest.fixture(scope="module")
def shown(built: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Two trainings of some seconds."""
    checkout = built.copy(tmp_path_factory.mktemp("live") / "checkout")
    checkout.replace("config.yaml", "long: {exposures: 2,", "long: {exposures: 800,")
    checkout.replace("config.yaml", "short: {exposures: 1,", "short: {exposures: 700,")
    checkout.replace("config.yaml", "probe: {draws: 1}", "probe: {draws: 1}\nloggers: [csv, tensorboard]")
    words = ["results/capacity_table.csv", "--cores", "2", "--logger", "capacity", "--quiet", "rules"]
    command = [sys.executable, "-m", "snakemake", *words, "--config", "study=base"]
    code, frames = on_a_terminal(command, checkout.path, checkout.environment())
    return Shown(checkout.path / "results", code, frames)


def test_a_terminal_shows_trainings_by_the_names_of_the_configuration(shown: Shown) -> None:
    assert shown.code == 0, shown.frames
    text = "".join(text for _, text in shown.frames)
    for run in RUNS:
        assert f"train_checkpoint  {run}" in text
    for words in ("exposure ", "loss ", "tokens/s", " left", "done at "):
        assert words in text
    assert text.rstrip().splitlines()[-1].startswith("7 of 7 jobs done in")


def test_the_first_live_lines_come_at_once(shown: Shown) -> None:
    first = next(seconds for seconds, text in shown.frames if " elapsed" in text)
    jobs = next(seconds for seconds, text in shown.frames if "Execute" in text or "Select jobs" in text)
    assert first - jobs < 3


def test_tensorboard_lists_both_runs_by_the_names_of_the_configuration(shown: Shown) -> None:
    runs = EventMultiplexer().AddRunsFromDirectory(str(shown.results)).Reload()
    folders = {run: f"curves/base/{run} {checkpoint(shown.results, run).name.rpartition('-')[2]}" for run in RUNS}
    assert set(runs.Runs()) == set(folders.values())
    for run, folder in folders.items():
        events, rows = runs.Scalars(folder, "loss"), metrics(shown.results, run)
        assert [event.step for event in events] == [int(row["step"]) for row in rows]
        assert [event.value for event in events] == pytest.approx([float(row["loss"]) for row in rows])


def test_lightnings_csv_logger_has_the_rows_of_the_artefact(shown: Shown) -> None:
    for run in RUNS:
        (folder,) = (shown.results / "curves" / "base").glob(f"{run} *")
        with open(folder / "metrics.csv", newline="") as file:
            logged = [float(row["loss"]) for row in csv.DictReader(file)]
        assert logged == [float(row["loss"]) for row in metrics(shown.results, run)]


def checkpoint(results: Path, run: str) -> Path:
    """The folder of a run's checkpoint."""
    exposures = {"small atomic long s1": "e800", "small atomic short s1": "e700"}[run]
    (path,) = (results / "checkpoints").glob(f"*-{exposures}-*")
    return path


def metrics(results: Path, run: str) -> list[dict[str, str]]:
    """metrics.csv of a run's checkpoint."""
    with open(checkpoint(results, run) / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_nothing_stays_of_the_trainings_but_their_artefacts(shown: Shown) -> None:
    assert not list((shown.results / "resume").iterdir())


def test_curves_are_drawn_of_runs_that_are_done_and_of_those_under_way(shown: Shown) -> None:
    (done,) = (shown.results / "checkpoints").glob("*-e800-*")
    under_way = shown.results / "resume" / done.name
    under_way.mkdir(parents=True)
    (done / "metrics.csv").rename(under_way / "metrics.csv")  # as if it had not ended
    answer = Checkout(shown.results.parent).capacity("curves", "--study", "base")
    assert answer.stdout == "results/curves/base.png, .svg and .csv: 2 runs\n", answer.stderr
    with open(shown.results / "curves" / "base.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    ends = {row["run"]: (row["cell"], row["state"], row["exposures"]) for row in rows}
    assert ends == {RUNS[0]: ("small atomic long", "under way", "800"), RUNS[1]: ("small atomic short", "done", "700")}
    assert (shown.results / "curves" / "base.png").stat().st_size > 10_000
