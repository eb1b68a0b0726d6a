"""What is running, how far it is and when it will be done, from planted files and a clock that the test sets."""

import io
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from capacity.jobs.run_file import RUN_FILE, RunFile, RunJob, read_run
from capacity.watch.state import RunState
from capacity.watch.view import drawn, line

RUN = RunFile(
    {
        "gpt2-1": RunJob("train_checkpoint", "small atomic long s1", "base", seconds=10.0),
        "gpt2-2": RunJob("train_checkpoint", "small atomic long s2", "base", seconds=30.0),
        "qa": RunJob("finetune_qa", "small atomic long s1", "base", others=1, seconds=20.0, tries=["try-1", "try-2"]),
    }
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def work_on(results: Path, name: str, **position: Any) -> None:
    """A job of this process that makes an artefact, and where its training is."""
    (results / "scratch" / f"{name}.{socket.gethostname()}.{os.getpid()}").mkdir(parents=True, exist_ok=True)
    if position:
        (results / "resume" / name).mkdir(parents=True, exist_ok=True)
        known = {"steps": 100, "exposures": 50, "loss": 1.5, "tokens_per_second": 2500.0, "time": time.time()}
        (results / "resume" / name / "progress.json").write_text(json.dumps(known | position))


def stop(results: Path, name: str, made: str = "") -> None:
    (results / "scratch" / f"{name}.{socket.gethostname()}.{os.getpid()}").rmdir()
    if made:
        (results / made / name).mkdir(parents=True)
        (results / made / name / "manifest.json").touch()


def test_a_run_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_run(tmp_path) == RunFile()
    (tmp_path / RUN_FILE).write_text(RUN.text())
    assert read_run(tmp_path) == RUN
    (tmp_path / RUN_FILE).write_text('{"jobs": {"a": {"speed": 1}}, "loggers": []}')
    assert read_run(tmp_path) == RunFile(), "of another version"


def test_a_training_is_shown_with_exposures_loss_speed_and_time_left(tmp_path: Path, clock: list[float]) -> None:
    state = RunState(tmp_path, RUN)
    state.begin("gpt2-1")
    state.begin("gpt2-2")
    state.look()
    assert "0 of 3 jobs done, 2 starting" in line(state)
    work_on(tmp_path, "gpt2-1", step=50, seconds_left=12.0)
    state.look()
    clock[0] += 2
    shown = line(state).splitlines()
    assert "0 of 3 jobs done, 1 starting  2 s" in shown[0]
    words = [
        "train_checkpoint",
        "small atomic long s1",
        "exposure 25 of 50",
        "loss 1.500",
        "2.5k tokens/s",
        "10 s left",
    ]
    assert shown[1].split("  ")[1:] == words


def test_of_a_job_that_trains_several_models_the_one_under_way_is_shown(tmp_path: Path, clock: list[float]) -> None:
    work_on(tmp_path, "qa")
    work_on(tmp_path, "try-2", step=40, seconds_left=3.0, exposures=None)
    state = RunState(tmp_path, RUN)
    state.look()
    assert "finetune_qa  small atomic long s1 and 1 more  40%  loss 1.500  2.5k tokens/s  3 s left" in line(state)


def test_what_is_left_follows_from_what_jobs_took_against_the_plan(tmp_path: Path, clock: list[float]) -> None:
    state = RunState(tmp_path, RUN)
    assert state.outlook().left == 60, "one after the other, by the plan"
    work_on(tmp_path, "gpt2-1")
    state.look()
    clock[0] += 20  # twice what the plan gave it
    stop(tmp_path, "gpt2-1", made="checkpoints")
    state.look()
    outlook = state.outlook()
    assert outlook.done == 1
    assert outlook.left == 60 + 20, "the other training takes twice its time too"
    assert outlook.share == pytest.approx(20 / 100)


def test_a_training_under_way_says_itself_how_long_it_takes(tmp_path: Path, clock: list[float]) -> None:
    state = RunState(tmp_path, RUN)
    work_on(tmp_path, "gpt2-2", step=1, seconds_left=90.0)
    state.look()
    assert state.outlook().left == pytest.approx(90 + 30 + 20)


def test_the_position_of_an_earlier_attempt_is_none_of_this_one(tmp_path: Path, clock: list[float]) -> None:
    work_on(tmp_path, "gpt2-1", step=50, seconds_left=12.0)
    clock[0] += 3600
    state = RunState(tmp_path, RUN)
    state.look()
    assert "small atomic long s1  compiling kernels (once)  0 s" in line(state)


def test_a_failed_job_is_counted_until_it_is_tried_again(tmp_path: Path, clock: list[float]) -> None:
    state = RunState(tmp_path, RUN)
    state.begin("gpt2-1")
    work_on(tmp_path, "gpt2-1")
    state.look()
    state.fail("gpt2-1")
    stop(tmp_path, "gpt2-1")
    state.look()
    assert "0 of 3 jobs done, 1 failed  0 s" in line(state)
    state.begin("gpt2-1")
    assert "0 of 3 jobs done, 1 starting" in line(state)


def test_a_job_whose_work_outlives_it_for_a_moment_is_one_that_failed(tmp_path: Path, clock: list[float]) -> None:
    """As where its shell was killed, or what is left of it lies on a disk that other nodes see late."""
    state = RunState(tmp_path, RUN)
    work_on(tmp_path, "gpt2-1")
    state.look()
    state.fail("gpt2-1")
    state.look()
    assert "0 of 3 jobs done, 1 failed" in line(state)


def test_a_small_terminal_shows_as_many_jobs_as_fit(tmp_path: Path, clock: list[float]) -> None:
    for name in ("gpt2-1", "gpt2-2"):
        work_on(tmp_path, name)
    state = RunState(tmp_path, RUN)
    state.look()
    console = Console(width=120, file=io.StringIO())
    with console.capture() as captured:
        console.print(drawn(state, console.width, 5))
    text = captured.get()
    assert text.count("train_checkpoint") == 1
    assert "and 1 more" in text


@pytest.mark.parametrize("width", [160, 120, 80, 60])
def test_no_number_is_cut_columns_are_dropped_instead(tmp_path: Path, clock: list[float], width: int) -> None:
    long = RunJob("train_checkpoint", "gpt2-2-2 atomic long dataset.N=1500 s2", "base-law", seconds=10.0)
    state = RunState(tmp_path, RunFile({"gpt2-1": long}))
    work_on(tmp_path, "gpt2-1", step=35, seconds_left=83.0, exposures=1000, tokens_per_second=94_800.0)
    state.look()
    console = Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        console.print(drawn(state, width, 24))
    text = captured.get()
    assert "exposure 350 of 1000" in text
    assert "1 min 23 s left" in text
    assert ("tokens/s" in text) == (width == 160)
    assert max(map(len, text.splitlines())) <= width


def test_the_bar_never_goes_back(tmp_path: Path, clock: list[float]) -> None:
    state = RunState(tmp_path, RUN)
    work_on(tmp_path, "gpt2-1", step=90, seconds_left=1.0)
    clock[0] += 1
    state.look()
    clock[0] += 20
    before = state.outlook().share
    work_on(tmp_path, "gpt2-1", step=91, seconds_left=500.0)
    state.look()
    assert state.outlook().share == before > 0


def test_the_time_left_is_estimated_until_a_training_has_reported(tmp_path: Path, clock: list[float]) -> None:
    state = RunState(tmp_path, RUN)
    assert "estimating" in line(state)
    work_on(tmp_path, "gpt2-2", step=1, seconds_left=90.0)
    state.look()
    assert "about 2 min 20 s left  done at " in line(state)
