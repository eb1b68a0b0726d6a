"""Labels of tokens from labels of characters, where texts are tokenised whole.

A token that reaches into an item belongs to it with all its characters, so one that joins a value's end to what
follows raises the loss of the value, never lowers it.
"""

from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from capacity.errors import UserError
from capacity.world.pieces import FILLER

NONE = np.iinfo(np.uint8).max  # above every label


def token_labels(
    encodings: list[Encoding], starts: NDArray[np.int64], labels: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The label of each token of some texts, end to end, and the tokens' spans, for `reach`.

    starts: where each text begins among the characters of all. labels: of each character. Raises UserError for a
    token that reaches into two items, since its loss would count for one of them alone.
    """
    spans = _spans(encodings, starts)
    most = reach(labels, spans)
    least = np.minimum.reduceat(np.append(np.where(labels == FILLER, NONE, labels), NONE), spans)[::2]
    both = (most != FILLER) & (most != least)
    if both.any():
        token = [text for each in encodings for text in each.tokens][int(np.flatnonzero(both)[0])]
        raise UserError(f"tokenizer: its token {token!r} joins two facts of a text; use one that splits at blanks")
    return most, spans


def reach(marks: NDArray, spans: NDArray[np.int64]) -> NDArray:
    """The largest mark among the characters of each token."""
    return np.maximum.reduceat(np.append(marks, np.zeros(1, marks.dtype)), spans)[::2]


def _spans(encodings: list[Encoding], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each token begins and ends among the characters of all texts, one after the other, (2 * tokens,)."""
    sizes = [len(each) for each in encodings]
    offsets = np.fromiter(chain.from_iterable(chain.from_iterable(each.offsets for each in encodings)), np.int64)
    spans = offsets.reshape(-1, 2) + np.repeat(starts, sizes)[:, None]
    spans[:, 1] = np.maximum(spans[:, 1], spans[:, 0] + 1)
    return spans.ravel()
