"""Where pieces of text join: whether a token can reach from one into the next, and what tokens a text can hold then."""

import json
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, product
from typing import NamedTuple

from tokenizers import Encoding, Tokenizer

from capacity.errors import UserError
from capacity.world.grammar import Grammar

BATCH = 16_384  # texts encoded at a time
REMEDY = "build it for this dataset"
DIGITS = string.digits
KINDS = str.maketrans(string.ascii_lowercase + string.ascii_uppercase + DIGITS, "a" * 26 + "A" * 26 + "0" * len(DIGITS))

Ids = list[int]


class Merged(NamedTuple):
    """Two pieces that read otherwise together than one after the other: the last `back` tokens of the left one and
    the first `front` of the right one make room for `joint`.
    """

    left: str
    right: str
    back: int
    front: int
    joint: Ids

    @property
    def change(self) -> int:
        """Tokens that the two have more together."""
        return len(self.joint) - self.back - self.front


@dataclass
class Reading:
    """How a tokenizer reads a grammar's texts.

    known: ids of every piece alone. merge: whether a token can reach from one piece into the next, so that a text
    has to be tokenised whole. most_change: tokens that a junction of two pieces then adds, at most. used: ids that
    texts can hold, as far as pairs of pieces show.
    """

    known: dict[str, Ids]
    merge: bool = False
    most_change: int = 0
    used: set[int] = field(default_factory=set)


def read_grammar(tokenizer: Tokenizer, grammar: Grammar) -> Reading:
    """Read every piece, and every two that can stand side by side.

    Raises UserError where the tokenizer does not give a piece's text back, and for a tag that merges.
    """
    reading, cuts = Reading(encode_pieces(tokenizer, grammar)), Cuts(tokenizer)
    backs, fronts = dict.fromkeys(_last(grammar), 0), dict.fromkeys(grammar.texts(grammar.name[0]), 0)
    for junction in grammar.junctions():
        lefts, rights = ([*dict.fromkeys(filter(None, texts))] for texts in junction)
        cut = cuts.between(lefts, rights)
        pairs = [] if cut else list(_merged(tokenizer, lefts, rights, reading.known))
        for each in pairs:
            if each.left == grammar.tag:
                raise UserError(f"tag: the tokenizer joins {grammar.tag!r} with a name; use one that splits at blanks")
            reading.used.update(each.joint)
            reading.merge = True
            reading.most_change = max(reading.most_change, each.change)
        _keep_least(backs, lefts, [(each.left, each.back) for each in pairs], len(rights))
        _keep_least(fronts, rights, [(each.right, each.front) for each in pairs], len(lefts))
    for piece, ids in reading.known.items():
        reading.used.update(ids[fronts.get(piece, 0) : len(ids) - backs.get(piece, 0)])
    return reading


def _last(grammar: Grammar) -> Iterator[str]:
    """Pieces that can end a text."""
    for attribute in grammar.attributes:
        yield from (after for _, after in attribute.templates if after)
        if not all(after for _, after in attribute.templates):
            yield from grammar.texts(attribute.slots[-1])


def _keep_least(least: dict[str, int], texts: list[str], lost: list[tuple[str, int]], num_neighbours: int) -> None:
    """Lower what each text loses at least: nothing, where some of its neighbours leave it whole."""
    losses: dict[str, list[int]] = {}
    for text, tokens in lost:
        losses.setdefault(text, []).append(tokens)
    for text in texts if num_neighbours else ():
        all_of_it = losses.get(text, [])
        here = min(all_of_it) if len(all_of_it) == num_neighbours else 0
        least[text] = min(here, least.get(text, here))


def _merged(tokenizer: Tokenizer, lefts: list[str], rights: list[str], known: dict[str, Ids]) -> Iterator[Merged]:
    """Those of all pairs that read otherwise together."""
    pairs = product(lefts, rights)
    while some := list(islice(pairs, BATCH)):
        together = encode_texts(tokenizer, [left + right for left, right in some], "put blanks around values")
        for (left, right), encoding in zip(some, together, strict=True):
            if encoding.ids != known[left] + known[right]:
                yield _compared(left, right, encoding.ids, known)


def _compared(left: str, right: str, ids: Ids, known: dict[str, Ids]) -> Merged:
    """What is lost of two pieces, and what comes instead."""
    first, second = known[left], known[right]
    same_front = _num_same(ids, first)
    same_back = _num_same(ids[same_front:][::-1], second[::-1])
    joint = ids[same_front : len(ids) - same_back]
    return Merged(left, right, len(first) - same_front, len(second) - same_back, joint)


def _num_same(some: Ids, others: Ids) -> int:
    """How many first ids are equal."""
    return next((n for n, (a, b) in enumerate(zip(some, others, strict=False)) if a != b), min(len(some), len(others)))


class Cuts:
    """Where a tokenizer's pattern cuts a text, so that no token reaches over; without a pattern, nowhere.

    Patterns look at the kinds of characters around a place, at letters behind an apostrophe, and some count digits: of
    texts alike in the last three characters and the number of digits at the end, or in the first three characters
    and the number of digits there, one stands for all.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._there = _splits_by_pattern(tokenizer)
        self._normalizer, self._pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
        self._known: dict[tuple[str, str], bool] = {}

    def between(self, lefts: list[str], rights: list[str]) -> bool:
        """Whether it cuts between every left and every right text."""
        if not self._there:
            return False
        some_lefts = {(_kinds(text[-3:]), len(text) - len(text.rstrip(DIGITS))): text for text in lefts}
        follows = any("'" in text[-3:] for text in lefts)
        some_rights = {
            (text[:3] if follows else _kinds(text[:3]), len(text) - len(text.lstrip(DIGITS))): text for text in rights
        }
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


def _splits_by_pattern(tokenizer: Tokenizer) -> bool:
    """Whether a text is cut by a pattern before any token is made, so that what is far from a cut plays no part."""
    component = json.loads(tokenizer.to_str())["pre_tokenizer"] or {"type": "none"}
    parts = component["pretokenizers"] if component["type"] == "Sequence" else [component]
    return any(
        (part["type"] == "Split" and "Regex" in part["pattern"]) or (part["type"] == "ByteLevel" and part["use_regex"])
        for part in parts
    )


def encode_pieces(tokenizer: Tokenizer, grammar: Grammar) -> dict[str, Ids]:
    """Token ids of every piece of a grammar, tokenised alone, in little memory: equal ids are one number.

    Raises UserError where the tokenizer does not give a piece's text back.
    """
    pieces, numbers = grammar.pieces(), dict[int, int]()
    known: dict[str, Ids] = {}
    for start in range(0, len(pieces), BATCH):
        some = pieces[start : start + BATCH]
        for piece, encoding in zip(some, encode_texts(tokenizer, some), strict=True):
            known[piece] = [numbers.setdefault(index, index) for index in encoding.ids]
        check_decodes(tokenizer, some, [known[piece] for piece in some])
    return known


def encode_texts(tokenizer: Tokenizer, texts: list[str], remedy: str = REMEDY, offsets: bool = False) -> list[Encoding]:
    """Encodings of texts, with or without the characters that tokens stand for.

    Raises UserError for a word outside a closed vocabulary.
    """
    encode = tokenizer.encode_batch if offsets else tokenizer.encode_batch_fast
    try:
        return encode(texts, add_special_tokens=False)
    except Exception as error:  # tokenizers raises plain Exception
        raise UserError(f"tokenizer: it cannot read this dataset's words ({error}); {remedy}") from None


def check_decodes(tokenizer: Tokenizer, texts: list[str], ids: list[Ids]) -> None:
    """Refuse a tokenizer that does not give texts back: byte-level BPE drops what is not in its alphabet."""
    for text, again in zip(texts, tokenizer.decode_batch(ids), strict=True):
        if text != again:
            raise UserError(f"tokenizer: it reads {text!r} as {again!r}; {REMEDY}")
