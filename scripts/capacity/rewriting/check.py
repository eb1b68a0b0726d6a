"""Which facts of a person a text mentions, and where: the check of every rewriting.

A fact counts as mentioned where its value stands as it is in the pools ("October 2, 1996", not "2 Oct 1996"), between
word ends, and is not part of a longer value. A value of the same kind that is not the person's, another full name, or
a pronoun of another gender makes the fact wrong, even where the right one stands too: then it is nowhere scored.
A text that is wrong about the name mentions no fact of the person, and so does one that does not begin with it: words
before it are not scored, and where they are a text's own they tell whose it is.
No value stands in two pools (`check_pools`), so that none can be right in another's place; the working city, which
could be taken for the birth city, is not mentioned.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from capacity.errors import UserError
from capacity.world.grammar import Attribute, Grammar, Slot
from capacity.world.pieces import FIRST_VALUE, NAME
from capacity.world.rewritings import Mark

WORD = re.compile(r"\w+|\S")
GOES_ON = re.compile(r"\w|[-'’]\w")  # behind a value: it is part of a longer word, unless a possessive
POSSESSIVE = re.compile(r"['’]s\b")
GENDERED = {
    "He": {"he", "him", "his", "himself", "mr", "man", "son"},
    "She": {"she", "her", "hers", "herself", "ms", "mrs", "miss", "woman", "daughter"},
}
MISSING, WRONG = "missing", "wrong"


@dataclass(frozen=True)
class Found:
    """A value of an item's pools in a text; right: it is the person's."""

    item: int
    start: int
    stop: int
    right: bool


@dataclass(frozen=True)
class Checked:
    """A text's marks, and what it does not mention: item -> missing or wrong."""

    marks: list[Mark]
    flaws: dict[str, str]

    @property
    def num_mentioned(self) -> int:
        """How many facts it mentions rightly."""
        return len({label for label, _, _ in self.marks})


def mentioned_attributes(grammar: Grammar) -> list[Attribute]:
    """The attributes that a rewriting mentions: those that are knowledge."""
    return [attribute for attribute in grammar.attributes if attribute.is_item]


def check_pools(grammar: Grammar) -> None:
    """Refuse a value that stands in two attributes' pools: in the wrong place it would count. Raises UserError."""
    seen: dict[str, str] = {}
    for attribute in mentioned_attributes(grammar):
        for slot in attribute.slots[:1]:
            for value in grammar.pools[slot.pool]:
                if seen.setdefault(value, attribute.name) != attribute.name:
                    raise UserError(
                        f"value_lists: {value!r} is both {seen[value]} and {attribute.name}; a text that takes one for "
                        "the other could not be distinguished from a right one, remove it from one list"
                    )


class Checker:
    """Checks texts against people of one grammar."""

    def __init__(self, grammar: Grammar):
        check_pools(grammar)
        self.grammar = grammar
        self.items = ["name", *grammar.items]
        self._slots = {NAME: grammar.name}
        for attribute in mentioned_attributes(grammar):
            self._slots[FIRST_VALUE + grammar.items.index(attribute.name)] = attribute.slots
        self._pools = {slot.pool: _by_first_word(grammar, slot) for slots in self._slots.values() for slot in slots}
        self._beginning: dict[str, list[int]] = {}  # first words of values -> their items
        for item, slots in self._slots.items():
            for word in self._pools[slots[0].pool]:
                self._beginning.setdefault(word, []).append(item)

    def check(self, text: str, codes: dict[str, int]) -> Checked:
        """The text against a person's codes by column."""
        found = list(_outermost(self._found(text, codes)))
        marks: list[Mark] = []
        flaws: dict[str, str] = {}
        for item in self._slots:
            mine = [each for each in found if each.item == item]
            late = item == NAME and mine and text[: mine[0].start].strip()
            if late or not all(each.right for each in mine):
                flaws[self.items[item - NAME]] = WRONG
            elif not mine or any(_overlap(mine[0], (start, stop)) for _, start, stop in marks):
                flaws[self.items[item - NAME]] = MISSING
            else:
                marks.append((item, mine[0].start, mine[0].stop))
        spans = [(each.start, each.stop) for each in found]
        words = [match for match in WORD.finditer(text) if not _inside(match.start(), spans)]
        given_away = self._given_away(text, marks, words)
        taken = {start for _, start, _ in given_away}  # a word counts for one item
        marks += given_away
        marks += self._gender([word for word in words if word.start() not in taken], codes, flaws)
        if "name" in flaws:  # what it mentions is of another person
            marks = []
        return Checked(sorted((_with_blank(text, mark) for mark in marks), key=lambda mark: mark[1]), flaws)

    def _found(self, text: str, codes: dict[str, int]) -> Iterator[Found]:
        """Every value of every item, the longest at each place."""
        for match in WORD.finditer(text):
            start = match.start()
            if start and text[start - 1] in "-'’":
                continue
            for item in self._beginning.get(match.group(), ()):
                stops = [
                    (stop, codes.items() >= read.items()) for stop, read in self._read(text, start, self._slots[item])
                ]
                if stops:
                    yield Found(item, start, *max(stops))

    def _read(self, text: str, place: int, slots: tuple[Slot, ...]) -> Iterator[tuple[int, dict[str, int]]]:
        """Every value that begins at a place: where it ends, and its codes by column."""
        slot, *others = slots
        word = WORD.match(text, place)
        assert slot.column
        for value, code in self._pools[slot.pool].get(word.group(), ()) if word else ():
            stop = place + len(value)
            if not text.startswith(value, place):
                continue
            if others and text.startswith(others[0].before, stop):
                for end, codes in self._read(text, stop + len(others[0].before), tuple(others)):
                    yield end, {slot.column: code} | codes
            elif not others and _ends(text, stop):
                yield stop, {slot.column: code}

    def _given_away(self, text: str, marks: list[Mark], words: list[re.Match[str]]) -> list[Mark]:
        """Words of a scored value, capitals and numbers, that stand before it: scored too, as they are a part of it."""
        more = []
        for item, start, stop in marks:
            parts = {word for word in WORD.findall(text[start:stop]) if word[0].isupper() or word[0].isdigit()}
            more += [(item, w.start(), w.end()) for w in words if w.end() <= start and w.group() in parts]
        taken: dict[int, Mark] = {mark[1]: mark for mark in reversed(more)}  # a word of two values counts for one
        return list(taken.values())

    def _gender(self, words: list[re.Match[str]], codes: dict[str, int], flaws: dict[str, str]) -> list[Mark]:
        """The first word that shows the gender, where pronouns show one."""
        pronoun = self.grammar.pronoun
        if not pronoun or not pronoun.column:
            return []
        values = self.grammar.pools[pronoun.pool]
        forms = {form: code for code, value in enumerate(values) for form in GENDERED.get(value, {value.lower()})}
        gendered = [(word, forms[word.group().lower()]) for word in words if word.group().lower() in forms]
        if not gendered or any(code != codes[pronoun.column] for _, code in gendered):
            flaws[pronoun.column] = WRONG if gendered else MISSING
            return []
        return [(FIRST_VALUE + self.grammar.items.index(pronoun.column), gendered[0][0].start(), gendered[0][0].end())]


def _by_first_word(grammar: Grammar, slot: Slot) -> dict[str, list[tuple[str, int]]]:
    """A pool's values as they stand in the slot, with their codes, by their first words."""
    values: dict[str, list[tuple[str, int]]] = {}
    for code, value in enumerate(grammar.pools[slot.pool]):
        first = WORD.match(value)
        assert first
        values.setdefault(first.group(), []).append((value + slot.after, code))
    return values


def _ends(text: str, stop: int) -> bool:
    """Whether a word ends here; a possessive s may follow."""
    return not GOES_ON.match(text, stop) or bool(POSSESSIVE.match(text, stop))


def _outermost(found: Iterator[Found]) -> Iterator[Found]:
    """What is found and no part of something longer that is found."""
    every = list(found)
    for each in every:
        if not any(
            other.start <= each.start and each.stop <= other.stop and other.stop - other.start > each.stop - each.start
            for other in every
        ):
            yield each


def _overlap(found: Found, span: tuple[int, int]) -> bool:
    return found.start < span[1] and span[0] < found.stop


def _inside(place: int, spans: list[tuple[int, int]]) -> bool:
    return any(start <= place < stop for start, stop in spans)


def _with_blank(text: str, mark: Mark) -> Mark:
    item, start, stop = mark
    return item, start - int(start > 0 and text[start - 1] == " "), stop
