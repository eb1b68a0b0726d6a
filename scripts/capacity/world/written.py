"""Written texts as labelled tokens: what Renderer is to a grammar, for people whose texts lie in a file.

Every text is tokenised once, whole. A token that reaches into a mark belongs to its item with all its characters,
so one that joins a value's end to what follows makes the value dearer, never cheaper.
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from capacity.errors import UserError
from capacity.world.draws import Draws
from capacity.world.facts import World
from capacity.world.pieces import EOS_ID, FILLER, REMEDY, model_rows
from capacity.world.render import Renderer, Rendering
from capacity.world.rewritings import Rewritings
from capacity.world.text import biographies

CHUNK = 4096  # texts tokenised at a time


class TextRenderer:
    """Renders draws of written texts in the tokens of one tokenizer. Raises UserError where they do not match.

    all_rows, num_used, vocab_size: as in Renderer.
    """

    def __init__(self, world: World, tokenizer: Tokenizer, all_rows: bool = False):
        assert world.rewritings
        self.world, self.texts_of = world, world.rewritings
        parts = [
            (*_tokens_and_labels(encodings, self.texts_of, first), [len(each) for each in encodings])
            for first, encodings in encode_texts(tokenizer, self.texts_of)
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


def encode_texts(tokenizer: Tokenizer, texts: Rewritings) -> Iterator[tuple[int, list[Encoding]]]:
    """Encodings of all texts, some at a time, with the number of the first of them.

    Raises UserError where the tokenizer does not give a text back.
    """
    for first in range(0, len(texts), CHUNK):
        some = texts.texts(slice(first, first + CHUNK))
        try:
            encodings = tokenizer.encode_batch(some, add_special_tokens=False)
        except Exception as error:  # tokenizers raises plain Exception for a word outside a closed vocabulary
            raise UserError(f"tokenizer: it cannot read this dataset's words ({error}); {REMEDY}") from None
        for text, again in zip(some, tokenizer.decode_batch([each.ids for each in encodings]), strict=True):
            if text != again:
                raise UserError(f"tokenizer: it reads {text!r} as {again!r}; {REMEDY}")
        yield first, encodings


def _tokens_and_labels(
    encodings: list[Encoding], texts: Rewritings, first: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Ids of some texts end to end, and the label of each: that of the mark it reaches into."""
    sizes = np.array([len(each) for each in encodings])
    ids = np.concatenate([np.array(each.ids, dtype=np.int64) for each in encodings])
    spans = np.concatenate([np.array(each.offsets, dtype=np.int64).reshape(-1, 2) for each in encodings])
    counts, marks = texts.marks(first, first + len(encodings))
    span = int(spans.max(initial=0)) + 1
    shift = np.arange(len(encodings), dtype=np.int64) * (span + 1)  # texts end to end, none touching the next
    begins, ends = (spans[:, side] + np.repeat(shift, sizes) for side in (0, 1))
    starts, stops = (marks[name] + np.repeat(shift, counts) for name in ("starts", "stops"))
    labels = np.full(len(ids), FILLER, dtype=np.uint8)
    if len(starts):
        nearest = np.searchsorted(stops, begins, side="right")  # the first mark that ends behind the token's start
        inside = (nearest < len(starts)) & (starts[np.minimum(nearest, len(starts) - 1)] < ends)
        labels[inside] = marks["labels"][nearest[inside]]
        _check_apart(nearest, inside, starts, ends, marks["labels"], encodings)
    return ids, labels


def _check_apart(
    nearest: NDArray[np.integer],
    inside: NDArray[np.bool_],
    starts: NDArray[np.integer],
    ends: NDArray[np.integer],
    labels: NDArray[np.integer],
    encodings: list[Encoding],
) -> None:
    """Refuse a token that reaches into two items: its loss would count for one of them alone."""
    following = np.minimum(nearest + 1, len(starts) - 1)
    both = inside & (nearest + 1 < len(starts)) & (starts[following] < ends)
    both[both] = labels[nearest[both]] != labels[following[both]]
    if both.any():
        token = [text for each in encodings for text in each.tokens][int(np.flatnonzero(both)[0])]
        raise UserError(f"tokenizer: its token {token!r} joins two facts of a text; use one that splits at blanks")


def renderer_of(world: World, tokenizer: Tokenizer, all_rows: bool = False) -> Renderer | TextRenderer:
    """What turns a world's draws into tokens: its grammar, or its written texts."""
    kind = TextRenderer if world.rewritings else Renderer
    return kind(world, tokenizer, all_rows)
