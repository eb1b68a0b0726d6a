"""The values that quantised weights can take: one grid a tensor, a row or a group of inputs, set by its weights.

Shapes: R rows (outputs), C columns (inputs), G groups a row.

Symmetric integers of b bits: levels -2^(b-1) .. 2^(b-1)-1, scale = max|w| / ((2^b - 1) / 2), and the code is
round(w * (1/scale)), ties to even, then clamped. It is the symmetric grid of torchao (MappingType.SYMMETRIC),
of compressed-tensors and of GPTQ's own code. The largest weight lies half a step outside the top level.
Asymmetric: codes 0 .. 2^b-1 from the smallest to the largest weight, 0 included, with an integer zero point.
Ternary: -1, 0, 1 times the mean of |w| (BitNet b1.58, arXiv 2402.17764). fp8 is e4m3 without infinities, fp4
is e2m1 (levels 0, 0.5, 1, 1.5, 2, 3, 4, 6); their scale takes the largest weight to the largest level.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from capacity.errors import UserError
from capacity.quantization.spec import Group, HalfPrecision, Integers, Numbers, Scaled, ScaleFormat

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
SMALLEST = {"fp32": torch.finfo(torch.float32).tiny, "fp16": 2.0**-24, "bf16": torch.finfo(torch.bfloat16).tiny}
LARGEST = {"fp8": 448.0, "fp4": 6.0}


class RoundingGrid(NamedTuple):
    """Scales and zero points of one matrix.

    scale, zero: float (R or 1, G); zero is None but for asymmetric integers, scale for 16-bit floats. size:
    columns that share a scale.
    """

    numbers: Numbers
    size: int
    scale: Tensor | None
    zero: Tensor | None

    def snap(self, weight_RC: Tensor) -> Tensor:
        """The nearest value on the grid to each weight of the matrix, fp32."""
        return self._nearest(weight_RC.float(), _spread(self.scale, self.size), _spread(self.zero, self.size))

    def snap_column(self, weight_R: Tensor, column: int) -> Tensor:
        """The same for one column."""
        group = column // self.size
        scale, zero = (None if part is None else part[:, group] for part in (self.scale, self.zero))
        return self._nearest(weight_R, scale, zero)

    def _nearest(self, weight: Tensor, scale: Tensor | None, zero: Tensor | None) -> Tensor:
        numbers = self.numbers
        if scale is None:
            return weight.to(DTYPES[numbers.format]).float()
        steps = weight * scale.reciprocal()
        if isinstance(numbers, Integers):
            lowest, highest = code_range(numbers)
            if zero is None:
                return torch.round(steps).clamp(lowest, highest) * scale
            return ((torch.round(steps) + zero).clamp(lowest, highest) - zero) * scale
        return LEVELS[numbers.format](steps) * scale


def code_range(numbers: Integers) -> tuple[int, int]:
    """Lowest and highest integer code."""
    bits = numbers.bits
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if numbers.symmetric else (0, 2**bits - 1)


def make_grid(weight_RC: Tensor, numbers: Numbers) -> RoundingGrid:
    """The grid that a matrix's own weights set. Raises UserError where the group does not divide the columns."""
    num_columns = weight_RC.shape[1]
    if isinstance(numbers, HalfPrecision):
        return RoundingGrid(numbers, num_columns, None, None)
    blocks = _blocks(weight_RC.detach().float(), numbers.group)
    scale, zero = _scale_and_zero(blocks, numbers)
    return RoundingGrid(numbers, numbers.group if isinstance(numbers.group, int) else num_columns, scale, zero)


def _blocks(weight_RC: Tensor, group: Group) -> Tensor:
    """What shares a scale as the last axis, (R or 1, G, weights)."""
    if group == "tensor":
        return weight_RC.reshape(1, 1, -1)
    rows, columns = weight_RC.shape
    size = columns if group == "row" else group
    if columns % size:
        raise UserError(f"group: {size} does not divide {columns} inputs; use a divisor of {columns}, row or tensor")
    return weight_RC.reshape(rows, columns // size, size)


def _scale_and_zero(blocks: Tensor, numbers: Scaled) -> tuple[Tensor, Tensor | None]:
    if isinstance(numbers, Integers) and not numbers.symmetric:
        lowest, highest = code_range(numbers)
        smallest, largest = blocks.amin(dim=2).clamp_max(0), blocks.amax(dim=2).clamp_min(0)
        scale = _stored((largest - smallest) / (highest - lowest), numbers.scale_format)
        return scale, (lowest - torch.round(smallest / scale)).clamp(lowest, highest)
    if numbers.format == "ternary":
        return _stored(blocks.abs().mean(dim=2), numbers.scale_format), None
    largest = blocks.abs().amax(dim=2)
    if isinstance(numbers, Integers):
        lowest, highest = code_range(numbers)
        return _stored(largest / ((highest - lowest) / 2), numbers.scale_format), None
    return _stored(largest / LARGEST[numbers.format], numbers.scale_format), None


def _stored(scale: Tensor, number: ScaleFormat) -> Tensor:
    """Scales as their format holds them; zeros, which have no scale, get the smallest one."""
    return scale.to(DTYPES[number]).float().clamp_min(SMALLEST[number])


def _spread(part: Tensor | None, size: int) -> Tensor | None:
    """A scale or zero for every column; one group needs no copies."""
    return part if part is None or part.shape[1] == 1 else part.repeat_interleave(size, dim=1)


def _e4m3(steps: Tensor) -> Tensor:
    return steps.clamp(-LARGEST["fp8"], LARGEST["fp8"]).to(torch.float8_e4m3fn).float()


def _e2m1(steps: Tensor) -> Tensor:
    """Steps of 0.5 below 2, of 1 below 4, of 2 up to 6; ties to the even code, as IEEE 754 rounds."""
    size = steps.abs()
    gap = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    return (torch.round(steps / gap) * gap).clamp(-LARGEST["fp4"], LARGEST["fp4"])


# Steps of a scale to the level nearest to them, by format; integers have more to say, and their own place above.
LEVELS: dict[str, Callable[[Tensor], Tensor]] = {
    "ternary": lambda steps: torch.round(steps).clamp(-1, 1),
    "fp8": _e4m3,
    "fp4": _e2m1,
}
