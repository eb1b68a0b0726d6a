"""What is seen of a user's own facts when their files are read: how many words there are, and what reads as free text.

What plans say of models rests on the number of words.
"""

import math
from collections.abc import Callable, Iterable

import pyarrow as pa

from capacity.plan.free_text import free_text_notes
from capacity.world.bios import BioSWorld
from capacity.world.grammar import Grammar
from capacity.world.records import RecordsWorld

MOST_PIECES = 200_000  # values and phrases that are split into words, which takes some seconds
ROWS = 1000  # of a table, the first, by which a text's length is estimated
PHRASE = 5  # words about a value, assumed

_WORDS: dict[str, int] = {}  # a world -> rows of an embedding of all its words
_TOKENS: dict[str, int] = {}  # a table -> tokens of a text, in the mean
_FREE_TEXT: dict[str, list[str]] = {}  # a table -> a line for each column of free text


def note_words(dataset: RecordsWorld | BioSWorld, grammar: Grammar) -> None:
    """Remember what a word vocabulary of a world has, EOS included; not of one with more texts than that."""
    pieces = grammar.pieces()
    if len(pieces) <= MOST_PIECES:
        split = _splitter()
        _WORDS[_key(dataset)] = 1 + len({word for piece in pieces for word in split(piece)})


def note_tokens(dataset: RecordsWorld, table: pa.Table) -> None:
    """Remember about how many words a text of a table has, EOS included."""
    split, rows = _splitter(), table.slice(0, ROWS)
    values = [str(value) for column in rows.columns for value in column.to_pylist()]
    words = sum(len(list(split(value))) for value in values)
    _TOKENS[_key(dataset)] = 1 + PHRASE * len(dataset.attributes) + math.ceil(words / max(1, rows.num_rows))


def note_free_text(dataset: RecordsWorld, grammar: Grammar) -> None:
    """Remember what is to be said of columns that read as free text."""
    _FREE_TEXT[_key(dataset)] = free_text_notes(grammar, dataset.attributes, dataset.N)


def free_text_of(dataset: RecordsWorld) -> list[str]:
    """The lines that were noted of a table's columns of free text."""
    return _FREE_TEXT.get(_key(dataset), [])


def words_of(dataset: RecordsWorld | BioSWorld, otherwise: int) -> int:
    """Rows of an embedding of all words, where that was noted."""
    return _WORDS.get(_key(dataset), otherwise)


def tokens_of(dataset: RecordsWorld, otherwise: int) -> int:
    """Tokens of a text, where that was noted."""
    return _TOKENS.get(_key(dataset), otherwise)


def _splitter() -> Callable[[str], Iterable[str]]:
    """Splits a text into words as the word tokenizer does."""
    from tokenizers import Regex, pre_tokenizers

    from capacity.tokenizers.tokenization import WORD_PATTERN

    splitter = pre_tokenizers.Split(Regex(WORD_PATTERN), "isolated")
    return lambda text: [word for word, _ in splitter.pre_tokenize_str(text)]


def _key(dataset: RecordsWorld | BioSWorld) -> str:
    return dataset.model_dump_json(exclude={"seed", "files"})
