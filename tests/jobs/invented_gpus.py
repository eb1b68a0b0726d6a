"""A machine with GPUs that are not there: a driver's library that lists them, in place of the real one."""

from pathlib import Path

LIBRARY = '''\
"""NVML of an invented machine."""
from types import SimpleNamespace

GPUS = {gpus}
NVML_DEVICE_MIG_ENABLE = 1


class NVMLError(Exception):
    pass


def nvmlInit():
    if GPUS is None:
        raise NVMLError("no driver")


def nvmlShutdown():
    pass


def nvmlSystemGetDriverVersion():
    return "550.54.15"


def nvmlDeviceGetCount():
    return len(GPUS)


def nvmlDeviceGetHandleByIndex(index):
    return GPUS[index]


def nvmlDeviceGetMigDeviceHandleByIndex(card, index):
    if index >= len(card["parts"]):
        raise NVMLError("not found")
    return card["parts"][index]


def nvmlDeviceGetMigMode(card):
    if "parts" not in card:
        raise NVMLError("not supported")
    return [int(bool(card["parts"])), 0]


def nvmlDeviceGetMaxMigDeviceCount(card):
    return 7


def nvmlDeviceGetUUID(card):
    return card["uuid"]


def nvmlDeviceGetName(card):
    return card.get("name", "NVIDIA A100-SXM4-40GB")


def nvmlDeviceGetMemoryInfo(card):
    return SimpleNamespace(total=card.get("memory", 40 * 10**9))
'''
TWO = ["GPU-aa11", "GPU-bb22"]


def invent(folder: Path, gpus: list[dict] | None) -> Path:
    """Put the library of a machine with these GPUs into a folder of modules; None: a machine without a driver."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pynvml.py").write_text(LIBRARY.replace("{gpus}", repr(gpus)))
    return folder
