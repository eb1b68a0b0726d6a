"""The offline rewriter: no weights, a stated rate of mistakes. Sentences of the grammar, joined and opened in ways of
its own.

Each fact of a person, the name and the gender included, is on its own corrupted at the stated rate: written wrongly or
left out, each half of the time.
"""

import numpy as np

from capacity.rewriting.check import mentioned_attributes
from capacity.rewriting.spec import GrammarRewriter
from capacity.world import streams
from capacity.world.facts import World
from capacity.world.grammar import Attribute, Slot

NOBODY = "This person"  # who has no name or no pronoun in a text that leaves it out
OPENINGS = ("Moreover, ", "In addition, ", "What is more, ", "As is well known, ")
JOINED, OPENED = 0.45, 0.25  # shares of later sentences that are joined to the one before, and that get an opening

Codes = dict[str, int]


class ParaphrasingGrammar:
    """Writes texts of people of one world."""

    def __init__(self, settings: GrammarRewriter, world: World, seed: int):
        self.rate, self.world, self.seed = settings.corruption, world, seed

    def write(self, asks: list[tuple[int, int]], attempt: int) -> list[str]:
        """A text for each (person, number of the text); another one at every attempt."""
        texts = []
        for person, number in asks:
            rng = streams.generator(self.seed, streams.REWRITING, person, number, attempt)
            codes = {column: int(values[person]) for column, values in self.world.facts.items()}
            texts.append(self._text(rng, codes))
        return texts

    def _text(self, rng: np.random.Generator, codes: Codes) -> str:
        grammar = self.world.grammar
        name = self._value(rng, grammar.name, codes) or NOBODY
        pronoun = self._value(rng, (grammar.pronoun,), codes) if grammar.pronoun else None
        attributes = mentioned_attributes(grammar)
        text = ""
        for index in rng.permutation(len(attributes)):
            rest = self._sentence(rng, attributes[index], codes)
            if rest is None:
                continue
            text = _joined(rng, text, pronoun or NOBODY, rest) if text else name + rest
        return text or f"{name} lives."

    def _sentence(self, rng: np.random.Generator, attribute: Attribute, codes: Codes) -> str | None:
        """A sentence behind its subject; None where it is left out."""
        value = self._value(rng, attribute.slots, codes)
        before, after = attribute.templates[rng.integers(len(attribute.templates))]
        return f"{before} {value}{after}" if value else None

    def _value(self, rng: np.random.Generator, slots: tuple[Slot, ...], codes: Codes) -> str | None:
        """What slots say, sometimes something else, sometimes nothing."""
        grammar = self.world.grammar
        pools = grammar.pools
        columns = [slot.column or "" for slot in slots]  # "" where there is but one thing to say
        said = {column: codes.get(column, 0) for column in columns}
        if any(columns) and rng.random() < self.rate:
            others = [slot for slot in slots if slot.column and len(pools[slot.pool]) > 1]
            if rng.random() < 0.5 or not others:
                return None
            slot = others[rng.integers(len(others))]
            column, size = slot.column or "", len(pools[slot.pool])
            said[column] = (said[column] + int(rng.integers(1, size))) % size
        texts = (grammar.read(slot, said[column]) for slot, column in zip(slots, columns, strict=True))
        return "".join(texts).strip()


def _joined(rng: np.random.Generator, text: str, subject: str, rest: str) -> str:
    """A text and one more sentence."""
    draw = rng.random()
    if draw < JOINED and text.endswith("."):
        return f"{text[:-1]}{(', and ', '; ')[rng.integers(2)]}{subject[0].lower()}{subject[1:]}{rest}"
    if draw > 1 - OPENED:
        return f"{text} {OPENINGS[rng.integers(len(OPENINGS))]}{subject[0].lower()}{subject[1:]}{rest}"
    return f"{text} {subject}{rest}"
