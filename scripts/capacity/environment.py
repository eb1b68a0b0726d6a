"""What a job ran on: interpreter, packages, machine, threads, git state. Written down, never part of an identity."""

import functools
import os
import platform
import resource
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDED_PACKAGES = (
    "lightning",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "safetensors",
    "snakemake",
    "tokenizers",
    "torch",
    "transformers",
)
RECORDED_VARIABLES = (
    "OMP_NUM_THREADS",
    "GLIBC_TUNABLES",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "SLURM_JOB_ID",
    "SLURM_RESTART_COUNT",
    "SLURMD_NODENAME",
)


def python_path(library: Path) -> str:
    """PYTHONPATH for a process that this one starts: a library first, then what the user set."""
    return os.pathsep.join(filter(None, [str(library), os.environ.get("PYTHONPATH")]))


@functools.cache
def environment() -> dict[str, Any]:
    """Interpreter, package versions and variables that a reader may need to explain a difference."""
    packages: dict[str, str | None] = {}
    for name in RECORDED_PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    variables = {name: os.environ[name] for name in RECORDED_VARIABLES if name in os.environ}
    return {"python": platform.python_version(), "packages": packages, "variables": variables}


@functools.cache
def hardware() -> dict[str, Any]:
    """The machine, as far as the operating system shows it without a GPU library."""
    return {"host": socket.gethostname(), "system": platform.platform(), "cpu": _cpu_name(), "cores": os.cpu_count()}


def usable_cores() -> int:
    """Cores that this process may run on, where the system tells them; else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_kind() -> str:
    """What of a processor decides the code that is compiled for it: its name, and what it can do."""
    flags = _said_of_the_cpu("flags") or _said_of_the_cpu("Features") or ""
    return f"{_cpu_name()} {flags} {os.environ.get('ATEN_CPU_CAPABILITY', '')}"


def _cpu_name() -> str:
    return _said_of_the_cpu("model name") or platform.processor() or platform.machine()


def _said_of_the_cpu(key: str) -> str | None:
    """What Linux says of the first core."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == key), None)


@functools.cache
def git_state() -> dict[str, Any]:
    """The commit and whether tracked files differ from it; None where the tree is no git checkout."""

    def git(*words: str) -> str | None:
        command = ["git", "-C", str(REPOSITORY), *words]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    changes = git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {"commit": commit, "dirty": bool(changes) if commit else None}


def usage() -> dict[str, float]:
    """CPU seconds of this process and its finished children, and the process's peak resident memory in bytes."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    unit = 1 if sys.platform == "darwin" else 1024
    return {"cpu_seconds": round(seconds, 3), "peak_memory_bytes": own.ru_maxrss * unit}
