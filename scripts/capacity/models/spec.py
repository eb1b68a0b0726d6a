"""What a model is built from; light enough for the main process."""

from typing import Any, Literal

from pydantic import TypeAdapter

from capacity.artefacts.settings import Settings


class ExpertSettings(Settings):
    """Experts in place of every MLP; room for an expert is capacity times top, in units of its even share of tokens."""

    count: int
    top: int
    capacity: float
    test_capacity: float
    balance: float


class PaperModel(Settings):
    """A family of the paper with every switch set; `capacity.models.architectures` says what a family sets."""

    family: Literal["gpt2", "llama", "mistral"]
    l: int
    h: int
    head_dim: int
    init_std: float
    mlp_ratio: float
    mlp: Literal["standard", "gated"]
    activation: Literal["gelu", "silu", "relu"]
    tied: bool
    norm: Literal["layer", "rms"]
    bias: bool
    kv_sharing: int
    rotary: float
    experts: ExpertSettings | None

    @property
    def d(self) -> int:
        """Width of the residual stream."""
        return self.h * self.head_dim


class TransformersModel(Settings):
    """A causal LM of transformers: model_type, and keys of its configuration."""

    hf: dict[str, Any]


class FactoryModel(Settings):
    """A module of the user's own: package.module:factory, and its keyword arguments."""

    python: str
    settings: dict[str, Any]


ExternalModel = TransformersModel | FactoryModel
ModelSettings = PaperModel | ExternalModel
MODEL: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)
EXTERNAL: TypeAdapter[ExternalModel] = TypeAdapter(ExternalModel)


def read_model(settings: dict[str, Any]) -> ModelSettings:
    """The model in a training's spec. Raises ValueError where it is none."""
    return MODEL.validate_python(settings)


def read_external(settings: dict[str, Any]) -> ExternalModel:
    """A model that is not of the paper, in a training's spec. Raises ValueError where it is of the paper."""
    return EXTERNAL.validate_python(settings)
