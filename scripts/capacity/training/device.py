"""The device of a training, by Lightning Fabric, and what of a machine decides its numbers' last bits."""

import os
from typing import Any, Literal

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import LightningEnvironment

from capacity.environment import hardware as describe_hardware
from capacity.environment import usage
from capacity.errors import UserError
from capacity.jobs.allocation import follows
from capacity.models.build import device_of
from capacity.training.spec import Hardware

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"fp32": "32-true", "bf16": "bf16-mixed"}


def make_fabric(hardware: Hardware) -> Fabric:
    """The devices that a spec's hardware asks for, one process each, with deterministic algorithms and one CPU thread.

    Raises UserError for anything that this machine cannot give. SLURM's variables are not looked at: a job is one task,
    whose further processes Lightning starts on the same node.
    """
    if hardware.accelerator == "gpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts, or cuBLAS is not repeatable
    device_of(hardware.accelerator)
    devices = hardware.devices
    if hardware.accelerator == "gpu" and devices > torch.cuda.device_count():
        raise UserError(f"devices: {devices}, but torch finds {torch.cuda.device_count()} GPUs here; ask for fewer")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # All that is read was written: to fill new memory first takes a hundredth of a small step.
    torch._C._set_deterministic_fill_uninitialized_memory(False)
    if not follows():  # a port that the user's shell names would be everybody's
        os.environ.pop("MASTER_PORT", None)
        os.environ.pop("MASTER_ADDR", None)
    fabric = Fabric(
        accelerator="cuda" if hardware.accelerator == "gpu" else "cpu",
        devices=devices,
        strategy="auto" if devices == 1 else "ddp",
        precision=PRECISIONS[hardware.precision],
        plugins=[LightningEnvironment()],
    )
    fabric.launch()
    torch.set_num_threads(1)  # which a launch with several devices may have changed
    return fabric


def device_name(device: torch.device) -> str:
    """The processor's or the GPU's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else describe_hardware()["cpu"]


def numeric_conditions(device: torch.device) -> dict[str, Any]:
    """What must be equal for two processes to compute the same bits from the same spec."""
    return {
        "torch": torch.__version__,
        "device": device_name(device),
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def peak_memory_bytes(device: torch.device) -> int:
    """Of the GPU's memory, or of this process's resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return int(usage()["peak_memory_bytes"])
