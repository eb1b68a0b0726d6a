"""The GPUs of this machine, found without torch, which takes seconds to import and must not look before it forks."""

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HIDING = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Gpu:
    """One GPU. name: what CUDA_VISIBLE_DEVICES takes for it. model and memory where the driver tells them."""

    name: str
    model: str = ""
    memory_mb: int = 0


def visible_gpus(variables: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The GPUs that a job of this machine may use.

    As CUDA reads it, the variable lists indices or the beginnings of UUIDs and ends at the first that is none; an index
    counts in the order of the bus. A part of a GPU (MIG) that the driver does not list is taken as named. An AMD GPU,
    which this driver does not know, counts as one.
    """
    found = installed_gpus()
    if HIDING not in variables or not found:
        return found
    wanted = [entry.strip() for entry in variables[HIDING].split(",")]
    known = itertools.takewhile(bool, (_known(entry, found) for entry in wanted))
    return list(dict.fromkeys(gpu for gpu in known if gpu))


def _known(entry: str, found: list[Gpu]) -> Gpu | None:
    """The GPU that one entry of CUDA_VISIBLE_DEVICES means."""
    if re.fullmatch(r"\d+", entry):
        return found[int(entry)] if int(entry) < len(found) else None
    listed = next((gpu for gpu in found if entry and gpu.name.startswith(entry)), None)
    return listed or (Gpu(entry) if entry.startswith("MIG-") else None)


def installed_gpus(devices: Path = Path("/dev")) -> list[Gpu]:
    """All GPUs of this machine, hidden ones too: as the NVIDIA driver lists them, or indices of the device files."""
    try:
        return list(driver_gpus())
    except OSError:
        files = sorted(path.name for path in devices.glob("nvidia[0-9]*"))
        return [Gpu(str(index)) for index in range(len(files) or (devices / "kfd").exists())]


def driver_gpus() -> Iterator[Gpu]:
    """GPUs by the driver's library, NVML, a GPU that is cut (MIG) as its parts. Raises OSError where there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
        for index in range(pynvml.nvmlDeviceGetCount()):
            card = pynvml.nvmlDeviceGetHandleByIndex(index)
            model = pynvml.nvmlDeviceGetName(card)
            for part in list(_parts(pynvml, card)) or [card]:
                memory = pynvml.nvmlDeviceGetMemoryInfo(part).total
                yield Gpu(pynvml.nvmlDeviceGetUUID(part), model, memory // 10**6)
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise OSError(str(error)) from error


def driver_version() -> str:
    """The version of the NVIDIA driver, as NVML tells it. Raises OSError where there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
        version = str(pynvml.nvmlSystemGetDriverVersion())
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise OSError(str(error)) from error
    return version


def _parts(pynvml: Any, card: Any) -> Iterator[Any]:
    """The instances that a GPU is cut into, none where it is whole."""
    try:
        enabled = pynvml.nvmlDeviceGetMigMode(card)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
        number = pynvml.nvmlDeviceGetMaxMigDeviceCount(card) if enabled else 0
    except pynvml.NVMLError:  # a model that cannot be cut
        return
    for index in range(number):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card, index)
        except pynvml.NVMLError:  # no instance in this place
            continue


def gpus_asked(settings: Mapping[str, Any]) -> int:
    """GPUs that the settings of a training, a probe or a rewriter ask for: none on a CPU."""
    alone = settings.get("rewriter", settings).get("accelerator")
    hardware = settings.get("hardware", {"accelerator": alone, "devices": 1})
    return int(hardware["devices"]) if hardware["accelerator"] == "gpu" else 0


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
