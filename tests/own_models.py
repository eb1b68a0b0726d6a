"""Factories of a user's own models, right and wrong, for tests of `python:`."""

import functools
from types import SimpleNamespace

import torch
from torch import Tensor, nn


class Averages(nn.Module):
    """Each token's embedding and the mean of those before it; the head is the embedding. The mean is not saved."""

    def __init__(self, vocab_size: int, context: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.mix = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.head.weight = self.embedding.weight
        mean = torch.ones(context, context).tril()
        self.register_buffer("mean", mean / mean.sum(1, keepdim=True), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        T = tokens.shape[1]
        return self.head(torch.tanh(self.mix(torch.cat([x, self.mean[:T, :T] @ x], dim=-1))))


def averages(vocab_size: int, context: int, width: int = 8) -> nn.Module:
    return Averages(vocab_size, context, width)


class Tied(nn.Module):
    """The head is the embedding's matrix, and no part of the model."""

    def __init__(self, vocab_size: int, context: int, width: int):
        super().__init__()
        self.embedding, self.norm = nn.Embedding(vocab_size, width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        return nn.functional.linear(self.norm(x + self.mlp(x)), self.embedding.weight)


def tied(vocab_size: int, context: int, width: int = 8) -> nn.Module:
    return Tied(vocab_size, context, width)


class Wrong(nn.Module):
    """A model with one fault."""

    def __init__(self, vocab_size: int, context: int, fault: str):
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocab_size, 8), nn.Linear(8, vocab_size)
        self.fault, self.dropout = fault, nn.Dropout(0.1 if fault == "dropout" else 0.0)
        self.norm = nn.BatchNorm1d(8) if fault == "batch norm" else nn.Identity()
        if fault == "frozen":
            self.embedding.weight.requires_grad_(False)
        if fault == "broken weight":
            self.embedding.weight.data[1, 2] = torch.nan

    def forward(self, tokens: Tensor) -> object:
        x = self.dropout(self.embedding(tokens))
        if self.fault == "batch norm":
            x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        if self.fault == "sees ahead":
            x = x + x.mean(1, keepdim=True)
        if self.fault == "sees other rows":
            x = x.cumsum(0)
        if self.fault == "random":
            x = x + torch.randn_like(x)
        if self.fault == "no product":
            return (x[:, :, None] * self.head.weight).sum(-1) + self.head.bias
        logits = self.head(x)
        return {
            "no logits": SimpleNamespace(loss=1), "last token": logits[:, -1], "no numbers": logits * torch.nan,
        }.get(self.fault, logits)  # fmt: skip

    def __deepcopy__(self, memo: dict) -> nn.Module:
        if self.fault == "cannot be copied":
            raise TypeError("no copies")
        copied = Wrong(self.head.out_features, 1, self.fault)
        copied.load_state_dict(self.state_dict())
        return copied


def wrong(vocab_size: int, context: int, fault: str = "") -> nn.Module:
    return Wrong(vocab_size, context, fault)


def talks(vocab_size: int, context: int) -> nn.Module:
    print("no line's end", end="")
    return Wrong(vocab_size, context, "")


def ends(vocab_size: int, context: int) -> nn.Module:
    raise SystemExit(0)


def raises(vocab_size: int, context: int) -> nn.Module:
    raise RuntimeError("no luck\nat all")


class Gated(nn.Module):
    """Three layers: a gated MLP, and a convolution over the words before."""

    def __init__(self, vocab_size: int, width: int):
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocab_size, width), nn.Linear(width, vocab_size)
        self.convolution = nn.Conv1d(width, width, 3)
        self.gate, self.up, self.down = (nn.Linear(width, width) for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        x = x + self.convolution(nn.functional.pad(x.mT, (2, 0))).mT
        return self.head(x + self.down(nn.functional.silu(self.gate(x)) * self.up(x)))


def gated(vocab_size: int, context: int, width: int = 8) -> nn.Module:
    return Gated(vocab_size, width)


class HeadFirst(nn.Module):
    """A tied head that is made before the embedding."""

    def __init__(self, vocab_size: int, width: int):
        super().__init__()
        self.head, self.embedding = nn.Linear(width, vocab_size, bias=False), nn.Embedding(vocab_size, width)
        self.embedding.weight = self.head.weight
        self.middle = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.middle(self.embedding(tokens)))


def head_first(vocab_size: int, context: int, width: int = 8) -> nn.Module:
    return HeadFirst(vocab_size, width)


class Positioned(nn.Module):
    """Learned positions as a parameter of the outermost module, and a head of its own."""

    def __init__(self, vocab_size: int, context: int, width: int):
        super().__init__()
        self.positions = nn.Parameter(0.1 * torch.randn(context, width))
        self.embedding, self.head = nn.Embedding(vocab_size, width), nn.Linear(width, vocab_size, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.positions[: tokens.shape[1]]
        return self.head(x + self.mlp(x))


class TiedPast(nn.Module):
    """A tied head by something that is no parameter: a view, a list, or a function that has the weights."""

    def __init__(self, vocab_size: int, width: int, way: str):
        super().__init__()
        self.embedding, self.middle = nn.Embedding(vocab_size, width), nn.Linear(width, width)
        weight = self.embedding.weight
        self.view = weight.T if way == "view" else None
        self.listed = [weight] if way == "list" else []
        self.partial = functools.partial(nn.functional.linear, weight=weight) if way == "partial" else None

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.middle(self.embedding(tokens))
        if self.view is not None:
            return x @ self.view
        return self.partial(x) if self.partial else x @ self.listed[0].T


def tied_past(vocab_size: int, context: int, way: str, width: int = 8) -> nn.Module:
    return TiedPast(vocab_size, width, way)


class Untrained(Gated):
    """A model that is called, and cannot be trained as it is scored."""

    def __init__(self, vocab_size: int, context: int, fault: str):
        super().__init__(vocab_size, 8)
        self.fault = fault
        if fault == "unused":
            self.other = nn.Linear(8, 8)
        if fault == "half":
            self.head.half()
        self.positions = nn.Parameter(0.1 * torch.randn(context, 8)) if fault == "whole rows" else None

    def forward(self, tokens: Tensor) -> Tensor:
        if self.fault == "raises in training" and self.training:
            raise RuntimeError("not\nnow")
        if self.fault == "clamps":
            with torch.no_grad():
                self.gate.weight.clamp_(-1, 1)
        if self.fault == "half":
            return self.head(self.embedding(tokens).half()).float()
        logits = super().forward(tokens)
        if self.positions is not None:
            logits = logits + self.head(self.embedding(tokens) + self.positions)
        return logits * (0.5 if self.fault == "mode" and not self.training else 1.0)


def untrained(vocab_size: int, context: int, fault: str) -> nn.Module:
    return Untrained(vocab_size, context, fault)


def positioned(vocab_size: int, context: int, width: int = 8) -> nn.Module:
    return Positioned(vocab_size, context, width)


def branches(vocab_size: int, context: int) -> nn.Module:
    """Its graph depends on its numbers."""

    class Branches(Gated):
        def forward(self, tokens: Tensor) -> Tensor:
            logits = super().forward(tokens)
            return logits if logits.abs().max().item() > 1 else 2 * logits

    return Branches(vocab_size, 8)


def fails(vocab_size: int, context: int, width: int = 16) -> nn.Module:
    """Adds what does not fit."""

    class Fails(Gated):
        def forward(self, tokens: Tensor) -> Tensor:
            return super().forward(tokens) + torch.zeros(3, 2, 7)

    return Fails(vocab_size, width)


def scaled_sum(vocab_size: int, context: int) -> nn.Module:
    """A product that is added with factors."""

    class Scaled(Gated):
        def forward(self, tokens: Tensor) -> Tensor:
            x = self.embedding(tokens).flatten(0, 1)
            logits = torch.addmm(self.head.bias, x, self.head.weight.T, beta=0.5, alpha=2)
            return logits.view(*tokens.shape, -1) + 0 * super().forward(tokens)

    return Scaled(vocab_size, 8)


class Recurrent(nn.Module):
    """A GRU whose head is its embedding."""

    def __init__(self, vocab_size: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.gru(self.embedding(tokens))[0])


def gru(vocab_size: int, context: int, width: int = 8) -> nn.Module:
    return Recurrent(vocab_size, width)


class Block(nn.Module):
    """Attention and an MLP, both added to what comes in."""

    def __init__(self, width: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y, T = self.norms[0](x), x.shape[1]
        future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        x = x + self.attention(y, y, y, attn_mask=future, need_weights=False)[0]
        return x + self.mlp(self.norms[1](x))


class Attentive(nn.Module):
    """A GPT of nn.MultiheadAttention with positions that are a bare parameter and a head of its own."""

    def __init__(self, vocab_size: int, context: int, width: int, layers: int):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(vocab_size, width), nn.Parameter(torch.zeros(1, context, width))
        self.blocks = nn.Sequential(*(Block(width) for _ in range(layers)))
        self.head = nn.Linear(width, vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.blocks(self.embedding(tokens) + self.positions[:, : tokens.shape[1]]))


def gpt(vocab_size: int, context: int, width: int = 8, layers: int = 1) -> nn.Module:
    return Attentive(vocab_size, context, width, layers)


class Frozen(nn.Module):
    """Token ids (B, T) to logits (B, T, V): one layer, of whose weights a share, drawn at random, stays as drawn."""

    def __init__(self, vocab_size: int, context: int, width: int, share: float):
        super().__init__()
        shapes = {"embedding": (vocab_size, width), "place": (context, width), "qkv": (3 * width, width)}
        shapes |= {"wide": (4 * width, width), "narrow": (width, 4 * width), "head": (vocab_size, width)}
        self.weights = nn.ParameterDict({name: torch.randn(shape) * width**-0.5 for name, shape in shapes.items()})
        for name, shape in shapes.items():
            self.register_buffer(f"learns_{name}", torch.rand(shape) >= share, persistent=False)

    def matrix(self, name: str) -> Tensor:
        weight = self.weights[name]
        return torch.where(getattr(self, f"learns_{name}"), weight, weight.detach())

    def forward(self, tokens: Tensor) -> Tensor:
        x = nn.functional.embedding(tokens, self.matrix("embedding")) + self.matrix("place")[: tokens.shape[1]]
        normal = nn.functional.layer_norm(x, x.shape[-1:])
        qkv = nn.functional.linear(normal, self.matrix("qkv")).chunk(3, -1)
        x = x + nn.functional.scaled_dot_product_attention(*qkv, is_causal=True)
        normal = nn.functional.layer_norm(x, x.shape[-1:])
        hidden = nn.functional.gelu(nn.functional.linear(normal, self.matrix("wide")))
        x = x + nn.functional.linear(hidden, self.matrix("narrow"))
        return nn.functional.linear(nn.functional.layer_norm(x, x.shape[-1:]), self.matrix("head"))


def frozen(vocab_size: int, context: int, width: int = 8, share: float = 0.5) -> nn.Module:
    return Frozen(vocab_size, context, width, share)
