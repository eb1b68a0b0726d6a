"""A real SLURM cluster for the tests here: up when the first test asks for it, down after the last."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine import Engine

COMMAND = Path(__file__).with_name("cluster")


class Slurm:
    """The test cluster and its jobs."""

    def __init__(self) -> None:
        self.accounting: bool | None = None  # None: down

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a subcommand of tests/slurm/cluster."""
        done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True)
        if check and done.returncode:
            pytest.fail(f"cluster {' '.join(arguments)}: {done.stderr}", pytrace=False)
        return done

    def up(self, accounting: bool) -> None:
        """Bring the cluster up in this form, with all nodes in service."""
        if self.accounting != accounting:
            self.down()
        self.manage("up", *(["--accounting"] if accounting else []))
        self.accounting = accounting

    def down(self) -> None:
        self.manage("down")
        self.accounting = None

    def ask(self, *command: str) -> str:
        """What a SLURM command prints."""
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def submit(self, script: str, output: Path, *options: str) -> str:
        """Submit a bash script whose output is appended to a file; the job's id."""
        common = [
            "sbatch",
            "--parsable",
            "--open-mode=append",
            f"--output={output}",
            f"--chdir={output.parent}",
        ]
        return self.ask(*common, *options, f"--wrap={script}")

    def state(self, job: str) -> str:
        """State of a job in the controller's memory, such as RUNNING."""
        return self.ask("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}")

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = 30) -> float:
        """Seconds until a condition held."""
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > seconds:
                pytest.fail(f"not after {seconds} seconds: {what}\n{self.ask('squeue')}\n{self.ask('sinfo')}")
            time.sleep(0.1)
        return time.monotonic() - start

    def wait_for_state(self, job: str, state: str, seconds: float = 30) -> float:
        """Seconds until a job was in a state."""
        return self.wait(f"job {job} is {state}", lambda: self.state(job) == state, seconds)

    def cancel_all(self) -> None:
        """Cancel every job and wait until the nodes are free."""
        if self.accounting is not None:
            self.ask("scancel", "--user=root")
            self.wait("no job is left", lambda: not self.ask("squeue", "--noheader"))


@pytest.fixture(scope="session")
def any_slurm() -> Iterator[Slurm]:
    """The cluster in whatever form it is, perhaps down."""
    slurm = Slurm()
    yield slurm
    slurm.down()


@pytest.fixture
def slurm(any_slurm: Slurm) -> Iterator[Slurm]:
    """The cluster without accounting, all nodes idle."""
    any_slurm.up(accounting=False)
    yield any_slurm
    Engine.kill_all()
    any_slurm.cancel_all()


@pytest.fixture
def slurm_with_accounting(any_slurm: Slurm) -> Iterator[Slurm]:
    """The cluster with slurmdbd, all nodes idle."""
    any_slurm.up(accounting=True)
    yield any_slurm
    Engine.kill_all()
    any_slurm.cancel_all()
