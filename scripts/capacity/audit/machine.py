"""Level 6: the machine and packages that audit, against those that made the artefacts and against the lock.

Another class of hardware does not fail an audit: it lowers what re-execution is expected to give from equal bits to
numbers within tolerance.
"""

import functools
from collections import Counter
from importlib import metadata
from pathlib import PurePath
from typing import Any

from capacity.audit.findings import Level
from capacity.audit.folder import Folder, Manifest
from capacity.environment import REPOSITORY, environment, hardware
from capacity.jobs.gpus import driver_version, installed_gpus

LOCK = REPOSITORY / "envs" / "requirements.txt"
FORMATS = {".parquet": "pyarrow", ".safetensors": "safetensors"}  # which note their own version in a file


def check_machine(folder: Folder) -> Level:
    """What is here, what was there, and what that means for bits."""
    level = Level(6)
    here, machine = environment(), hardware()
    level.facts |= {
        "python": here["python"],
        "system": machine["system"],
        "processor": machine["cpu"],
        "cores": machine["cores"],
        "GPU and driver": _gpus() or "none",
        "variables": here["variables"],
    }
    _against_lock(level)
    manifests = [artefact.manifest for artefact in folder.behind_published()]
    for title, value in _MADE_WITH.items():
        level.facts[f"made with, {title}"] = dict(Counter(str(value(manifest)) for manifest in manifests))
    found = machine_differences(folder)
    for difference in found:
        level.note("other machine", "lineage", difference)
    level.facts["expected of re-execution"] = "within tolerance" if found else "equal bits"
    return level


_MADE_WITH = {
    "python": lambda m: m.environment.get("python"),
    "processor": lambda m: m.hardware.get("cpu"),
    "device": lambda m: m.metrics.get("device", "not told"),
    "threads": lambda m: _variable(m, "OMP_NUM_THREADS"),
    "host": lambda m: m.hardware.get("host"),
}


def _variable(manifest: Manifest, name: str) -> Any:
    variables = manifest.environment.get("variables")
    return variables.get(name) if isinstance(variables, dict) else None


def machine_differences(folder: Folder) -> list[str]:
    """Why this machine is not expected to give the same bits, and of how many artefacts; empty where it is."""
    found = Counter(words for artefact in folder.behind_published() for words in own_differences(artefact.manifest))
    return [f"{words} ({number} artefacts)" for words, number in found.items()]


def own_differences(manifest: Manifest) -> list[str]:
    """Why an artefact's job is not expected to give the same bits here, from the same parents; empty where it is."""
    here, cpu, found = environment(), hardware()["cpu"], list[str]()
    made_on = str(manifest.metrics.get("device") or manifest.hardware.get("cpu"))
    if made_on != cpu and made_on not in _gpus():
        found.append(f"made on {made_on}, audited on {cpu}")
    packages = manifest.environment.get("packages")
    formats = {FORMATS[suffix] for file in manifest.outputs if (suffix := PurePath(file).suffix) in FORMATS}
    for name in dict.fromkeys([*manifest.packages, *sorted(formats)]):
        made = packages.get(name) if isinstance(packages, dict) else None
        now = here["packages"].get(name)
        if name in here["packages"] and made != now:
            found.append(f"made with {name} {made}, audited with {now}")
    return found


@functools.cache
def _gpus() -> str:
    """Models and driver of the GPUs, or nothing."""
    models = [gpu.model for gpu in installed_gpus() if gpu.model]
    return "; ".join([*models, f"driver {driver_version()}"]) if models else ""


def _against_lock(level: Level) -> None:
    """Installed packages that differ from the lock. A pin that is not installed is for another platform or purpose."""
    if not LOCK.is_file():
        level.warn("not the lock", "envs/requirements.txt", "is not in this tree, so nothing was compared with it")
        return
    pins = dict(line.strip().split("==") for line in LOCK.read_text().splitlines() if "==" in line and line[0] != "#")
    absent = 0
    for name, pinned in pins.items():
        try:
            installed = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            absent += 1
            continue
        if installed != pinned.strip():
            level.warn("not the lock", f"{name}=={pinned.strip()}", f"{installed} is installed here")
    level.facts["packages of the lock"] = f"{len(pins) - absent} of {len(pins)} installed"
