"""Written texts as labelled tokens: what Renderer is to a grammar, for people whose texts lie in a file.

Every text is tokenised once, whole.
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from capacity.world.facts import World
from capacity.world.labels import token_labels
from capacity.world.pieces import EOS_ID, model_rows
from capacity.world.render import Renderer, Rendering
from capacity.world.rewritings import Rewritings
from capacity.world.sampling import Draws
from capacity.world.text import biographies
from capacity.world.token_merges import check_decodes, encode_texts

CHUNK = 4096  # texts tokenised at a time


class TextRenderer:
    """Renders draws of written texts in the tokens of one tokenizer. Raises UserError where they do not match.

    all_rows, num_used, vocab_size: as in Renderer.
    """

    def __init__(self, world: World, tokenizer: Tokenizer, all_rows: bool = False):
        assert world.rewritings
        self.world, self.texts_of = world, world.rewritings
        parts = [
            (
                np.concatenate([np.array(each.ids, dtype=np.int64) for each in encodings]),
                _labels(encodings, self.texts_of, first),
                [len(each) for each in encodings],
            )
            for first, encodings in encode_written(tokenizer, self.texts_of)
        ]
        tokens, labels, sizes = (np.concatenate(part) for part in zip(*parts, strict=True))
        self.num_used = len(np.union1d(tokens, [EOS_ID]))
        self.vocab_size = model_rows(self.num_used, int(tokens.max()), tokenizer, all_rows)
        self._tokens: NDArray[np.unsignedinteger] = tokens.astype(np.uint16 if self.vocab_size <= 2**16 else np.uint32)
        self._labels, self._sizes = labels, sizes.astype(np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes

    @cached_property
    def max_length(self) -> int:
        """Tokens of the longest text."""
        return int(self._sizes.max())

    @property
    def min_length(self) -> int:
        """Tokens of the shortest."""
        return int(self._sizes.min())

    @property
    def mean_length(self) -> float:
        """Tokens of a text, on average."""
        return float(self._sizes.mean())

    def lengths(self, draws: Draws) -> NDArray[np.int64]:
        """Tokens of each drawn text, (B,)."""
        return self._sizes.take(self._rows(draws))

    def texts(self, draws: Draws) -> list[str]:
        """The drawn texts."""
        return list(biographies(self.world, draws))

    def tokens(self, draws: Draws, labels: bool) -> Rendering:
        """The drawn texts as tokens, with the item of each where labels are asked for."""
        rows = self._rows(draws)
        lengths = self._sizes.take(rows)
        ends = np.cumsum(lengths)
        source = np.repeat(self._starts.take(rows) - ends + lengths, lengths) + np.arange(lengths.sum())
        marks = (self._labels.take(source), np.zeros(len(source), dtype=bool)) if labels else (None, None)
        return Rendering(self._tokens.take(source), lengths, draws.people, *marks)

    def _rows(self, draws: Draws) -> NDArray[np.int64]:
        return draws.people * self.texts_of.W + draws.templates[:, 0]


def encode_written(tokenizer: Tokenizer, texts: Rewritings) -> Iterator[tuple[int, list[Encoding]]]:
    """Encodings of all texts, some at a time, with the number of the first of them.

    Raises UserError where the tokenizer does not give a text back.
    """
    for first in range(0, len(texts), CHUNK):
        some = texts.texts(slice(first, first + CHUNK))
        encodings = encode_texts(tokenizer, some, offsets=True)
        check_decodes(tokenizer, some, [each.ids for each in encodings])
        yield first, encodings


def _labels(encodings: list[Encoding], texts: Rewritings, first: int) -> NDArray[np.uint8]:
    """The label of each token of some texts."""
    last = first + len(encodings)
    sizes = np.array([len(text) for text in texts.texts(slice(first, last))])
    text_starts = np.cumsum(sizes) - sizes
    counts, marks = texts.marks(first, last)
    shifts = np.repeat(text_starts, counts)
    assert (marks["starts"][1:] + shifts[1:] >= marks["stops"][:-1] + shifts[:-1]).all(), "marks lie apart"
    steps = np.zeros(sizes.sum() + 1, dtype=np.int64)  # of labels, from one character to the next
    np.add.at(steps, marks["starts"] + shifts, marks["labels"].astype(np.int64))
    np.subtract.at(steps, marks["stops"] + shifts, marks["labels"].astype(np.int64))
    return token_labels(encodings, text_starts, np.cumsum(steps[:-1]).astype(np.uint8))[0]


def renderer_of(world: World, tokenizer: Tokenizer, all_rows: bool = False) -> Renderer | TextRenderer:
    """What turns a world's draws into tokens: its grammar, or its written texts."""
    kind = TextRenderer if world.rewritings else Renderer
    return kind(world, tokenizer, all_rows)
