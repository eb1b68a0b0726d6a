"""Quantisation schemes, as `config.yaml` describes them."""

from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from capacity.config.validation import Count, Section, problem, unique
from capacity.quantization.spec import (
    MAX_BITS,
    MIN_BITS,
    ROLES,
    FewLevels,
    Gptq,
    HalfFormat,
    HalfPrecision,
    Integers,
    Numbers,
    Role,
    RoundToNearest,
    Scheme,
    Unquantized,
)

PAPER_CALIBRATION = 1000  # biographies: arXiv 2404.05405, Section 7


def _group(value: int | str) -> int | str:
    if value not in ("row", "tensor") and not (isinstance(value, int) and value > 0):
        raise problem(f"{value!r} is not allowed; use row, tensor, or a number of inputs")
    return value


# Options of a quantizer that each choice leaves without a meaning.
IGNORED_OPTIONS: dict[str, tuple[str, ...]] = {
    "method: none": (
        *("bits", "format", "symmetric", "group", "tensors", "scale_format", "rest"),
        *("damping", "act_order", "calibration"),
    ),
    "method: rtn": ("damping", "act_order", "calibration"),
    **{f"format: {name}": ("bits", "symmetric") for name in ("ternary", "fp8", "fp4")},
    **{f"format: {name}": ("bits", "symmetric", "group", "scale_format") for name in get_args(HalfFormat)},
}


class Quantizer(Section):
    """A scheme that turns a checkpoint into a variant."""

    method: Literal["none", "rtn", "gptq"] = Field(
        description="none: the checkpoint itself. rtn: round to nearest. gptq: GPTQ on the same grid; embeddings, a "
        "tied head and `other` tensors are rounded to nearest."
    )
    bits: Annotated[int, Field(ge=MIN_BITS, le=MAX_BITS)] | None = Field(
        None, description="Bits a weight, of format int."
    )
    format: Literal["int", "ternary", "fp8", "fp4", "fp16", "bf16"] = Field(
        "int",
        description="Numbers that weights become. fp8 is e4m3, fp4 is e2m1; ternary is -s, 0 or s, "
        "where s is the mean size of the weights.",
    )
    symmetric: bool = Field(
        True, description="Integer levels on both sides of 0; false: from the smallest to the largest."
    )
    group: Annotated[int | str, AfterValidator(_group)] = Field(
        "row",
        description="What shares a scale: row (all weights of an output), tensor, or a number of inputs, which must "
        "divide the layers' widths.",
    )
    tensors: Annotated[list[Role], Field(min_length=1), AfterValidator(unique)] = Field(
        list(ROLES),
        description="Which tensors are quantised. linear: matrices that inputs are multiplied by, those of recurrent "
        "layers and of attention too. other: all else with two dimensions or more, such as convolutions. A tied head "
        "is head and embeddings at once: both or neither. Biases, norms and other vectors stay as they are.",
    )
    scale_format: Literal["fp32", "fp16", "bf16"] = Field("fp32", description="How scales are stored.")
    rest: Literal["fp16", "bf16"] | None = Field(
        None, description="What all other tensors are rounded to; null leaves them as trained."
    )
    damping: Annotated[float, Field(ge=1e-6, le=1)] = Field(
        0.01, description="gptq: added to the diagonal of x x^T, as a share of its mean."
    )
    act_order: bool = Field(True, description="gptq: columns of the largest inputs first.")
    calibration: Count | None = Field(
        None, description="gptq: people whose biographies it calibrates on; null is the paper's 1000, or all of fewer."
    )

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        """Refuse an option that would be ignored, and bits where they are missing."""
        for choice in (f"method: {self.method}", f"format: {self.format}"):
            for option in IGNORED_OPTIONS.get(choice, ()):
                if option in self.model_fields_set and getattr(self, option) is not None:
                    raise problem(f"{option}: {getattr(self, option)} with {choice}, which takes none; remove {option}")
        if self.method != "none" and self.format == "int" and self.bits is None:
            raise problem(f"bits: missing; method: {self.method} with integers needs bits, {MIN_BITS} to {MAX_BITS}")
        if self.method == "gptq" and self.format in get_args(HalfFormat):
            raise problem(f"format: {self.format} with method: gptq; rounding to {self.format} needs method: rtn")
        return self

    def to_settings(self, people: int, seed: int) -> Scheme:
        """The scheme as the quantizer reads it."""
        if self.method == "none":
            return Unquantized(method="none")
        tensors = tuple(role for role in ROLES if role in self.tensors)
        nearest = RoundToNearest(method="rtn", numbers=self._numbers(), tensors=tensors, rest=self.rest)
        if self.method == "rtn":
            return nearest
        return Gptq(
            **{**dict(nearest), "method": "gptq"},
            damping=self.damping,
            act_order=self.act_order,
            calibration=self.calibration or min(PAPER_CALIBRATION, people),
            seed=seed,
        )

    def _numbers(self) -> Numbers:
        scaled = {"group": self.group, "scale_format": self.scale_format}
        if self.format == "int":
            assert self.bits is not None, "checked"
            return Integers(format="int", bits=self.bits, symmetric=self.symmetric, **scaled)
        if self.format in get_args(HalfFormat):
            return HalfPrecision(format=self.format)
        return FewLevels(format=self.format, **scaled)
