"""The GPUs of this machine, found without torch, which takes seconds to import and must not look before it forks."""

import itertools
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

HIDING = "CUDA_VISIBLE_DEVICES"
TIMEOUT_SECONDS = 20  # a driver that has to load first


def visible_gpus(variables: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that a job of this machine may use, each by a name that CUDA_VISIBLE_DEVICES takes for it.

    Names are UUIDs where the driver's tool lists them, else indices. As CUDA reads it, the variable lists indices or
    the beginnings of UUIDs and ends at the first that is none; a part of a GPU (MIG) is taken as named. An AMD
    GPU, which has no such tool, counts as one.
    """
    found = installed_gpus()
    if HIDING not in variables or not found:
        return found
    wanted = [entry.strip() for entry in variables[HIDING].split(",")]
    return list(itertools.takewhile(bool, (_known(entry, found) for entry in wanted)))


def _known(entry: str, found: list[str]) -> str:
    """The GPU that one entry of CUDA_VISIBLE_DEVICES means, "" for none."""
    if re.fullmatch(r"\d+", entry):
        return found[int(entry)] if int(entry) < len(found) else ""
    if entry.startswith("MIG-"):
        return entry
    return next((gpu for gpu in found if entry and gpu.startswith(entry)), "")


def installed_gpus(devices: Path = Path("/dev")) -> list[str]:
    """All GPUs of this machine, hidden ones too: UUIDs by nvidia-smi, or indices of the device files."""
    try:
        command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True)
        return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError):
        files = sorted(path.name for path in devices.glob("nvidia[0-9]*"))
        return [str(index) for index in range(len(files) or (devices / "kfd").exists())]


def lack_of_gpus(asked: int, by: str, cpu_scales: list[str]) -> str:
    """What to say where jobs that run on this machine ask for more GPUs at once than it shows; "" where they do not.

    asked: GPUs of the largest job. by: what asks for them. cpu_scales: names of scales that ask for none.
    """
    there = visible_gpus() if asked else []
    if len(there) >= asked:
        return ""
    shown = f"this machine shows {len(there) or 'none'}"
    if hidden := len(installed_gpus()) - len(there):
        shown += f" ({HIDING}={os.environ.get(HIDING, '')} hides {hidden})"
    instead = f"scale {' or '.join(cpu_scales)}" if cpu_scales else "a scale with accelerator: cpu"
    number = "a GPU" if asked == 1 else f"{asked} GPUs"
    return f"{by} needs {number}, {shown}; use {instead}, or a cluster with --profile slurm"
