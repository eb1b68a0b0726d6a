"""Causal attention of short rows on a CPU, as models of transformers call it.

torch's own ways take products of single heads, one call each, and a softmax of rows that are shorter than a vector of
the processor: for rows of a dozen tokens that is a fifth of a training step. Here a vector holds the queries of a row.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb

from capacity.kernels import library
from capacity.kernels.attention import MAX_CHANNELS, MAX_TOKENS

SHORT = "short"
_ROTATE = apply_rotary_pos_emb.__name__  # in the file of every family


class Rotation(NamedTuple):
    """Cosines and sines of rotary positions, each (T, R): channel r < R/2 of a head turns with channel r + R/2."""

    cos: Tensor
    sin: Tensor


def attend(
    query_BHTD: Tensor,
    key_BHTD: Tensor,
    value_BHTD: Tensor,
    scale: float,
    rotation: Rotation | None = None,
    in_heads: bool = False,
) -> Tensor:
    """softmax(scale * query @ key^T) @ value in float32, where a token sees itself and those before it: (B, T, H, D).

    rotation: of queries and keys, before their product. in_heads: the three of a head are parts of one product, and so
    are their gradients; otherwise those of all heads stand together. At most MAX_TOKENS tokens and MAX_CHANNELS
    channels, on a CPU. Differentiable once, not by the rotation. `library.load` must have been called.
    """
    if rotation is None:  # none of the channels
        T = query_BHTD.shape[2]
        rotation = Rotation(*(query_BHTD.new_empty(T, 0, dtype=torch.float32) for _ in ("cos", "sin")))
    return _Attend.apply(query_BHTD, key_BHTD, value_BHTD, *rotation, scale, in_heads)[0]


def rotating_files(model: nn.Module) -> list[ModuleType]:
    """The files of transformers whose function turns the queries and keys of this model."""
    files = {type(part).__module__: sys.modules[type(part).__module__] for part in model.modules()}
    return [file for file in files.values() if hasattr(file, _ROTATE)]


@contextmanager
def positions_in_the_kernel(files: list[ModuleType]) -> Iterator[None]:
    """While torch.compile traces their models: queries and keys reach attention as they are, for the kernels to turn.

    The models are to be called with `rotation`, which their layers hand on to attention.
    """
    with ExitStack() as patches:
        for file in files:
            patches.enter_context(patch.object(file, _ROTATE, _as_they_are))
        yield


def _as_they_are(query: Tensor, key: Tensor, *tables: Tensor) -> tuple[Tensor, Tensor]:
    return query, key


class _Attend(torch.autograd.Function):
    """The forward kernel, with the backward one as its gradient."""

    @staticmethod
    def forward(
        query: Tensor, key: Tensor, value: Tensor, cos: Tensor, sin: Tensor, scale: float, in_heads: bool
    ) -> tuple[Tensor, Tensor]:
        return library.operators.attention(query.float(), key.float(), value.float(), cos, sin, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        query, key, value, cos, sin, ctx.scale, ctx.in_heads = inputs
        ctx.save_for_backward(query, key, value, output[1], cos, sin)
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, slope_BTHD: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *others = ctx.saved_tensors
        parts_of_product = query.float(), key.float(), value.float()
        slopes = library.operators.attention_backward(slope_BTHD, *parts_of_product, *others, ctx.scale, ctx.in_heads)
        slopes = slopes.to(query.dtype)
        if ctx.in_heads:  # put together again, these are one tensor without a copy
            parts = slopes.flatten(3).transpose(1, 2).split([slopes.shape[-1]] * 3, dim=3)
        else:
            parts = [part.transpose(1, 2) for part in slopes.unbind(2)]
        return (*parts, None, None, None, None)


def _interface(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    rotation: Rotation | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """`attend` as models of transformers call it, or torch's own kernel where rows are long or have a mask."""
    T, D = query.shape[2:]
    if attention_mask is not None or T > MAX_TOKENS or D > MAX_CHANNELS or query.device.type != "cpu":
        if rotation:
            query, key = apply_rotary_pos_emb(query, key, *(table[None].to(query.dtype) for table in rotation))
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    in_heads = hasattr(module, "query_key_value")
    return attend(query, key, value, scaling, rotation, in_heads).to(query.dtype), None


AttentionInterface.register(SHORT, _interface)
