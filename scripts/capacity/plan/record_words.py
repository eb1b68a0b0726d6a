"""Words of a table of records, counted when the table is read: what plans say of models rests on their number."""

from capacity.world.grammar import Grammar
from capacity.world.records import RecordsWorld

MOST_PIECES = 200_000  # values and phrases that are split into words, which takes some seconds

_WORDS: dict[str, int] = {}  # a table -> rows of an embedding of all its words


def note_words(dataset: RecordsWorld, grammar: Grammar) -> None:
    """Remember what a word vocabulary of a table has, EOS included; not of a table with more texts than that."""
    from tokenizers import Regex, pre_tokenizers

    from capacity.tokenizers.tokenization import WORD_PATTERN

    pieces = grammar.pieces()
    if len(pieces) <= MOST_PIECES:
        splitter = pre_tokenizers.Split(Regex(WORD_PATTERN), "isolated")
        words = {word for piece in pieces for word, _ in splitter.pre_tokenize_str(piece)}
        _WORDS[_key(dataset)] = 1 + len(words)


def words_of(dataset: RecordsWorld) -> int:
    """What was noted; of a table that was not read here, or is too large, every cell counts as one word."""
    return _WORDS.get(_key(dataset), dataset.N * (1 + len(dataset.attributes)))


def _key(dataset: RecordsWorld) -> str:
    return dataset.model_dump_json(exclude={"seed", "files"})
