"""The mean loss of next tokens: torch's own, one whose gradient is made with it, and that one in chunks of tokens."""

import torch
from torch import Tensor
from torch.nn import functional

from capacity.kernels import library
from capacity.kernels.loss import FEWEST_LOGITS
from capacity.training.batches import IGNORED
from capacity.training.spec import CHUNK_LOGITS


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
    loss, gradient_NV = _loss_and_gradient(fixed_NV, targets_N, scored_N1, scored_N1.sum())
    return loss, ((logits_NV - fixed_NV) * gradient_NV).sum()


def kernel_loss(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """`compilable_loss` on one thread of a CPU, by a kernel of this project's own; `library.load` is to be called."""
    if logits_NV.shape[1] < FEWEST_LOGITS:
        return compilable_loss(logits_NV, targets_N)
    fixed_NV = logits_NV.detach()
    loss, gradient_NV = library.operators.mean_loss(fixed_NV, targets_N, IGNORED)
    return loss, ((logits_NV - fixed_NV) * gradient_NV).sum()


def chunked_loss(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, products: torch.dtype) -> tuple[Tensor, Tensor]:
    """`stock_loss` of the logits hidden_ND @ head_VD.T up to rounding, with the logits of a few tokens at a time.

    The gradients of hidden states and head are made with the loss, so that no logit is kept or made again (as in
    Liger-Kernel, arXiv 2410.10989). torch's own `linear_cross_entropy` in chunks can neither be compiled nor be
    differentiated by torch.func. products: the type that products are made in; sums over chunks are in float32.
    """
    fixed_ND, fixed_VD = hidden_ND.detach().to(products), head_VD.detach().to(products)
    scored_N1 = (targets_N != IGNORED)[:, None]
    num_scored = scored_N1.sum()
    loss, head_gradient_VD = torch.zeros_like(num_scored, dtype=torch.float32), torch.zeros_like(head_VD)
    hidden_gradients = []
    tokens = chunk_tokens(len(head_VD))
    for chunk_CD, targets_C, scored_C1 in zip(
        *(whole.split(tokens) for whole in (fixed_ND, targets_N, scored_N1)), strict=True
    ):
        logits_CV = (chunk_CD @ fixed_VD.T).float()
        part, gradient_CV = _loss_and_gradient(logits_CV, targets_C, scored_C1, num_scored)
        gradient_CV = gradient_CV.to(products)
        loss = loss + part
        hidden_gradients.append(gradient_CV @ fixed_VD)
        head_gradient_VD = head_gradient_VD + gradient_CV.T @ chunk_CD
    zero = ((hidden_ND - hidden_ND.detach()) * torch.cat(hidden_gradients)).sum()
    return loss, zero + ((head_VD - head_VD.detach()) * head_gradient_VD).sum()


def chunk_tokens(V: int) -> int:
    """Tokens of a chunk: a power of two, as contexts are, so that chunks are alike."""
    return 1 << max(CHUNK_LOGITS // V, 1).bit_length() - 1


def _loss_and_gradient(
    logits_NV: Tensor, targets_N: Tensor, scored_N1: Tensor, num_scored: Tensor
) -> tuple[Tensor, Tensor]:
    """What some tokens add to the mean over `num_scored`, and its gradient by their logits."""
    target_N1 = torch.where(scored_N1, targets_N[:, None], 0)
    top_N1 = logits_NV.amax(1, keepdim=True)
    power_NV = (logits_NV - top_N1).exp()
    total_N1 = power_NV.sum(1, keepdim=True)
    nats_N1 = top_N1 + total_N1.log() - logits_NV.gather(1, target_N1)
    loss = torch.where(scored_N1, nats_N1, 0.0).sum() / num_scored
    weight_N1 = torch.where(scored_N1, 1.0 / num_scored, 0.0)
    # Of 32 bits, as floats are: a vector of the processor holds as many.
    columns_V = torch.arange(logits_NV.shape[1], device=logits_NV.device, dtype=torch.int32)
    is_target_NV = columns_V == target_N1.int()
    return loss, power_NV * (weight_N1 / total_N1) - torch.where(is_target_NV, weight_N1, 0.0)
