"""Models of a user's own for the matrix: a GRU, and a decoder that attends by torch's own module."""

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """Embedding, one GRU, and a head of its own."""

    def __init__(self, vocab_size: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.gru(self.embedding(tokens))[0])


class Decoder(nn.Module):
    """One layer of causal nn.MultiheadAttention and an MLP, learned positions, a tied head."""

    def __init__(self, vocab_size: int, context: int, width: int):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(vocab_size, width), nn.Embedding(context, width)
        for table in (self.embedding, self.positions):
            nn.init.normal_(table.weight, std=0.1)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        T = tokens.shape[1]
        x = self.embedding(tokens) + self.positions.weight[:T]
        ahead = torch.ones(T, T, dtype=torch.bool, device=tokens.device).triu(1)
        y = self.norms[0](x)
        x = x + self.attention(y, y, y, attn_mask=ahead, need_weights=False)[0]
        return self.head(self.norms[2](x + self.mlp(self.norms[1](x))))


def gru(vocab_size: int, context: int, width: int) -> nn.Module:
    return Recurrent(vocab_size, width)


def attention(vocab_size: int, context: int, width: int) -> nn.Module:
    return Decoder(vocab_size, context, width)
