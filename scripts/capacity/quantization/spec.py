"""What a quantisation scheme says; light enough for the main process."""

from collections.abc import Collection
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, TypeAdapter

from capacity.artefacts.settings import Settings
from capacity.errors import UserError

# other: every further tensor with two dimensions or more, such as convolutions and matrices that belong to no layer.
Role = Literal["linear", "head", "embeddings", "router", "experts", "other"]
ROLES: tuple[Role, ...] = get_args(Role)
TIED = "tied"  # the role of one tensor that is embeddings and head
MIN_BITS, MAX_BITS = 2, 8
FORMAT_BITS = {"fp8": 8, "fp4": 4, "ternary": 1.6}  # ternary: five digits in a byte, 3^5 < 2^8

Group = int | Literal["tensor", "row"]  # what shares a scale: a number of inputs, or all weights of one output
HalfFormat = Literal["fp16", "bf16"]
ScaleFormat = Literal["fp32", "fp16", "bf16"]


class Integers(Settings):
    """Integers times a scale."""

    format: Literal["int"]
    bits: int
    symmetric: bool
    group: Group
    scale_format: ScaleFormat


class FewLevels(Settings):
    """A few fixed numbers times a scale: -1, 0, 1; e4m3; e2m1."""

    format: Literal["ternary", "fp8", "fp4"]
    group: Group
    scale_format: ScaleFormat


class HalfPrecision(Settings):
    """Floats of 16 bits, without a scale."""

    format: HalfFormat


Scaled = Integers | FewLevels
Numbers = Annotated[Scaled | HalfPrecision, Field(discriminator="format")]


class Unquantized(Settings):
    """The checkpoint itself."""

    method: Literal["none"]


class _Rounding(Settings):
    """Which tensors become such numbers.

    rest: what tensors that are not quantised are rounded to; None leaves them as trained.
    """

    numbers: Numbers
    tensors: tuple[Role, ...]
    rest: HalfFormat | None


class RoundToNearest(_Rounding):
    """Every weight becomes the number that is nearest to it."""

    method: Literal["rtn"]


class Gptq(_Rounding):
    """GPTQ on the same numbers. calibration: people whose biographies it sees, drawn by seed."""

    method: Literal["gptq"]
    damping: float
    act_order: bool
    calibration: int
    seed: int

    def to_nearest(self) -> RoundToNearest:
        """The same numbers without calibration."""
        return RoundToNearest(method="rtn", numbers=self.numbers, tensors=self.tensors, rest=self.rest)


Rounding = RoundToNearest | Gptq
Scheme = Annotated[Unquantized | Rounding, Field(discriminator="method")]
SCHEME: TypeAdapter[Scheme] = TypeAdapter(Scheme)


class VariantSet(Settings):
    """Of the set of a checkpoint's variants: nothing, its members have the schemes."""


def read_scheme(settings: dict[str, Any]) -> Scheme:
    """The scheme in a variant's spec. Raises ValueError where it is none."""
    return SCHEME.validate_python(settings)


def weight_bits(numbers: Numbers) -> float:
    """Bits of one quantised weight, without its share of a scale."""
    if isinstance(numbers, Integers):
        return numbers.bits
    return 16 if isinstance(numbers, HalfPrecision) else FORMAT_BITS[numbers.format]


def scheme_slug(scheme: Scheme) -> str:
    """A scheme in a few letters, for folder names; schemes of one slug differ in their digests."""
    if isinstance(scheme, Unquantized):
        return "none"
    numbers = scheme.numbers
    number = str(numbers.bits) if isinstance(numbers, Integers) else f"-{numbers.format}"
    group = "row" if isinstance(numbers, HalfPrecision) else numbers.group
    return f"{scheme.method}{number}" + ("" if group == "row" else f"-{group}")


def check_tensors(scheme: Rounding, roles: Collection[str]) -> None:
    """Raise UserError where a scheme names none of a model's roles, or one of the two that a tied tensor has."""
    tensors, named = set(scheme.tensors), ", ".join(scheme.tensors)
    if len(tensors & {"head", "embeddings"}) == 1 and TIED in roles:
        raise UserError(f"tensors: {named}; head and embeddings of this model are one tensor: name both or neither")
    if not tensors & {*roles, *(("head",) if TIED in roles else ())}:
        here = ", ".join(role for role in ROLES if role in {*roles, *(("head", "embeddings") if TIED in roles else ())})
        raise UserError(f"tensors: {named}; this model has none of them, but {here}; what makes the logits is the head")
