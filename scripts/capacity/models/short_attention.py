"""Causal attention of short rows on a CPU: one kernel forward and one backward, compiled when they are first needed.

torch's own ways take products of single heads, one call each, and a softmax of rows that are shorter than a vector of
the processor: for rows of a dozen tokens that is a fifth of a training step. Here a vector holds the queries of a row.
"""

import functools
import hashlib
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

from capacity.models.short_attention_kernel import SOURCE
from capacity.models.spec import SHORT_CHANNELS, SHORT_TOKENS

SHORT = "short"
_kernels: Any = None  # torch's operators, once they are loaded


def attend(query_BHTD: Tensor, key_BHTD: Tensor, value_BHTD: Tensor, scale: float) -> Tensor:
    """softmax(scale * query @ key^T) @ value in float32, where a token sees itself and those before it: (B, T, H, D).

    At most SHORT_TOKENS tokens and SHORT_CHANNELS channels, on a CPU. Differentiable once.
    """
    return _Attend.apply(query_BHTD.float(), key_BHTD.float(), value_BHTD.float(), scale)[0]


@functools.cache
def load_kernels() -> None:
    """Make the two kernels operators of torch: compiled by inductor's compiler, kept in its cache.

    To be called before `attend`, and not while torch.compile looks on. Their names hold a digest of what they do,
    since torch's cache of graphs knows operators by name alone.
    """
    from torch._inductor.codecache import CppCodeCache  # a second to import

    source = SOURCE % {"tokens": SHORT_TOKENS, "channels": SHORT_CHANNELS}
    name = f"capacity_{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    CppCodeCache.load(source, extra_flags=(f"-DNAMESPACE={name}", "-ffp-contract=fast"))
    global _kernels
    _kernels = getattr(torch.ops, name)

    @torch.library.register_fake(f"{name}::forward")
    def _(query_BHTD: Tensor, key_BHTD: Tensor, value_BHTD: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        B, H, T, D = query_BHTD.shape
        return query_BHTD.new_empty(B, T, H, D), query_BHTD.new_empty(B, H, T, -(-T // 16) * 16)

    @torch.library.register_fake(f"{name}::backward")
    def _(slope_BTHD: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
        B, T, H, D = slope_BTHD.shape
        query, key, value = (slope_BTHD.new_empty(B, T, H, D) for _ in range(3))
        return query, key, value

    @register_flop_formula(_kernels.forward)
    def _(shape: Any, *others: Any, **more: Any) -> int:
        B, H, T, D = shape
        return 2 * 2 * B * H * T * T * D

    @register_flop_formula(_kernels.backward)
    def _(shape: Any, *others: Any, **more: Any) -> int:
        B, T, H, D = shape
        return 4 * 2 * B * H * T * T * D


class _Attend(torch.autograd.Function):
    """The forward kernel, with the backward one as its gradient."""

    @staticmethod
    def forward(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        return _kernels.forward(query, key, value, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        *tensors, ctx.scale = inputs
        ctx.save_for_backward(*tensors, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, slope_BTHD: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        slopes = _kernels.backward(slope_BTHD, *ctx.saved_tensors, ctx.scale)
        return (*(slope.transpose(1, 2) for slope in slopes), None)


def _interface(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float, **others: Any
) -> tuple[Tensor, None]:
    """`attend` as models of transformers call it, or torch's own kernel where rows are long or have a mask."""
    T, D = query.shape[2:]
    if attention_mask is not None or T > SHORT_TOKENS or D > SHORT_CHANNELS or query.device.type != "cpu":
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    return attend(query, key, value, scaling).to(query.dtype), None


AttentionInterface.register(SHORT, _interface)
