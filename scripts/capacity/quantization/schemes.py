"""What a quantisation scheme says, as plain numbers; light enough for the main process.

A scheme is {"method": "none"}, or method "rtn" or "gptq" with
  format: "int" (with bits, 2 to 8, and symmetric or not), "ternary", "fp8" (e4m3), "fp4" (e2m1), "fp16", "bf16"
  group: what shares a scale: "tensor", "row" (all weights of one output), or a number of inputs
  tensors: which tensors are quantised, some of ROLES
  scale_format: how scales are stored, "fp32", "fp16" or "bf16"
  rest: what tensors that are not quantised are rounded to, "fp16" or "bf16"; None leaves them as trained
and gptq also damping, act_order and calibration, a number of biographies.
"""

from collections.abc import Collection
from typing import Any, Literal, get_args

from capacity.errors import UserError

Scheme = dict[str, Any]

# other: every further tensor with two dimensions or more, such as convolutions and matrices that belong to no layer.
Role = Literal["linear", "head", "embeddings", "router", "experts", "other"]
ROLES: tuple[Role, ...] = get_args(Role)
TIED = "tied"  # the role of one tensor that is embeddings and head
MIN_BITS, MAX_BITS = 2, 8
HALF_PRECISION = ("fp16", "bf16")  # formats without a scale
FORMAT_BITS = {"fp16": 16, "bf16": 16, "fp8": 8, "fp4": 4, "ternary": 1.6}  # ternary: five digits in a byte, 3^5 < 2^8
FULL_BITS = 32  # a weight as trained


def weight_bits(scheme: Scheme) -> float:
    """Bits of one quantised weight, without its share of a scale; 32 where weights stay as trained."""
    if scheme["method"] == "none":
        return FULL_BITS
    return scheme["bits"] if scheme["format"] == "int" else FORMAT_BITS[scheme["format"]]


def check_tensors(scheme: Scheme, roles: Collection[str]) -> None:
    """Raise UserError where a scheme names none of a model's roles, or one of the two that a tied tensor has."""
    tensors, named = set(scheme["tensors"]), ", ".join(scheme["tensors"])
    if len(tensors & {"head", "embeddings"}) == 1 and TIED in roles:
        raise UserError(f"tensors: {named}; head and embeddings of this model are one tensor: name both or neither")
    if not tensors & {*roles, *(("head",) if TIED in roles else ())}:
        raise UserError(f"tensors: {named}; this model has none of them")


def needs_text(scheme: Scheme) -> bool:
    """Whether the scheme is calibrated on biographies."""
    return scheme["method"] == "gptq"


def scheme_slug(scheme: Scheme) -> str:
    """A scheme in a few letters, for folder names; schemes of one slug differ in their digests."""
    if scheme["method"] == "none":
        return "none"
    number = str(scheme["bits"]) if scheme["format"] == "int" else f"-{scheme['format']}"
    group = scheme.get("group", "row")
    return f"{scheme['method']}{number}" + ("" if group == "row" else f"-{group}")
