"""What a training is described by; light enough for the main process."""

from typing import Literal

from pydantic import Field

from capacity.artefacts.settings import Settings
from capacity.models.spec import ModelSettings
from capacity.quantization.spec import RoundToNearest

CHUNK_LOGITS = 2**24  # made at once where the loss is in chunks, at most


class Hardware(Settings):
    """The devices of one machine that a training uses. auto: as `training/executed.py` decides there."""

    accelerator: Literal["cpu", "gpu"]
    precision: Literal["fp32", "bf16"]
    devices: int
    attention: Literal["auto", "eager", "fused", "short"]
    loss: Literal["auto", "whole", "chunked"]
    compile: bool | Literal["auto", "reduce-overhead"]


class Descent(Settings):
    """How weights follow the gradient: AdamW, clipping, and the learning rate of every step."""

    lr: float
    warmup_steps: int
    final_lr_fraction: float
    schedule: Literal["cosine", "linear"]
    weight_decay: float
    betas: tuple[float, float]
    eps: float
    clip: float | None


class QuantizedTraining(Settings):
    """start: the share of the training after which every forward pass sees weights rounded by the scheme."""

    scheme: RoundToNearest
    start: float


class TrainingRegime(Descent):
    """What is seen in which order, and how it is learned.

    document_mask: tokens of a window attend to their own biography alone. momentum: Muon's; None is its usual one.
    """

    exposures: int
    zipf: float | None
    batch: int
    packing: Literal["rows", "windows"]
    context: int | None
    document_mask: bool
    optimizer: Literal["adamw", "muon", "schedule-free"]
    momentum: float | None
    quantization: QuantizedTraining | None


class TrainingSettings(Settings):
    """One training. files: the source of a model of one's own, by content."""

    model: ModelSettings
    regime: TrainingRegime
    hardware: Hardware
    seed: int
    files: dict[str, str] = Field(default_factory=dict)
