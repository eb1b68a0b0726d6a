"""Pieces of text, tokenised once: the tables that a rendering is gathered from."""

from collections.abc import Iterable
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from capacity.errors import UserError
from capacity.world.grammar import Attribute, Grammar
from capacity.world.token_merges import REMEDY, read_grammar

EOS_ID = 0  # id of the token between biographies, in every tokenizer of this project; no piece contains it
FILLER, NAME, FIRST_VALUE = 0, 1, 2  # labels; value items count on from FIRST_VALUE in the account's order
EMPTY = 0  # the piece of no tokens

Run = tuple[str | None, int]  # facts column and the number of the piece of its code 0


class PieceTable:
    """All pieces of a grammar by number. Each slot, side of a template, and subject owns a run of numbers.

    tokens, labels, first_chunk: flat, pieces end to end. sizes, starts: by piece number. names, values: the
    facts column and the first number of each slot's run. leaks: for an attribute that another one decides, its
    values again, labelled as that one's, for texts that have them first. merge, most_change: as in Reading. num_used:
    the ids that texts can hold and EOS. vocab_size: V, as in `model_rows`. Raises UserError where the tokenizer
    lacks the grammar's words.
    """

    def __init__(self, grammar: Grammar, chunked: bool, tokenizer: Tokenizer, all_rows: bool):
        self.grammar, self.chunked, self._all_rows = grammar, chunked, all_rows
        self.tokenizer = tokenizer
        self.texts, self._labels, self._first = [""], [FILLER], [False]
        self._number_subjects()
        self._number_sentences()
        self._tokenise()

    def _add(self, texts: Iterable[str], label: int, first_chunk: bool = False) -> int:
        """Append a run of pieces; returns the number of its first."""
        start = len(self.texts)
        self.texts += texts
        self._labels += [label] * (len(self.texts) - start)
        self._first += [first_chunk] * (len(self.texts) - start)
        return start

    def _number_subjects(self) -> None:
        grammar = self.grammar
        self.tag = self._add([grammar.tag], FILLER) if grammar.tag else EMPTY
        self.names = [(slot.column, self._add(grammar.texts(slot), NAME)) for slot in grammar.name]
        self.suffix = self._add([grammar.name_suffix], FILLER) if grammar.name_suffix else EMPTY
        if grammar.pronoun:
            texts, column = grammar.texts(grammar.pronoun), grammar.pronoun.column
            label = FIRST_VALUE + grammar.items.index(column) if column else FILLER
            self.first_pronoun, self.later_pronoun = self._add(texts, label), self._add(texts, FILLER)

    def _number_sentences(self) -> None:
        self.befores, self.afters = [], []
        self.values: list[list[Run]] = []
        self.leaks: list[list[Run]] = []
        for attribute in self.grammar.attributes:
            label = FIRST_VALUE + self.grammar.items.index(attribute.name) if attribute.is_item else FILLER
            self.befores.append(self._add((before for before, _ in attribute.templates), FILLER))
            self.afters.append(self._add((after for _, after in attribute.templates), FILLER))
            runs = []
            for place, slot in enumerate(attribute.slots):
                first_chunk = self.chunked and place == 0
                runs.append((slot.column, self._add(self.grammar.texts(slot), label, first_chunk)))
            self.values.append(runs)
            self.leaks.append([] if attribute.is_item else self._number_leak(attribute))

    def _number_leak(self, attribute: Attribute) -> list[Run]:
        """The values of an attribute that another one decides, labelled as that other one's."""
        assert attribute.determined_by
        source = FIRST_VALUE + self.grammar.items.index(attribute.determined_by)
        return [(slot.column, self._add(self.grammar.texts(slot), source)) for slot in attribute.slots]

    def _tokenise(self) -> None:
        reading = read_grammar(self.tokenizer, self.grammar)
        pieces = [reading.known[text] if text else [] for text in self.texts]
        self.sizes = np.array([len(piece) for piece in pieces], dtype=np.int64)
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.merge, self.most_change = reading.merge, reading.most_change
        used = reading.used | {EOS_ID}
        self.num_used = len(used)
        if self.tag != EMPTY and self.sizes[self.tag] != 1:
            raise UserError(f"tag: the tokenizer reads {self.grammar.tag!r} as {self.sizes[self.tag]} tokens; {REMEDY}")
        self.vocab_size = model_rows(len(used), max(used), self.tokenizer, self._all_rows)
        tokens = np.fromiter(chain.from_iterable(pieces), np.uint32, self.sizes.sum())
        # Pieces may hold tokens that no text has, because they merge with what follows: those have no row.
        largest = max(self.vocab_size - 1, tokens.max(initial=0))
        self.tokens = tokens.astype(np.uint16) if largest < 2**16 else tokens
        self.piece_labels = np.array(self._labels, dtype=np.uint8)
        self.piece_first_chunk = np.array(self._first, dtype=bool)
        self.labels = np.repeat(self.piece_labels, self.sizes)
        self.first_chunk = np.repeat(self.piece_first_chunk, self.sizes)

    def column_sizes(self) -> dict[str, NDArray[np.int64]]:
        """Tokens that each code of a facts column brings into a whole biography, by column."""
        counts = {column: np.zeros(size, np.int64) for column, size in self.grammar.column_sizes.items()}
        runs = [*self.names, *chain.from_iterable(self.values)]
        if self.grammar.pronoun:
            runs += [(self.grammar.pronoun.column, self.first_pronoun)] * (len(self.grammar.attributes) - 1)
        for column, base in runs:
            if column is not None:
                counts[column] += self.sizes[base : base + len(counts[column])]
        return counts

    def template_sizes(self) -> list[NDArray[np.int64]]:
        """Tokens that each template brings into a sentence, by attribute."""
        sizes = []
        for attribute, before, after in zip(self.grammar.attributes, self.befores, self.afters, strict=True):
            count = len(attribute.templates)
            sizes.append(self.sizes[before : before + count] + self.sizes[after : after + count])
        return sizes

    def constant_size(self) -> int:
        """Tokens of every whole biography that neither facts nor templates decide, without the tag."""
        pronoun, suffix = self.grammar.pronoun, int(self.sizes[self.suffix])
        if pronoun is None or pronoun.column is not None:
            return suffix
        return suffix + (len(self.grammar.attributes) - 1) * int(self.sizes[self.first_pronoun])


def model_rows(num_used: int, last_used: int, tokenizer: Tokenizer, all_rows: bool) -> int:
    """V, the rows of a model's embedding: a dataset's tokens, which are numbered first, or all of the tokenizer.

    num_used: different ids that the dataset can produce, EOS included; last_used: the largest. Raises UserError
    where it would have rows that the dataset never uses, unasked.
    """
    if all_rows:
        return tokenizer.get_vocab_size()
    if last_used >= num_used:
        raise UserError(f"tokenizer: it has rows that this dataset never uses; {REMEDY}")
    return num_used
