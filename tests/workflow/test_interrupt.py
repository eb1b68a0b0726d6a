"""Ctrl-C in a terminal: the engine and its jobs end, trainings save, and the next start goes on."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import TARGETS, Checkout
from waiting import wait


def working_in(folder: Path) -> list[int]:
    """Processes whose working folder lies in a checkout, or that serve it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
@pytest.mark.parametrize("watched", [[], ["--logger", "capacity"]], ids=["plain", "live view"])
def test_ctrl_c_leaves_no_process_saves_trainings_and_says_that_it_did(tmp_path: Path, watched: list[str]):
    checkout = Checkout.new(tmp_path / "checkout")
    checkout.replace("config.yaml", "exposures: 2,", "exposures: 50000,")  # 75,000 steps
    command = [sys.executable, "-m", "snakemake", *TARGETS, "--cores", "2", *watched]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    engine = subprocess.Popen(command, cwd=checkout.path, env=checkout.environment(), process_group=0, **pipes)
    logs = checkout.path / "results" / "logs" / "train_checkpoint"
    wait(lambda: any(re.search("exposure .* of 50,?000", log.read_text()) for log in logs.glob("*.log")), 90)
    os.killpg(engine.pid, signal.SIGINT)
    said = engine.communicate(timeout=60)[0]
    assert engine.returncode != 0
    assert "stopped; everything is saved; the same command goes on" in said
    assert not re.search("Error|Exception|Traceback|failed|non-zero", said), said
    wait(lambda: not working_in(checkout.path), 20)
    told = "".join(log.read_text() for log in logs.glob("*.log"))
    assert "the state is saved" in told, told + said
    assert not (checkout.path / "results" / "capacity_table.csv").exists()
    states = {row["state"] for row in json.loads(checkout.capacity("runs", "--format", "json").stdout)}
    assert "stopped" in states
    assert "failed" not in states, told
