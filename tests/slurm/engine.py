"""The engine on the test cluster: start it, watch its trainings, disturb them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "workflow")]

from checkout import Checkout  # noqa: E402
from waiting import wait  # noqa: E402

TABLE = "results/capacity_table.csv"
# The first look at the jobs; nothing else of the profile is changed.
FAST = ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"]
# Trainings of 10 seconds on one core of a machine that has nothing else to do.
CONFIG = """\
scale: laptop
study: [faults]
scales:
  laptop: {accelerator: cpu, precision: fp32, compile: false}
datasets:
  atomic: {kind: bioD, N: 6, K: 2, D: 4, T: 4, names: [4, 4, 4], wording: atomic}
tokenizers:
  word: {kind: word}
models:
  small: {architecture: gpt2-1-2, head_dim: 4}
regimes:
  slow: {exposures: 4000, packing: rows, batch: 4, lr: 1e-2, warmup_steps: 1}
quantizers:
  none: {method: none}
probe: {draws: 1}
studies:
  faults:
    question: Does a fault change a number?
    paper: It does not say.
    datasets: [atomic]
    tokenizers: [word]
    models: [small]
    regimes: [slow]
    quantizers: [none]
    seeds: [1, 2, 3]
"""
SLOW = [f"gpt2-1-2-bioD-N6-e4000-s{seed}" for seed in (1, 2, 3)]


@dataclass
class Training:
    """One checkpoint of a checkout."""

    checkout: Checkout
    id: str

    @property
    def folder(self) -> Path:
        return self.checkout.path / "results" / "checkpoints" / self.id

    @property
    def target(self) -> str:
        return f"results/checkpoints/{self.id}/manifest.json"

    @property
    def resume(self) -> Path:
        return self.checkout.path / "results" / "resume" / self.id

    def log(self) -> str:
        path = self.checkout.path / "results" / "logs" / "train_checkpoint" / f"{self.id}.log"
        return path.read_text() if path.is_file() else ""

    def pid(self) -> int | None:
        """The process that holds its lease."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(json.loads((self.resume / "lease").read_text())["pid"])
        return None

    def saves_when_asked(self) -> bool:
        """Whether its process has come so far that SIGTERM makes it save."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            status = Path(f"/proc/{self.pid()}/status").read_text()
            caught = int(status.partition("SigCgt:")[2].split()[0], 16)
            return bool(caught >> (signal.SIGTERM - 1) & 1)
        return False

    def manifest(self) -> dict[str, object]:
        return json.loads((self.folder / "manifest.json").read_text())

    def num_sessions(self) -> int:
        return self.manifest()["metrics"]["num_sessions"]  # type: ignore[index]

    def model(self) -> bytes:
        return (self.folder / "model.safetensors").read_bytes()


def training(checkout: Checkout, slug: str) -> Training:
    """The training with a slug, from the specs that a dry run wrote."""
    (spec,) = [
        path
        for path in (checkout.path / "results" / "specs").glob(f"{slug}-*.json")
        if json.loads(path.read_text())["stage"] == "checkpoints"
    ]
    return Training(checkout, spec.stem)


def heed_interrupts() -> None:
    """Undo what a shell does to its background jobs, tests among them: they ignore SIGINT, and so do their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Engine:
    """A run of the engine with the SLURM profile, in the background.

    literal: exactly as a user starts it, with the pauses between looks at the jobs that the plugin makes.
    """

    started: ClassVar[list[Engine]] = []

    def __init__(self, checkout: Checkout, *words: str, targets: list[str] | None = None, literal: bool = False):
        self.checkout = checkout
        self.output = checkout.path / f"engine-{time.time_ns()}.log"
        start = ["-m", "snakemake"] if literal else [str(ROOT / "tests" / "slurm" / "impatient.py"), *FAST]
        command = [sys.executable, *start, "--profile", "slurm", *(targets or [TABLE]), *words]
        with open(self.output, "w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=checkout.path,
                env=checkout.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=heed_interrupts,
            )
        self.started.append(self)

    def said(self) -> str:
        return self.output.read_text()

    def describe(self) -> str:
        return f"{self.said()[-5000:]}\n{self.checkout.logs()}"

    def wait(self, what: str, condition: Callable[[], object], seconds: float = 90) -> None:
        """Wait for something that must happen while this run goes on."""

        def happened() -> object:
            return condition() or self.process.poll() is not None

        wait(happened, seconds, what, self.describe)
        assert condition(), f"the run ended before: {what}\n{self.describe()}"

    def wait_until_training(self, *trainings: Training) -> None:
        """Wait until all have trained for two seconds."""
        self.wait("all train", lambda: all(one.saves_when_asked() for one in trainings), 120)
        time.sleep(2)

    def end(self, seconds: float = 240) -> int:
        """Its exit status, once it has ended."""
        wait(lambda: self.process.poll() is not None, seconds, "the run has ended", self.describe)
        return self.process.returncode

    def succeed(self, seconds: float = 240) -> None:
        assert self.end(seconds) == 0, self.describe()

    def stop(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    @classmethod
    def kill_all(cls) -> None:
        """Kill what a failed test left: it would submit its cancelled jobs again."""
        for engine in cls.started:
            engine.process.kill()  # does nothing to one that has ended
            engine.process.wait()
        cls.started.clear()


def new_checkout(path: Path, config: str | None = None) -> Checkout:
    """The sources with the SLURM profile, nothing built."""
    checkout = Checkout.new(path)
    shutil.copytree(ROOT / "slurm", path / "slurm", dirs_exist_ok=True)
    if config is not None:
        (path / "config.yaml").write_text(config)
    return checkout


def with_datasets(checkout: Checkout, number: int) -> Checkout:
    """The tiny configuration with so many datasets of six people."""
    text = (checkout.path / "config.yaml").read_text().replace("study: [base, prose]", "study: [base]")
    (checkout.path / "config.yaml").write_text(text.replace("seeds: [1]", f"seeds: {list(range(number))}", 1))
    return checkout


def num_submissions() -> int:
    """Jobs and arrays that the controller was given since it started, by its own count."""
    said = subprocess.run(["sdiag"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REQUEST_SUBMIT_BATCH_JOB\s+\(\s*\d+\)\s+count:(\d+)", said)
    return int(found[1]) if found else 0
