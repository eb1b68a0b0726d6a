"""How a person's facts are worded: pools, slots, templates and sentences, the same for every kind of world.

A biography is one sentence an attribute, in any order. A sentence is [subject, text before, value slots, text
after]; its template chooses the two texts. The subject of the first sentence is the full name, of all others
the pronoun. Every piece of text brings the blank in front of it, so a biography is the concatenation of its
pieces.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from capacity.world.pools import num_beginnings

EOS_TOKEN = "<|endoftext|>"  # stands between biographies; no piece contains it


@dataclass(frozen=True)
class Slot:
    """A place that a fact fills: code i of its column reads `before + pool[i] + after`."""

    column: str | None  # None: no fact, always code 0
    pool: str
    before: str = " "
    after: str = ""


@dataclass(frozen=True)
class Attribute:
    """What one sentence states: an item (knowledge to be scored), or what follows from another attribute."""

    name: str
    slots: tuple[Slot, ...]
    templates: tuple[tuple[str, str], ...]  # (text before the value, text after it)
    determined_by: str | None = None  # the attribute whose value decides this one; then it is no item

    @property
    def is_item(self) -> bool:
        return self.determined_by is None


@dataclass(frozen=True)
class Grammar:
    """Everything but the facts: what can be said of a person, and how."""

    pools: dict[str, tuple[str, ...]]
    name: tuple[Slot, ...]  # the parts of a full name
    name_suffix: str  # between the full name and the first sentence's text, for example "'s"
    pronoun: Slot | None  # the subject of later sentences; None: they have no subject
    attributes: tuple[Attribute, ...]
    shuffled: bool = True  # sentences come in any order; False: always in the order of the attributes
    paragraphs: int | None = None  # wordings a person has, used in turn; None: every exposure words them anew
    tag: str = ""  # in front of every biography; scored by nobody

    @property
    def items(self) -> list[str]:
        """Names of the value items in the order of their labels; a pronoun that shows a fact comes last."""
        shown = [self.pronoun.column] if self.pronoun and self.pronoun.column else []
        return [attribute.name for attribute in self.attributes if attribute.is_item] + shown

    @cached_property
    def column_sizes(self) -> dict[str, int]:
        """Number of codes by facts column: the parts of the name first."""
        sizes: dict[str, int] = {}
        for slot in self._slots():
            if slot.column is not None:
                assert sizes.setdefault(slot.column, len(self.pools[slot.pool])) == len(self.pools[slot.pool])
        return sizes

    def _slots(self) -> Iterator[Slot]:
        yield from self.name
        for attribute in self.attributes:
            yield from attribute.slots
        if self.pronoun:
            yield self.pronoun

    def attribute_index(self, name: str) -> int:
        """Position of an attribute. Raises KeyError."""
        for index, attribute in enumerate(self.attributes):
            if attribute.name == name:
                return index
        raise KeyError(name)

    def texts(self, slot: Slot) -> list[str]:
        """What each code of a slot reads in a sentence."""
        return [slot.before + value + slot.after for value in self.pools[slot.pool]]

    def read(self, slot: Slot, code: int) -> str:
        """What one code of a slot reads in a sentence."""
        return slot.before + self.pools[slot.pool][code] + slot.after

    def pieces(self) -> list[str]:
        """Every distinct piece of text that a biography can contain, in a fixed order."""
        texts = dict.fromkeys(text for slot in self._slots() for text in self.texts(slot))
        for attribute in self.attributes:
            texts |= dict.fromkeys(text for template in attribute.templates for text in template)
        texts |= {self.name_suffix: None, self.tag: None}
        return [text for text in texts if text]

    def junctions(self) -> Iterator[tuple[list[str], list[str]]]:
        """Pairs of lists such that each text of the first can stand right before each text of the second."""
        name = [self.texts(slot) for slot in self.name] + ([[self.name_suffix]] if self.name_suffix else [])
        openings = [before for attribute in self.attributes for before, _ in attribute.templates]
        subjects = self.texts(self.pronoun) if self.pronoun else openings
        yield from pairwise(([[self.tag]] if self.tag else []) + name)
        yield name[-1], openings
        if self.pronoun:
            yield subjects, openings
        for attribute in self.attributes:
            values = [self.texts(slot) for slot in attribute.slots]
            befores, afters = (list(texts) for texts in zip(*attribute.templates, strict=True))
            if "" in befores:  # a world of one attribute and no words
                yield name[-1], values[0]
            closings = [after for after in afters if after]
            yield befores, values[0]
            yield from pairwise(values)
            yield values[-1], closings
            yield closings, subjects
            if len(closings) < len(afters):
                yield values[-1], subjects

    def num_beginnings(self) -> dict[str, int]:
        """By pool that has any, values that begin another word by word: a loss does not show where one ends."""
        ends = {slot.pool: slot.after for slot in self._slots()}
        counts = {pool: num_beginnings(value + ends[pool] for value in self.pools[pool]) for pool in ends}
        return {pool: count for pool, count in counts.items() if count}

    def to_json(self) -> dict[str, Any]:
        """Plain data from which `from_json` makes an equal grammar."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Grammar":
        """The grammar that `to_json` wrote."""
        return cls(
            pools={name: tuple(values) for name, values in data["pools"].items()},
            name=tuple(Slot(**slot) for slot in data["name"]),
            name_suffix=data["name_suffix"],
            pronoun=Slot(**data["pronoun"]) if data["pronoun"] else None,
            attributes=tuple(_attribute_from(attribute) for attribute in data["attributes"]),
            shuffled=data["shuffled"],
            paragraphs=data["paragraphs"],
            tag=data["tag"],
        )


def _attribute_from(data: dict[str, Any]) -> Attribute:
    return Attribute(
        name=data["name"],
        slots=tuple(Slot(**slot) for slot in data["slots"]),
        templates=tuple((before, after) for before, after in data["templates"]),
        determined_by=data["determined_by"],
    )
