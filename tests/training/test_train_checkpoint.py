"""Promises of the command: an interruption is no success, and what it left is taken up again."""

import json
import os
import subprocess
import sys
from pathlib import Path

from job_server import job_server
from trainings import SPEC, WORLD, training_settings
from worlds import settings_of

from capacity.artefacts.identity import SCRIPTS
from capacity.artefacts.settings import Settings
from capacity.artefacts.spec import Spec, make_spec, spec_text


def spec(results: Path, stage: str, settings: dict | Settings, parents: dict) -> tuple[Spec, Path]:
    """A spec of an artefact, and the file that it is written to."""
    made = make_spec(stage, "tiny", settings, parents)
    path = results / "specs" / f"{made.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(spec_text(made))
    return made, path


def run(script: str, path: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, SCRIPTS / script, "--spec", path, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | job_server()
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def parents_in(results: Path) -> dict[str, str]:
    """A dataset and a tokenizer, made by their commands."""
    dataset, path = spec(results, "datasets", settings_of(WORLD), {})
    assert run("make_dataset.py", path).returncode == 0
    tokenizer, path = spec(results, "tokenizers", {"kind": "word"}, {"dataset": dataset.name})
    assert run("make_tokenizer.py", path).returncode == 0
    return {"dataset": dataset.name, "tokenizer": tokenizer.name}


def test_windows_shorter_than_a_biography_are_refused_before_the_first_step(tmp_path: Path) -> None:
    regime = SPEC["regime"] | {"packing": "windows", "context": 3}
    _, path = spec(tmp_path, "checkpoints", training_settings(SPEC | {"regime": regime}), parents_in(tmp_path))
    refused = run("train_checkpoint.py", path)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: context: 3, but biographies can have ")
    assert refused.stderr.count("\n") == 1


def test_an_interrupted_job_exits_with_75_and_the_next_one_finishes_it(tmp_path: Path) -> None:
    checkpoint, path = spec(tmp_path, "checkpoints", training_settings(SPEC), parents_in(tmp_path))
    state = tmp_path / "resume" / checkpoint.id / "state"

    stopped = run("train_checkpoint.py", path, "--time-budget", "0")
    assert stopped.returncode == os.EX_TEMPFAIL
    assert "stopped by the end of the time budget at step 1 of 60; the state is saved" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not (tmp_path / checkpoint.name).exists()
    assert state.exists()

    finished = run("train_checkpoint.py", path)
    assert finished.returncode == 0, finished.stderr
    manifest = json.loads((tmp_path / checkpoint.name / "manifest.json").read_text())
    assert manifest["metrics"]["num_sessions"] == 2
    assert not state.parent.exists()
