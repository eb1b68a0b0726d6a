"""Several devices: the training of one process, its batches shared out; here two processes over gloo."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_train_checkpoint import run, spec
from trainings import REGIME, SPEC, WORLD, training_settings
from worlds import settings_of

from capacity.artefacts.identity import SCRIPTS
from capacity.artefacts.spec import Spec
from capacity.errors import UserError
from capacity.jobs.resume import load_state, put_aside, save_state
from capacity.models.build import load_model
from capacity.probe.score import score_people
from capacity.probe.spec import ProbeDraws
from capacity.tables.bits import person_bits
from capacity.tables.scores import score_matrices
from capacity.tokenizers.tokenization import load_tokenizer
from capacity.training.device import make_fabric
from capacity.training.process_group import ProcessGroup
from capacity.world.facts import load_world
from capacity.world.render import Renderer

LONG = {"exposures": 200, "batch": 6}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the tiny world and its tokenizer."""
    folder = tmp_path_factory.mktemp("results")
    dataset, path = spec(folder, "datasets", settings_of(WORLD), {})
    assert run("make_dataset.py", path).returncode == 0
    _, path = spec(folder, "tokenizers", {"kind": "word"}, {"dataset": dataset.name})
    assert run("make_tokenizer.py", path).returncode == 0
    return folder


def ordered(results: Path, devices: int, **regime: object) -> tuple[Spec, Path]:
    """A training on so many devices."""
    parents = {
        role: f"{folder}/{next((results / folder).iterdir()).name}"
        for role, folder in (("dataset", "datasets"), ("tokenizer", "tokenizers"))
    }
    settings = SPEC | {"hardware": SPEC["hardware"] | {"devices": devices}, "regime": REGIME | regime}
    return spec(results, "checkpoints", training_settings(settings), parents)


def metrics(results: Path, checkpoint: Spec) -> dict:
    return json.loads((results / checkpoint.name / "manifest.json").read_text())["metrics"]


def capacity_ratio(results: Path, checkpoint: Spec) -> float:
    """R, the bits that a checkpoint stores per parameter."""
    world = load_world(results / checkpoint.parents["dataset"])
    renderer = Renderer(world, load_tokenizer(results / checkpoint.parents["tokenizer"]))
    model = load_model(results / checkpoint.name)
    scores = score_people(model, renderer, world, ProbeDraws(draws=1, seed=1))
    matrices = score_matrices(scores.to_pandas(), world.account)
    bits = person_bits(matrices["nats"], matrices["first_chunk_nats"], world.account)
    return bits.total.sum() / sum(weight.numel() for weight in model.parameters())


@pytest.mark.long
def test_two_devices_train_as_one_but_for_rounding(results: Path):
    trained = []
    for devices in (1, 2):
        checkpoint, path = ordered(results, devices, **LONG)
        answer = run("train_checkpoint.py", path)
        assert answer.returncode == 0, answer.stderr
        weights = load_file(results / checkpoint.name / "model.safetensors")
        trained.append((metrics(results, checkpoint), weights, capacity_ratio(results, checkpoint)))
    (one, weights, R), (two, others, other_R) = trained
    assert two["tokens"] == one["tokens"]
    assert two["final_loss"] == pytest.approx(one["final_loss"], rel=1e-4)
    assert R > 0
    assert other_R == pytest.approx(R, rel=1e-4)
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.long
def test_two_devices_that_are_stopped_go_on_and_end_with_the_bits_of_an_undisturbed_training(results: Path):
    checkpoint, path = ordered(results, 2, **LONG)
    undisturbed = run("train_checkpoint.py", path)
    assert undisturbed.returncode == 0, undisturbed.stderr
    folder = results / checkpoint.name
    weights = (folder / "model.safetensors").read_bytes()
    folder.rename(results / "undisturbed")

    process = subprocess.Popen(
        [sys.executable, SCRIPTS / "train_checkpoint.py", "--spec", path], stderr=subprocess.PIPE
    )
    while not catches(process.pid, signal.SIGTERM):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 75, said
    assert b"stopped by SIGTERM" in said
    assert not folder.exists()

    again = run("train_checkpoint.py", path)
    assert again.returncode == 0, again.stderr
    assert metrics(results, checkpoint)["num_sessions"] == 2
    assert (folder / "model.safetensors").read_bytes() == weights


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    caught = int(Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (number - 1) & 1)


class Fabrics:
    """Two ranks whose all-reduce is done by hand."""

    def __init__(self, rank: int):
        self.world_size, self.global_rank, self.sent = 2, rank, torch.zeros(0)

    def all_reduce(self, tensor: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "sum"
        self.sent = tensor
        return tensor

    def barrier(self) -> None:
        self.sent = torch.ones(1)

    def all_gather(self, tensor: torch.Tensor) -> torch.Tensor:
        return torch.stack([tensor, torch.tensor(40)])


def test_files_are_moved_by_the_first_process_and_the_others_wait(monkeypatch: pytest.MonkeyPatch):
    """Two that exchanged saved states at once could overwrite one."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    moved: list[int] = []
    for rank in (0, 1):
        fabric = Fabrics(rank)
        ProcessGroup(fabric).first(lambda rank=rank: moved.append(rank))
        assert fabric.sent.tolist() == [1], "met the others"
    assert moved == [0]


@pytest.mark.long
def test_two_devices_on_a_partition_of_two_kinds_of_nodes_lose_no_state(results: Path):
    """Back on the first kind, one of two processes exchanges the states: what the second kind had done stays."""
    checkpoint, path = ordered(results, 2, **LONG | {"exposures": 150})
    resume = results / "resume" / checkpoint.id
    assert run("train_checkpoint.py", path, "--time-budget", "0").returncode == 75
    kept = (resume / "state").read_bytes()
    tensors, counters = load_state(resume, conditions_of(kept))
    put_aside(resume)
    elsewhere = conditions_of(kept) | {"device": "another kind"}
    save_state(resume, tensors, counters, elsewhere)
    theirs = (resume / "state").read_bytes()

    said = run("train_checkpoint.py", path, "--time-budget", "0")
    assert said.returncode == 75, said.stderr
    assert "going on from" in said.stderr
    assert sorted(file.read_bytes() == theirs for file in resume.glob("state*")) == [False, True]


def conditions_of(state: bytes) -> dict:
    return json.loads(state.split(b"\n", 2)[1])["conditions"]


def test_a_port_of_the_users_shell_is_not_that_of_every_training(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MASTER_PORT", "29500")
    monkeypatch.setenv("MASTER_ADDR", "elsewhere")
    make_fabric(training_settings(SPEC).hardware)
    assert "MASTER_PORT" not in os.environ
    assert "MASTER_ADDR" not in os.environ


def test_one_that_follows_ends_with_the_process_that_started_it(tmp_path: Path):
    """However that ends: a lock on the GPUs that they share ends with it."""
    code = "from capacity.jobs.startup import hand_over; hand_over(); print('ready', flush=True); input()"
    start = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]]).wait()"
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "LOCAL_RANK": "1"}
    environment.pop("CAPACITY_FORK_SERVER", None)
    first = subprocess.Popen(
        [sys.executable, "-c", start, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "ready\n"
    first.kill()
    assert first.stdout.read() == "", "read to its end: the follower, which had it open, has ended too"


def test_processes_that_would_begin_at_different_steps_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    group = ProcessGroup(Fabrics(1))
    group.check_equal(40)
    with pytest.raises(UserError, match=r"would begin at steps 0, 40, .*devices of one model"):
        group.check_equal(0)


def test_shares_are_every_row_once_and_a_share_without_targets_counts_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    fabrics = [Fabrics(0), Fabrics(1)]
    groups = [ProcessGroup(fabric) for fabric in fabrics]
    rows = np.arange(2 * 6 * 3).reshape(2, 6, 3)
    shares = [group.share(rows) for group in groups]
    assert sorted(np.concatenate([share.ravel() for share in shares])) == sorted(rows.ravel())
    assert {share.shape for share in shares} == {(2, 3, 3)}
    groups[0].combine(torch.ones(4), torch.tensor(2.0), 1.0)
    groups[1].combine(torch.full((4,), float("nan")), torch.tensor(float("nan")), 0.0)
    assert (fabrics[0].sent + fabrics[1].sent).tolist() == [1, 1, 1, 1, 2]
