"""The mean loss of next tokens: torch's own, and one whose gradient is made with it."""

import torch
from torch import Tensor
from torch.nn import functional

from capacity.training.batches import IGNORED


def stock_loss(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy in nats over the targets that are not IGNORED, and a zero that has its gradient."""
    loss = functional.cross_entropy(logits_NV, targets_N, ignore_index=IGNORED)
    return loss.detach(), loss - loss.detach()


def compilable_loss(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """`stock_loss` up to rounding, for torch.compile.

    Compiled, torch's takes half again as long: it raises e to every logit twice, and adds up a gradient with one entry
    a row over the vocabulary. Here the compiler sees what loss and gradient share, and drops the zero.
    """
    fixed_NV = logits_NV.detach()
    scored_N1 = (targets_N != IGNORED)[:, None]
    num_scored = scored_N1.sum()
    target_N1 = torch.where(scored_N1, targets_N[:, None], 0)
    top_N1 = fixed_NV.amax(1, keepdim=True)
    power_NV = (fixed_NV - top_N1).exp()
    total_N1 = power_NV.sum(1, keepdim=True)
    nats_N1 = top_N1 + total_N1.log() - fixed_NV.gather(1, target_N1)
    loss = torch.where(scored_N1, nats_N1, 0.0).sum() / num_scored
    weight_N1 = torch.where(scored_N1, 1.0 / num_scored, 0.0)
    is_target_NV = torch.arange(logits_NV.shape[1], device=logits_NV.device) == target_N1
    gradient_NV = power_NV * (weight_N1 / total_N1) - torch.where(is_target_NV, weight_N1, 0.0)
    return loss, ((logits_NV - fixed_NV) * gradient_NV).sum()
