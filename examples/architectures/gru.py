"""Two recurrent layers: no attention, a state of fixed size.

capacity measure examples/architectures/gru.py:make --settings '{width: 20}'
"""

from torch import Tensor, nn


class Recurrent(nn.Module):
    """Token ids (B, T) to logits (B, T, V); the head is the embedding."""

    def __init__(self, vocab_size: int, width: int, layers: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.layers = nn.GRU(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layers(self.embedding(tokens))[0])


def make(vocab_size: int, context: int, width: int = 20, layers: int = 2) -> nn.Module:
    """A model for `python:`; context, the most tokens of a text, is of no use to it."""
    return Recurrent(vocab_size, width, layers)
