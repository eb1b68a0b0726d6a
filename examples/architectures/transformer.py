"""A small transformer with what is often changed in one: how it knows positions, layers used again, local mixing.

    capacity measure examples/architectures/transformer.py:make                            learned positions
    capacity measure examples/architectures/transformer.py:make --settings '{positions: alibi}'
    capacity measure examples/architectures/transformer.py:make --settings '{positions: none}'
    capacity measure examples/architectures/transformer.py:make --settings '{layers: 1, loops: 2, width: 24}'
    capacity measure examples/architectures/transformer.py:make --settings '{convolution: 4}'

`loops` runs the same layers again (a looped, or weight-shared, transformer). `convolution` puts a causal convolution a
channel over so many tokens in front of attention and MLP (as the Canon layers of Physics of Language Models, Part 4).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Local(nn.Module):
    """x plus a causal convolution of each channel over the last tokens."""

    def __init__(self, width: int, tokens: int):
        super().__init__()
        self.mix = nn.Conv1d(width, width, tokens, groups=width, padding=tokens - 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)


class Layer(nn.Module):
    """Attention and an MLP, each behind a norm and added to what came in."""

    def __init__(self, width: int, heads: int, convolution: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.local = nn.ModuleList(Local(width, convolution) if convolution else nn.Identity() for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        B, T, width = x.shape
        qkv = self.qkv(self.local[0](self.norms[0](x))).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*qkv.unbind(), attn_mask=bias)
        x = x + self.out(mixed.transpose(1, 2).reshape(B, T, width))
        return x + self.mlp(self.local[1](self.norms[1](x)))


class Transformer(nn.Module):
    """Token ids (B, T) to logits (B, T, V); the head is the embedding."""

    def __init__(self, vocab_size: int, context: int, width: int, layers: int, heads: int, loops: int, **how: object):
        super().__init__()
        self.loops, self.positions, self.heads = loops, how["positions"], heads
        self.embedding = nn.Embedding(vocab_size, width)
        self.place = nn.Parameter(torch.randn(context, width) * width**-0.5) if self.positions == "learned" else None
        self.layers = nn.ModuleList(Layer(width, heads, int(str(how["convolution"]))) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for weights in self.parameters():
            if weights.ndim == 2:
                nn.init.normal_(weights, std=width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        x, T = self.embedding(tokens), tokens.shape[1]
        bias = torch.full((T, T), -torch.inf, device=x.device, dtype=x.dtype).triu(1)
        if self.positions == "alibi":
            far = torch.arange(T, device=x.device)
            slopes = 2.0 ** (-8 / self.heads * torch.arange(1, self.heads + 1, device=x.device, dtype=x.dtype))
            bias = bias + slopes[:, None, None] * (far[None, :] - far[:, None])
        if self.place is not None:
            x = x + self.place[:T]
        for layer in [*self.layers] * self.loops:
            x = layer(x, bias)
        return functional.linear(self.norm(x), self.embedding.weight)


def make(
    vocab_size: int, context: int, width: int = 16, layers: int = 2, heads: int = 2, loops: int = 1,
    positions: str = "learned", convolution: int = 0,
) -> nn.Module:  # fmt: skip
    """A model for `python:`. positions: learned, alibi or none."""
    return Transformer(vocab_size, context, width, layers, heads, loops, positions=positions, convolution=convolution)
