"""Models, as `config.yaml` describes them: the paper's notation with switches, or an external model."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from capacity.config.validation import Count, Section, plain, problem, shown
from capacity.models.architectures import FAMILIES, mlp_width, paper_model, sizes
from capacity.models.spec import FactoryModel, ModelSettings, PaperModel, TransformersModel

MODEL_TYPE = re.compile(r"[A-Za-z][\w.-]{0,99}", re.ASCII)
ARCHITECTURE = re.compile(rf"({'|'.join(FAMILIES)})-([1-9]\d*)-([1-9]\d*)")
MOST_LAYERS = MOST_HEADS = 1000
MOST_WIDTH = 1_000_000
Architecture = Annotated[str, StringConstraints(pattern=rf"^{ARCHITECTURE.pattern}$", max_length=100)]
Factory = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$", max_length=100)]
Width = Annotated[int, Field(gt=0, le=MOST_WIDTH)]
SIZES = ("head_dim", "width")
SWITCHES = ("init_std", "mlp_ratio", "mlp", "activation", "tied", "norm", "bias", "kv_sharing", "rotary", "experts")


class Experts(Section):
    """Experts in place of every MLP, each of the size that mlp_ratio gives; the paper's are d -> d -> d."""

    count: Annotated[int, Field(ge=2, le=10_000)] = Field(description="Experts a layer; the paper's GPT-2 has 32.")
    top: Count = Field(1, description="Experts that a token is sent to.")
    capacity: Annotated[float, Field(gt=0)] = Field(
        2.0,
        description="Room in training: an expert takes top * capacity times its even share of a batch's tokens; "
        "what comes after is dropped.",
    )
    test_capacity: Annotated[float, Field(gt=0)] = Field(
        8.0,
        description="The same when the model is probed. Below `count`, what is scored together competes for room, so "
        "that scores depend a little on it, and on the device.",
    )
    balance: Annotated[float, Field(ge=0)] = Field(
        0.01, description="Weight of the load-balancing loss, summed over layers; the paper does not say its own."
    )

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.top >= self.count:
            raise problem(f"top: {self.top} of {self.count} experts; use fewer than count")
        return self


class Model(Section):
    """An architecture in the paper's notation with switches that change it, or any other model by `hf` or `python`."""

    architecture: Architecture | None = Field(
        None,
        description="<family>-<l>-<h>: l layers, h heads. gpt2: GPT-2 with rotary positions. llama: gated MLP, "
        "RMSNorm, no biases, head not tied. mistral: llama with a wider MLP and shared key and value heads.",
    )
    head_dim: Annotated[int, Field(gt=0, le=MOST_WIDTH, multiple_of=2)] | None = Field(
        None, description="Width of a head, even; 64 (the paper's) unless width is given."
    )
    width: Width | None = Field(None, description="Width d, instead of head_dim = d / h.")
    init_std: Annotated[float, Field(gt=0, le=1)] = Field(
        0.02,
        description="Standard deviation of the initial weights. GPT-2's 0.02 suits widths near 1000; about 1/sqrt(d) "
        "learns twice as fast at widths near 16.",
    )
    mlp_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0,
        description="Size of the MLP as a share of the architecture's own; 0.25 is d -> d -> d in gpt2, 0 is no MLP.",
    )
    mlp: Literal["standard", "gated"] | None = Field(
        None,
        description="standard: d -> m -> d. gated: the activation of one projection times another. Both hold as many "
        "parameters, to the nearest hidden unit. Unless given, as in the architecture.",
    )
    activation: Literal["gelu", "silu", "relu"] | None = Field(
        None, description="Activation of the MLP; gelu is GPT-2's tanh form. Unless given, as in the architecture."
    )
    tied: bool | None = Field(
        None, description="Whether the head is the embedding. Unless given, as in the architecture."
    )
    norm: Literal["layer", "rms"] | None = Field(
        None, description="layer: LayerNorm with bias. rms: RMSNorm. Unless given, as in the architecture."
    )
    bias: bool | None = Field(
        None, description="Whether linear layers have biases. Unless given, as in the architecture."
    )
    kv_sharing: Count | None = Field(
        None,
        description="Query heads that share a key and a value head; divides h. Unless given, as in the architecture: "
        "1; in mistral 4 where 4 divides h, else 2 where 2 does.",
    )
    rotary: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0, description="Share of a head's channels that turn with the position; 0 is no positions at all."
    )

    experts: Experts | None = Field(None, description="Experts in place of every MLP; null: none.")
    hf: Annotated[dict[str, Any], AfterValidator(plain)] | None = Field(
        None,
        description="Instead of architecture: model_type of any causal LM of transformers, and keys of its "
        "configuration, for example {model_type: mamba, hidden_size: 16, num_hidden_layers: 2}. Weights are new.",
    )
    python: Factory | None = Field(
        None,
        description="Instead of architecture: package.module:factory in the project folder. The factory is called with "
        "vocab_size, context and settings and returns a torch module from token ids (B, T) to logits (B, T, V).",
    )
    settings: Annotated[dict[str, Any], AfterValidator(plain)] | None = Field(
        None, description="Keyword arguments of the factory that python names."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [key for key in ("architecture", "hf", "python") if getattr(self, key) is not None]
        if len(given) != 1:
            raise problem(f"{' and '.join(given) or 'no'} model given; give one of architecture, hf, python")
        allowed = {"architecture": {"architecture", *SIZES, *SWITCHES}, "hf": {"hf"}, "python": {"python", "settings"}}
        for key in sorted(self.model_fields_set - allowed[given[0]]):
            raise problem(f"{key}: given with {given[0]}, where it says nothing; remove {key}")
        if self.hf is not None and not MODEL_TYPE.fullmatch(str(self.hf.get("model_type", ""))):
            raise problem(
                "hf: needs model_type, the name of a causal LM in transformers, for example model_type: mamba"
            )
        if self.hf is not None and (layers := sizes(TransformersModel(hf=self.hf))["l"] or 0) > MOST_LAYERS:
            raise problem(f"hf: {layers} layers; use at most {MOST_LAYERS}")
        return self

    @field_validator("hf", mode="before")
    @classmethod
    def _no_download(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise problem(
                f"hf: {shown(value)} would be fetched from a network; give its configuration, {{model_type: ..., ...}}"
            )
        return value

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if not self.architecture:
            return self
        _, layers, heads = self._shape()
        if layers > MOST_LAYERS or heads > MOST_HEADS:
            raise problem(f"architecture: {self.architecture}; use at most {MOST_LAYERS} layers and {MOST_HEADS} heads")
        if self.width is not None and self.head_dim is not None:
            raise problem(f"width: {self.width} and head_dim: {self.head_dim} are both given; keep one")
        if self.width is not None and self.width % (2 * heads):
            raise problem(
                f"width: {self.width} does not give {heads} heads an even width; use a multiple of {2 * heads}"
            )
        if self.kv_sharing is not None and heads % self.kv_sharing:
            raise problem(f"kv_sharing: {self.kv_sharing} does not divide {heads} heads; use a divisor of {heads}")
        return self

    @model_validator(mode="after")
    def _applies(self) -> Self:
        settings = self.to_settings()
        if not isinstance(settings, PaperModel):
            return self
        turning = self.rotary * settings.head_dim
        if turning != int(turning) or int(turning) % 2:
            raise problem(
                f"rotary: {self.rotary} of head_dim {settings.head_dim} is {turning:g} channels; use an even number"
            )
        if self.experts and settings.mlp == "gated":
            raise problem("experts: with a gated mlp; experts are standard MLPs, add mlp: standard")
        if self.mlp_ratio == 0 and (self.mlp or self.activation or self.experts):
            key = next(key for key in ("mlp", "activation", "experts") if getattr(self, key))
            raise problem(f"{key}: given with mlp_ratio: 0, which has no MLP; remove {key}")
        if self.mlp_ratio > 0 and mlp_width(settings) == 0:
            raise problem(
                f"mlp_ratio: {self.mlp_ratio} rounds to no hidden unit at this width; use 0 or a larger ratio"
            )
        return self

    def _shape(self) -> tuple[str, int, int]:
        """Family, layers, heads."""
        assert self.architecture
        family, layers, heads = self.architecture.rsplit("-", 2)
        return family, int(layers), int(heads)

    def label(self) -> str:
        """A name for folders."""
        if self.hf:
            return str(self.hf["model_type"]).replace("_", "-")
        return self.architecture or (self.python or "").replace(".", "-").replace(":", "-").replace("_", "-")

    def to_settings(self) -> ModelSettings:
        """The model as training reads it, every switch set."""
        if self.hf:
            return TransformersModel(hf=self.hf)
        if self.python:
            return FactoryModel(python=self.python, settings=self.settings or {})
        family, layers, heads = self._shape()
        head_dim = self.width // heads if self.width else self.head_dim or 64
        switches = self.model_dump(include=set(SWITCHES), exclude_none=True)
        return paper_model(family, layers, heads, head_dim, **switches)
