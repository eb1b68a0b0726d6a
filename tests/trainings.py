"""A tiny training that the tests of training share: 20 people, 60 steps, under a second."""

import functools
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from modelled import model_of
from worlds import made_tokenizer, make_world

from capacity.tokenizers.tokenization import save_tokenizer
from capacity.training.batches import TrainingBatches
from capacity.training.device import make_fabric
from capacity.training.optimizer import Optimizer
from capacity.training.pretraining import Training
from capacity.training.spec import TrainingRegime, TrainingSettings
from capacity.training.train import train_checkpoint

WORLD = {
    "kind": "bioD", "N": 20, "K": 2, "C": 1, "D": 8, "L": 1, "T": 8,
    "names": [4, 4, 4], "wording": "atomic", "seed": 1,
}  # fmt: skip
REGIME = {
    "exposures": 24, "packing": "rows", "context": None, "batch": 8, "lr": 0.01, "warmup_steps": 10,
    "final_lr_fraction": 0.1, "weight_decay": 0.01, "betas": [0.9, 0.98], "eps": 1e-6, "clip": 1.0,
    "zipf": None, "schedule": "cosine", "optimizer": "adamw", "momentum": None, "quantization": None,
    "document_mask": False,
}  # fmt: skip
HARDWARE = {
    "accelerator": "cpu", "precision": "fp32", "devices": 1, "attention": "eager", "loss": "whole", "compile": False,
}  # fmt: skip
SPEC = {
    "model": {"family": "gpt2", "l": 1, "h": 2, "head_dim": 4},
    "regime": REGIME, "hardware": HARDWARE, "seed": 1,
}  # fmt: skip
NUM_STEPS = 60


def spec_of(seed: int = 1, hardware: dict[str, Any] | None = None, **regime: Any) -> dict[str, Any]:
    """The tiny training's spec with changes."""
    return SPEC | {"seed": seed, "hardware": HARDWARE | (hardware or {}), "regime": REGIME | regime}


@functools.cache
def _world_and_tokenizer() -> tuple[Any, Any]:
    world = make_world(WORLD)
    return world, made_tokenizer({"kind": "word"}, world)


def batches_of(settings: dict[str, Any]) -> TrainingBatches:
    """The steps of a spec's regime on the tiny world."""
    world, tokenizer = _world_and_tokenizer()
    return made_batches(world, tokenizer, settings["regime"], settings["seed"])


def made_batches(
    world: Any, tokenizer: Any, regime: dict[str, Any], seed: int, all_rows: bool = False
) -> TrainingBatches:
    """The steps of a regime of which all that is not given is the tiny training's."""
    return TrainingBatches(world, tokenizer, regime_of(**regime), seed, all_rows)


def regime_of(**changes: Any) -> TrainingRegime:
    """The tiny training's regime with changes."""
    return TrainingRegime.read(REGIME | changes)


def training_settings(settings: dict[str, Any]) -> TrainingSettings:
    """A training's settings; its model as `modelled` reads it."""
    return TrainingSettings.read(settings | {"model": model_of(settings["model"])})


def training_of(settings: dict[str, Any]) -> Training:
    """The training of a spec on the tiny world, before its first step."""
    read = training_settings(settings)
    return Training(read, batches_of(settings), make_fabric(read.hardware))


def train(root: Path, settings: dict[str, Any], time_budget_seconds: float | None = None) -> dict[str, Any]:
    """Train below `root`: the checkpoint in checkpoint/, the state in resume/; its metrics."""
    tokenizer, checkpoint = root / "tokenizer", root / "checkpoint"
    for folder in (tokenizer, checkpoint):
        folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(_world_and_tokenizer()[1], tokenizer)
    read, batches = training_settings(settings), batches_of(settings)
    return train_checkpoint(read, batches, tokenizer, checkpoint, root / "resume", time_budget_seconds)


def checkpoint_bytes(root: Path) -> dict[str, bytes]:
    """Name and bytes of every file of the checkpoint below `root`."""
    return {path.name: path.read_bytes() for path in sorted((root / "checkpoint").iterdir())}


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch, number: signal.Signals = signal.SIGTERM) -> None:
    """Have this process signalled while that step is under way."""
    update = Optimizer.step

    def signalling(self: Optimizer, *arguments: Any) -> None:
        if self.num_updates == step - 1:
            os.kill(os.getpid(), number)
        update(self, *arguments)

    monkeypatch.setattr(Optimizer, "step", signalling)
