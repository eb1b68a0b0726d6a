"""GPTQ: codes chosen column by column, each column's error made good by the columns that follow.

Source: Frantar et al., arXiv 2210.17323, Algorithm 1, on a grid that is fixed before (what others call static
groups), so that RTN and GPTQ differ in nothing but the codes. Shapes: R rows (outputs), C columns (inputs).
"""

import torch
from torch import Tensor

from capacity.quantization.rounding import RoundingGrid

BLOCK = 128  # columns whose errors are spread at once


def gptq(weight_RC: Tensor, grid: RoundingGrid, moment_CC: Tensor, damping: float, act_order: bool) -> Tensor:
    """The matrix on the grid, fp32, that keeps its outputs on the calibration inputs nearly as they were.

    moment_CC: sum of x x^T over the inputs x, any scale; inputs that are always 0 are rounded to nearest.
    damping: added to the diagonal, as a share of its mean. act_order: columns of the largest inputs first.
    """
    weight_RC, moment_CC = weight_RC.float().clone(), moment_CC.double()
    live = moment_CC.diagonal() > 0
    if not live.any():
        return grid.snap(weight_RC)
    diagonal = moment_CC.diagonal().clone()
    order = torch.argsort(diagonal, descending=True, stable=True) if act_order else torch.arange(len(diagonal))
    mean = diagonal[live].mean()
    damped_CC = moment_CC + torch.diag(damping * mean + torch.where(live, 0.0, mean))
    inverse_CC = torch.cholesky_inverse(torch.linalg.cholesky(damped_CC[order][:, order]))
    factor_CC = torch.linalg.cholesky(inverse_CC, upper=True).float()
    snapped_RC = _solve(weight_RC[:, order], grid, factor_CC, order.tolist())
    return snapped_RC[:, torch.argsort(order)]


def _solve(weight_RC: Tensor, grid: RoundingGrid, factor_CC: Tensor, columns: list[int]) -> Tensor:
    """Algorithm 1; the matrix is used up. columns: the place on the grid of each column as it comes."""
    snapped_RC = torch.empty_like(weight_RC)
    for start in range(0, len(columns), BLOCK):
        stop = min(start + BLOCK, len(columns))
        errors = torch.empty_like(weight_RC[:, start:stop])
        for c in range(start, stop):
            snapped_RC[:, c] = grid.snap_column(weight_RC[:, c], columns[c])
            error = (weight_RC[:, c] - snapped_RC[:, c]) / factor_CC[c, c]
            weight_RC[:, c + 1 : stop] -= error[:, None] * factor_CC[c, c + 1 : stop]
            errors[:, c - start] = error
        weight_RC[:, stop:] -= errors @ factor_CC[start:stop, stop:]
    return snapped_RC


def layer_error(weight_RC: Tensor, changed_RC: Tensor, moment_CC: Tensor) -> float:
    """Norm of the change of a layer's outputs on the calibration inputs, as a share of the outputs' norm."""
    moment_CC = moment_CC.double()
    squares = [
        ((matrix.double() @ moment_CC) * matrix.double()).sum() for matrix in (changed_RC - weight_RC, weight_RC)
    ]
    return float((squares[0] / squares[1]).clamp_min(0).sqrt()) if squares[1] > 0 else 0.0
