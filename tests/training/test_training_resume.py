"""Promises of resuming: stopped anywhere, by anything, a training ends with the bits of a straight one."""

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from quantizers import scheme_of
from torch._dynamo.utils import counters
from trainings import NUM_STEPS, SPEC, batches_of, checkpoint_bytes, spec_of, stop_at, train, training_settings
from waiting import wait

from capacity.jobs.resume import STATE, forget, load_state, save_state
from capacity.jobs.stop import Interrupted
from capacity.training import device as training_device
from capacity.training import session as session_module
from capacity.training.optimizer import Optimizer
from capacity.training.train import train_checkpoint

SCRIPTS = Path(session_module.__file__).parents[2]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the tiny training, never stopped."""
    root = tmp_path_factory.mktemp("straight")
    train(root, SPEC)
    return checkpoint_bytes(root)


@pytest.mark.parametrize("step", [1, 2, 33, NUM_STEPS - 1])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_step_saves_that_step_and_the_rest_follows(
    step: int, number: signal.Signals, straight: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(step, patch, number)
        with pytest.raises(Interrupted, match=f"stopped by {number.name} at step {step} of {NUM_STEPS}"):
            train(tmp_path, SPEC)
    assert checkpoint_bytes(tmp_path) == {}
    assert train(tmp_path, SPEC)["num_sessions"] == 2
    assert checkpoint_bytes(tmp_path) == straight


SMALL = {"l": 1, "h": 2, "head_dim": 4}
EXPERTS = {"count": 4, "capacity": 0.6, "test_capacity": 4.0, "balance": 0.01}
NO_DROPOUT = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0)
MIXTRAL = {
    "model_type": "mixtral", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "intermediate_size": 8, "num_local_experts": 4, "num_experts_per_tok": 1,
}  # fmt: skip
VARIATIONS = {
    "llama": ({"family": "llama", **SMALL}, {}),
    "mistral": ({"family": "mistral", **SMALL}, {}),
    "no MLP": ({"family": "gpt2", **SMALL, "mlp_ratio": 0.0}, {}),
    "changed llama": ({"family": "llama", **SMALL, "mlp": "standard", "norm": "layer", "rotary": 0.5}, {}),
    "gated gpt2": ({"family": "gpt2", **SMALL, "mlp": "gated", "norm": "rms", "tied": False, "activation": "relu"}, {}),
    "quarter": ({"family": "gpt2", **SMALL, "mlp_ratio": 0.25, "activation": "silu", "kv_sharing": 2}, {}),
    "experts": ({"family": "gpt2", **SMALL, "mlp_ratio": 0.25, "experts": {**EXPERTS, "top": 1}}, {}),
    "two experts": ({"family": "llama", **SMALL, "mlp": "standard", "experts": {**EXPERTS, "top": 2}}, {}),
    "mixtral": ({"hf": MIXTRAL}, {}),
    "learned positions": ({"hf": {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, **NO_DROPOUT}}, {}),
    "muon": ({"family": "gpt2", **SMALL}, {"optimizer": "muon"}),
    "schedule-free": ({"family": "gpt2", **SMALL}, {"optimizer": "schedule-free", "final_lr_fraction": 1.0}),
    "experts by muon": (
        {"family": "gpt2", **SMALL, "mlp_ratio": 0.25, "experts": {**EXPERTS, "top": 1}},
        {"optimizer": "muon"},
    ),
}


@pytest.mark.parametrize(("model", "regime"), VARIATIONS.values(), ids=VARIATIONS)
def test_every_variation_is_repeatable_and_resumable_to_the_bit(model: dict, regime: dict, tmp_path: Path) -> None:
    settings = spec_of(exposures=6, **regime) | {"model": model}
    train(tmp_path / "straight", settings)
    train(tmp_path / "again", settings)
    stops = 0
    (tmp_path / "parts" / "checkpoint").mkdir(parents=True)
    while not checkpoint_bytes(tmp_path / "parts"):
        try:
            train(tmp_path / "parts", settings, time_budget_seconds=0.0)
        except Interrupted:
            stops += 1
    assert stops == 14  # of 15 steps
    straight = checkpoint_bytes(tmp_path / "straight")
    assert checkpoint_bytes(tmp_path / "again") == checkpoint_bytes(tmp_path / "parts") == straight


def test_a_stop_between_two_rows_of_the_metrics_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = spec_of(exposures=33, batch=1, lr=0.001)  # 660 steps, 200 rows: one ends with step 99, one with 102
    train(tmp_path / "straight", settings)
    with monkeypatch.context() as patch:
        stop_at(101, patch)
        with pytest.raises(Interrupted, match="at step 101 of 660"):
            train(tmp_path / "stopped", settings)
    train(tmp_path / "stopped", settings)
    assert checkpoint_bytes(tmp_path / "stopped") == checkpoint_bytes(tmp_path / "straight")


def test_a_signal_in_the_last_step_does_not_stop_a_training_that_is_done(
    straight: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(NUM_STEPS, monkeypatch)
    train(tmp_path, SPEC)
    assert checkpoint_bytes(tmp_path) == straight


def test_signal_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    train(tmp_path, SPEC)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_training_stopped_after_every_single_step_ends_with_the_same_bits(straight: dict, tmp_path: Path) -> None:
    for _ in range(NUM_STEPS - 1):
        with pytest.raises(Interrupted, match="the end of the time budget"):
            train(tmp_path, SPEC, time_budget_seconds=0)
    assert train(tmp_path, SPEC, time_budget_seconds=0)["num_sessions"] == NUM_STEPS
    assert checkpoint_bytes(tmp_path) == straight


def test_a_training_whose_quantised_part_comes_after_a_stop_ends_with_the_same_bits(tmp_path: Path) -> None:
    settings = spec_of(quantization={"scheme": scheme_of(3).plain(), "start": 0.5})
    train(tmp_path / "straight", settings)
    with pytest.raises(Interrupted):
        train(tmp_path / "stopped", settings, time_budget_seconds=0)
    train(tmp_path / "stopped", settings)
    assert checkpoint_bytes(tmp_path / "stopped") == checkpoint_bytes(tmp_path / "straight")


def test_saving_does_not_change_the_numbers(straight: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "SAVE_SECONDS", 0.0)
    train(tmp_path, SPEC)
    assert (tmp_path / "resume" / STATE).exists()
    assert checkpoint_bytes(tmp_path) == straight


def in_child(work: Callable[[], object]) -> int:
    """Do the work in a forked process; its process id. It exits with 0, or with 75 when interrupted."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except Interrupted:
            code = os.EX_TEMPFAIL
        finally:
            os._exit(code)
    return child


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGTERM, os.EX_TEMPFAIL), (signal.SIGINT, os.EX_TEMPFAIL), (signal.SIGKILL, -9)],
)
def test_a_process_that_is_stopped_or_killed_leaves_a_state_that_goes_on(
    number: signal.Signals, exit_code: int, straight: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        update = Optimizer.step
        patch.setattr(session_module, "SAVE_SECONDS", 0.0)
        patch.setattr(Optimizer, "step", lambda *arguments: time.sleep(0.05) or update(*arguments))
        child = in_child(lambda: train(tmp_path, SPEC))
        wait((tmp_path / "resume" / STATE).exists)
        time.sleep(0.2)
        os.kill(child, number)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == exit_code
    assert checkpoint_bytes(tmp_path) == {}
    assert train(tmp_path, SPEC)["num_sessions"] == 2
    assert checkpoint_bytes(tmp_path) == straight


def stopped(tmp_path: Path) -> Path:
    """The state file of the tiny training, stopped after one step."""
    with pytest.raises(Interrupted):
        train(tmp_path, SPEC, time_budget_seconds=0)
    return tmp_path / "resume" / STATE


@pytest.mark.parametrize("damage", ["empty", "digest only", "half", "last byte", "one bit", "text"])
def test_a_damaged_state_is_not_used(
    damage: str, straight: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = stopped(tmp_path)
    content = state.read_bytes()
    middle = len(content) // 2
    damaged = {
        "empty": b"",
        "digest only": content[:65],
        "half": content[:middle],
        "last byte": content[:-1],
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "text": b"not a state\n",
    }
    state.write_bytes(damaged[damage])
    assert train(tmp_path, SPEC)["num_sessions"] == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "starting over" in line]
    assert lines == [f"{state}: the saved training is damaged; starting over"]
    assert checkpoint_bytes(tmp_path) == straight


@pytest.mark.parametrize(
    ("condition", "value"),
    [("torch", "1.0"), ("device", "Abacus"), ("CPU capability", "NONE"), ("threads", 7)],
)
def test_a_state_from_another_machine_or_version_is_not_used(
    condition: str,
    value: object,
    straight: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = training_device.numeric_conditions
    with monkeypatch.context() as patch:
        patch.setattr(session_module, "numeric_conditions", lambda device: real(device) | {condition: value})
        stopped(tmp_path)
    assert train(tmp_path, SPEC)["num_sessions"] == 1
    now = real(torch.device("cpu"))[condition]
    assert f"was made with {condition} {value}, now {now}, and is put aside; starting over" in capsys.readouterr().err
    assert checkpoint_bytes(tmp_path) == straight


def test_a_state_from_another_kind_of_node_waits_for_that_kind(
    straight: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition of two kinds of nodes: what the first had done is not lost on the second."""
    real = training_device.numeric_conditions

    def on(device: str, budget: float | None) -> dict:
        with monkeypatch.context() as patch:
            patch.setattr(session_module, "numeric_conditions", lambda each: real(each) | {"device": device})
            return train(tmp_path, SPEC, time_budget_seconds=budget)

    for device in ("one kind", "another", "a third"):
        with pytest.raises(Interrupted):
            on(device, 0)
    assert on("one kind", None)["num_sessions"] == 2
    assert checkpoint_bytes(tmp_path) == straight
    forget(tmp_path / "resume")
    assert not (tmp_path / "resume").exists()


def test_a_state_of_another_spec_is_not_used(straight: dict, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, spec_of(lr=0.02), time_budget_seconds=0)
    assert train(tmp_path, SPEC)["num_sessions"] == 1
    assert checkpoint_bytes(tmp_path) == straight


def test_the_state_of_another_checkpoint_with_the_same_spec_is_not_used(
    straight: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same spec on other data: only the checkpoint's id tells them apart."""
    stopped(tmp_path / "other")
    shutil.move(tmp_path / "other" / "resume", tmp_path / "mine")
    tokenizer, checkpoint = tmp_path / "other" / "tokenizer", tmp_path / "checkpoint"
    checkpoint.mkdir()
    train_checkpoint(training_settings(SPEC), batches_of(SPEC), tokenizer, checkpoint, tmp_path / "mine")
    assert "was made with checkpoint resume, now mine, and is put aside; starting over" in capsys.readouterr().err
    assert checkpoint_bytes(tmp_path) == straight


def test_a_state_of_another_layout_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conditions = {"torch": "2"}
    save_state(tmp_path, {"vector": torch.ones(2)}, {"step": 3}, conditions)
    tensors, numbers = load_state(tmp_path, conditions)
    assert numbers == {"step": 3}
    assert torch.equal(tensors["vector"], torch.ones(2))
    body = b'{"conditions": {"torch": "2"}}\nno safetensors'
    (tmp_path / STATE).write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert load_state(tmp_path, conditions) is None
    assert "is of another layout" in capsys.readouterr().err


def test_a_save_that_dies_leaves_the_state_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path, {"vector": torch.ones(2)}, {"step": 1}, {})

    def die(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", die)
        with pytest.raises(OSError, match="no space"):
            save_state(tmp_path, {"vector": torch.zeros(2)}, {"step": 2}, {})
    _, numbers = load_state(tmp_path, {})
    assert numbers == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


def test_forgetting_removes_the_state_and_what_a_dead_save_left_and_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "resume"
    forget(folder)  # nothing there
    save_state(folder, {"vector": torch.ones(2)}, {}, {})
    (folder / f".{STATE}.123").touch()
    (folder / "lease").touch()
    forget(folder)
    assert [path.name for path in folder.iterdir()] == ["lease"]
    (folder / "lease").unlink()
    forget(folder)
    assert not folder.exists()


@pytest.mark.long
def test_a_compiled_training_resumes_to_the_same_bits_and_learns_what_an_eager_one_does(
    straight: dict, tmp_path: Path
) -> None:
    counters.clear()
    settings = spec_of(hardware={"compile": True})
    train(tmp_path / "straight", settings)
    for _ in range(2):
        with pytest.raises(Interrupted):
            train(tmp_path / "stopped", settings, time_budget_seconds=0)
    metrics = train(tmp_path / "stopped", settings)
    assert metrics["num_sessions"] == 3
    assert counters["aot_autograd"]["autograd_cache_bypass"] == 0  # what other jobs compiled is found again
    assert checkpoint_bytes(tmp_path / "stopped") == checkpoint_bytes(tmp_path / "straight")
    compiled, eager = (losses(files["metrics.csv"]) for files in (checkpoint_bytes(tmp_path / "straight"), straight))
    torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=0)


def losses(metrics: bytes) -> torch.Tensor:
    return torch.tensor([float(line.split(",")[3]) for line in metrics.decode().splitlines()[1:]])
