"""Jobs, their shells, the forks that do their work, the server of these and the engine itself are killed at random
instants; the finished table is that of a quiet run."""

import csv
import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkout import TARGETS, Checkout

KINDS = ("job", "shell", "engine", "work", "server")
ROUNDS = int(os.environ.get("KILLS", "15")) // len(KINDS)  # one of each; KILLS=90 looks longer
LONGEST = 12.0  # seconds; about half of a whole run of the tiny configuration


def descendants(pid: int) -> list[tuple[int, str]]:
    """Processes below one, with their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (OSError, IndexError):
                continue
            found.append((int(entry.name), parent, command))
    below, frontier = [], {pid}
    while frontier:
        step = [(child, command) for child, parent, command in found if parent in frontier]
        below += step
        frontier = {child for child, _ in step}
    return below


def victim(engine: int, kind: str) -> int | None:
    """A process of the kind: the engine, a job's Python, the shell above it, the fork that works for it, its server."""
    if kind == "engine":
        return engine
    below = descendants(engine)
    forks = [pid for pid, command in below if "capacity.jobs.fork_server" in command]  # the server is the first
    jobs = [(pid, command) for pid, command in below if "scripts/" in command]
    is_shell = ["bash" in command.split()[0] for _, command in jobs]
    shells = [pid for (pid, _), shell in zip(jobs, is_shell, strict=True) if shell]
    pythons = [pid for (pid, _), shell in zip(jobs, is_shell, strict=True) if not shell]
    wanted = {"job": pythons, "shell": shells, "work": forks[1:], "server": forks[:1]}[kind]
    return random.choice(wanted) if wanted else None


def run_and_kill(checkout: Checkout, kind: str, instant: float) -> str:
    """Start the engine, kill one process at an instant, wait until all that was started has ended."""
    command = [sys.executable, "-m", "snakemake", *TARGETS, "--cores", "2"]
    log = open(checkout.path / "engine.log", "w")
    engine = subprocess.Popen(command, cwd=checkout.path, env=checkout.environment(), stdout=log, stderr=log)
    time.sleep(instant)
    family = [pid for pid, _ in descendants(engine.pid)]
    target = victim(engine.pid, kind) if engine.poll() is None else None
    if target is not None:
        os.kill(target, signal.SIGKILL)
    engine.wait(timeout=120)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in family) and time.monotonic() < deadline:
        time.sleep(0.2)
    return "killed" if target is not None else "nothing to kill at that instant"


@pytest.mark.parametrize("number", range(ROUNDS))
def test_kills_at_any_instants_change_no_number(built: Checkout, tmp_path: Path, number: int):
    random.seed(number)
    checkout = Checkout.new(tmp_path / "checkout")
    for kind in random.sample(KINDS, len(KINDS)):
        run_and_kill(checkout, kind, random.uniform(1.5, LONGEST))
    checkout.build()
    assert checkout.table() == built.table()
    assert checkout.planned() == set()
    runs = list(csv.DictReader(io.StringIO(checkout.capacity("runs", "--format", "csv").stdout)))
    assert {run["state"] for run in runs} == {"done"}, runs
