"""How a training computes where `auto` leaves it open: decided where the job runs, by what that machine has.

It moves rounding alone, so no identity depends on it; a manifest records it, and an audit compares it.
"""

import functools
import shutil
from typing import Literal

from capacity.artefacts.settings import Settings
from capacity.errors import UserError
from capacity.kernels.attention import MAX_CHANNELS, MAX_TOKENS
from capacity.models.spec import PaperModel
from capacity.training.spec import TrainingSettings

FUSED_FROM = 64  # tokens; on shorter rows the fused kernel is slower
CHUNKED_FROM = 2**26  # logits of a step on one device; with softmax and gradient they take a GB
COMPILE_PAYS_FROM = 2000  # steps; compiling costs a job about as much as it saves over so many steps

Compile = bool | Literal["reduce-overhead"]  # which is true, with CUDA graphs


class Execution(Settings):
    """What a training does for attention, loss and compiling."""

    attention: Literal["eager", "fused", "short"]
    loss: Literal["whole", "chunked"]
    compile: Compile


def decide(training: TrainingSettings, context: int, V: int, steps: int) -> Execution:
    """What a training's hardware asks for, each `auto` decided. context: T in tokens. steps: of the whole training.

    Raises UserError where this machine has no C++ compiler and `attention: short` needs one.
    """
    hardware, own = training.hardware, not isinstance(training.model, PaperModel)
    attention, loss, compiled = hardware.attention, hardware.loss, hardware.compile
    if attention == "short" and not has_compiler():
        raise UserError("attention: short, but there is no C++ compiler on this machine; install g++ or use eager")
    if loss == "auto":
        large = training.regime.batch // hardware.devices * context * V >= CHUNKED_FROM
        loss = "chunked" if hardware.accelerator == "gpu" and not own and large else "whole"
    if compiled == "auto":  # not every external model is one graph
        compiled = not own and steps >= COMPILE_PAYS_FROM and has_compiler()
    if attention == "auto":
        attention = _fastest_attention(training, context, compiled)
    return Execution(attention=attention, loss=loss, compile=compiled)


def _fastest_attention(
    training: TrainingSettings, context: int, compiled: Compile
) -> Literal["eager", "fused", "short"]:
    model = training.model
    if not isinstance(model, PaperModel):
        return "eager"
    if training.hardware.accelerator == "gpu":
        return "fused" if context >= FUSED_FROM else "eager"
    fits = context <= MAX_TOKENS and model.head_dim <= MAX_CHANNELS and not training.regime.document_mask
    return "short" if compiled and fits else "eager"


@functools.cache
def has_compiler() -> bool:
    """Whether a C++ compiler that torch.compile can use on a CPU is on PATH."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
