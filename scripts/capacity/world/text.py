"""The text route: biographies as plain text, straight from grammar and draws."""

from collections.abc import Iterator

from capacity.world.draws import Draws
from capacity.world.facts import World
from capacity.world.grammar import Slot


def biographies(world: World, draws: Draws) -> Iterator[str]:
    """The text of each drawn biography. It begins with a blank, as every word in it does."""
    grammar, facts = world.grammar, world.facts

    def read(slot: Slot, person: int) -> str:
        code = 0 if slot.column is None else facts[slot.column][person]
        return slot.before + grammar.pools[slot.pool][code] + slot.after

    for person, order, templates in zip(draws.people, draws.order, draws.templates, strict=True):
        parts = [read(slot, person) for slot in grammar.name] + [grammar.name_suffix]
        for position, index in enumerate(order):
            attribute = grammar.attributes[index]
            before, after = attribute.templates[templates[index]]
            if position and grammar.pronoun:
                parts.append(read(grammar.pronoun, person))
            parts += [before, *(read(slot, person) for slot in attribute.slots), after]
        yield "".join(parts)
