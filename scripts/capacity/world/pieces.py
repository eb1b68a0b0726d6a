"""Pieces of text, tokenised once: the tables that a rendering is gathered from."""

import json
import string
from collections.abc import Iterable, Iterator
from itertools import chain, islice, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from capacity.errors import UserError
from capacity.world.grammar import Attribute, Grammar

EOS_ID = 0  # id of the token between biographies, in every tokenizer of this project; no piece contains it
EOS_TOKEN = "<|endoftext|>"
FILLER, NAME, FIRST_VALUE = 0, 1, 2  # labels; value items count on from FIRST_VALUE in the account's order
EMPTY = 0  # the piece of no tokens
BATCH = 16_384  # texts encoded at a time
DIGITS = string.digits
KINDS = str.maketrans(string.ascii_lowercase + string.ascii_uppercase + DIGITS, "a" * 26 + "A" * 26 + "0" * len(DIGITS))
REMEDY = "build it for this dataset"

Run = tuple[str | None, int]  # facts column and the number of the piece of its code 0


class Merged(NamedTuple):
    """Two pieces whose text together reads as `ids`, with `change` more tokens than one after the other."""

    pair: tuple[str, str]
    ids: list[int]
    change: int


class PieceTable:
    """All pieces of a grammar by number. Each slot, side of a template, and subject owns a run of numbers.

    tokens, labels, first_chunk: flat, pieces end to end. sizes, starts: by piece number. names, values: the
    facts column and the first number of each slot's run. leaks: for an attribute that another one decides, its
    values again, labelled as that one's; told first, they give it away. merge: whether a token can reach from
    one piece into the next, so that a text has to be tokenised whole; least_change, most_change: tokens that a
    junction of two pieces then adds. num_used: the ids that the grammar can
    produce and EOS. vocab_size: V, as in `model_rows`. Raises UserError where the tokenizer does not know the
    grammar's words.
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
            told = FIRST_VALUE + grammar.items.index(column) if column else FILLER
            self.first_pronoun, self.later_pronoun = self._add(texts, told), self._add(texts, FILLER)

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
        known = encode_pieces(self.tokenizer, self.grammar)
        pieces = [known[text] if text else [] for text in self.texts]
        self.sizes = np.array([len(piece) for piece in pieces], dtype=np.int64)
        self.starts = np.cumsum(self.sizes) - self.sizes
        used = {EOS_ID}.union(*known.values())
        self.merge, self.least_change, self.most_change = False, 0, 0
        for merged in merged_pairs(self.tokenizer, self.grammar, known):
            used.update(merged.ids)
            self.merge = True
            self.least_change = min(self.least_change, merged.change)
            self.most_change = max(self.most_change, merged.change)
        self.num_used = len(used)
        if self.tag != EMPTY and self.sizes[self.tag] != 1:
            raise UserError(f"tag: the tokenizer reads {self.grammar.tag!r} as {self.sizes[self.tag]} tokens; {REMEDY}")
        self.vocab_size = model_rows(len(used), max(used), self.tokenizer, self._all_rows)
        token_type = np.uint16 if self.vocab_size <= 2**16 else np.uint32
        self.tokens = np.fromiter(chain.from_iterable(pieces), token_type, self.sizes.sum())
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


def encode_pieces(tokenizer: Tokenizer, grammar: Grammar) -> dict[str, list[int]]:
    """Token ids of every piece of a grammar, tokenised alone.

    Raises UserError where the tokenizer does not give a piece's text back.
    """
    pieces = grammar.pieces()
    known = dict(zip(pieces, _encode(tokenizer, pieces), strict=True))
    for piece, text in zip(pieces, _decode(tokenizer, list(known.values())), strict=True):
        if text != piece:  # byte-level BPE drops what is not in its alphabet without a word
            raise UserError(f"tokenizer: it reads {piece!r} as {text!r}; {REMEDY}")
    return known


def merged_pairs(tokenizer: Tokenizer, grammar: Grammar, known: dict[str, list[int]]) -> Iterator[Merged]:
    """Every two pieces that can stand side by side and read otherwise together than one after the other.

    No token reaches over a cut, so only pairs between which a pre-tokeniser's pattern may not cut are tried; all
    pairs, where it has none. Raises UserError for a tag that merges.
    """
    cuts = _Cuts(tokenizer) if _splits_by_pattern(tokenizer) else None
    for lefts, rights in grammar.junctions():
        if cuts and cuts.between(lefts, rights):
            continue
        for each in _merged(tokenizer, product(lefts, rights), known):
            if each.pair[0] == grammar.tag:
                raise UserError(f"tag: the tokenizer joins {grammar.tag!r} with a name; use one that splits at blanks")
            yield each


class _Cuts:
    """Where a tokenizer's pattern cuts a text.

    Patterns look at the kinds of characters around a place, at letters behind an apostrophe, and some count digits: of
    texts alike in the last two characters and the number of digits at the end, or in the first three characters,
    one stands for all.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._normalizer, self._pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
        self._known: dict[tuple[str, str], bool] = {}

    def between(self, lefts: list[str], rights: list[str]) -> bool:
        """Whether it cuts between every left and every right text; empty ones aside."""
        some_lefts = {(_kinds(text[-2:]), len(text) - len(text.rstrip(DIGITS))): text for text in lefts if text}
        follows = any("'" in text[-2:] for text in lefts)
        some_rights = {text[:3] if follows else _kinds(text[:3]): text for text in rights if text}
        return all(self._cuts(pair) for pair in product(some_lefts.values(), some_rights.values()))

    def _cuts(self, pair: tuple[str, str]) -> bool:
        if pair not in self._known:
            left, both = (self._normalised(text) for text in (pair[0], "".join(pair)))
            ends = {end for _, (_, end) in self._pre_tokenizer.pre_tokenize_str(both)}
            self._known[pair] = len(left) in ends
        return self._known[pair]

    def _normalised(self, text: str) -> str:
        return self._normalizer.normalize_str(text) if self._normalizer else text


def _kinds(text: str) -> str:
    """Some characters, with one English letter of a case and one digit for all, unless there is an apostrophe."""
    return text if "'" in text else text.translate(KINDS)


def _merged(tokenizer: Tokenizer, pairs: Iterable[tuple[str, str]], known: dict[str, list[int]]) -> Iterator[Merged]:
    """Those of some pairs that read otherwise together."""
    told = (pair for pair in pairs if all(pair))
    while some := list(islice(told, BATCH)):
        for pair, ids in zip(some, _encode(tokenizer, ["".join(pair) for pair in some]), strict=True):
            apart = known[pair[0]] + known[pair[1]]
            if ids != apart:
                yield Merged(pair, ids, len(ids) - len(apart))


def _splits_by_pattern(tokenizer: Tokenizer) -> bool:
    """Whether a text is cut by a pattern before any token is made, so that what is far from a cut plays no part."""
    component = json.loads(tokenizer.to_str())["pre_tokenizer"] or {"type": "none"}
    parts = component["pretokenizers"] if component["type"] == "Sequence" else [component]
    return any(
        (part["type"] == "Split" and "Regex" in part["pattern"]) or (part["type"] == "ByteLevel" and part["use_regex"])
        for part in parts
    )


def _encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids of texts, in little memory: some are encoded at a time, and equal ids are one number.

    Raises UserError for a word outside a closed vocabulary.
    """
    numbers: dict[int, int] = {}
    known: list[list[int]] = []
    for start in range(0, len(texts), BATCH):
        try:
            some = tokenizer.encode_batch_fast(texts[start : start + BATCH], add_special_tokens=False)
        except Exception as error:  # tokenizers raises plain Exception
            raise UserError(f"tokenizer: it cannot read this dataset's words ({error}); {REMEDY}") from None
        known += [[numbers.setdefault(index, index) for index in encoding.ids] for encoding in some]
    return known


def _decode(tokenizer: Tokenizer, known: list[list[int]]) -> Iterator[str]:
    """Texts of token ids, some at a time."""
    for start in range(0, len(known), BATCH):
        yield from tokenizer.decode_batch(known[start : start + BATCH])
