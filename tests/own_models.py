"""Factories of a user's own models, right and wrong, for tests of `python:`."""

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


class Wrong(nn.Module):
    """A model with one fault."""

    def __init__(self, vocab_size: int, context: int, fault: str):
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocab_size, 8), nn.Linear(8, vocab_size)
        self.fault, self.dropout = fault, nn.Dropout(0.1 if fault == "dropout" else 0.0)
        if fault == "frozen":
            self.embedding.weight.requires_grad_(False)

    def forward(self, tokens: Tensor) -> object:
        x = self.dropout(self.embedding(tokens))
        if self.fault == "sees ahead":
            x = x + x.mean(1, keepdim=True)
        if self.fault == "random":
            x = x + torch.randn_like(x)
        logits = self.head(x)
        return {
            "no logits": SimpleNamespace(loss=1), "last token": logits[:, -1],
        }.get(self.fault, logits)  # fmt: skip


def wrong(vocab_size: int, context: int, fault: str = "") -> nn.Module:
    return Wrong(vocab_size, context, fault)


def raises(vocab_size: int, context: int) -> nn.Module:
    raise RuntimeError("no luck\nat all")
