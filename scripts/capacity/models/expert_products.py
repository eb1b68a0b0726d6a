"""Products of experts on a CPU, of the rows that they took alone, where matrices are large enough to gain by it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from capacity.kernels import library
from capacity.models import modeling_switched

_multiply_all = modeling_switched.multiply_taken
FEWEST_NUMBERS = 64 * 64  # of a matrix: with smaller ones calls take longer than the products that are left out


def multiply_taken(rows_ECd: Tensor, matrices_Emd: Tensor, taken_E: Tensor) -> Tensor:
    """As `modeling_switched.multiply_taken`, zeros where no row was taken.

    In bfloat16, and with small matrices, all rows are multiplied at once: each call of such a product takes 10 us.
    `library.load` must have been called. Differentiable once.
    """
    of_one = matrices_Emd.shape[1] * matrices_Emd.shape[2]
    rounded = rows_ECd.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
    if rounded or of_one < FEWEST_NUMBERS:
        return _multiply_all(rows_ECd, matrices_Emd, taken_E)
    return _MultiplyTaken.apply(rows_ECd, matrices_Emd, taken_E)


@contextmanager
def experts_in_the_kernel() -> Iterator[None]:
    """While torch.compile traces a model for a CPU: its experts multiply the rows that they took."""
    with patch.object(modeling_switched, _multiply_all.__name__, multiply_taken):
        yield


class _MultiplyTaken(torch.autograd.Function):
    """The kernel, with its own products as gradients."""

    @staticmethod
    def forward(rows: Tensor, matrices: Tensor, taken: Tensor) -> Tensor:
        return library.operators.expert_products(rows, matrices.transpose(1, 2), taken)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, slope_ECm: Tensor) -> tuple[Tensor, Tensor, None]:
        rows, matrices, taken = ctx.saved_tensors
        return (
            library.operators.expert_products(slope_ECm, matrices, taken),
            library.operators.expert_sums(slope_ECm, rows, taken),
            None,
        )
