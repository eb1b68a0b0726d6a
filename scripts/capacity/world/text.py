"""The text route: biographies as plain text, straight from grammar and draws."""

from collections.abc import Iterator

from capacity.world.facts import World
from capacity.world.grammar import Slot
from capacity.world.junk import JunkPeople
from capacity.world.sampling import Draws


def biographies(world: World | JunkPeople, draws: Draws) -> Iterator[str]:
    """The text of each drawn biography. It begins with a blank, as every word in it does."""
    if isinstance(world, World) and world.rewritings:
        yield from world.rewritings.texts(draws.people * world.rewritings.W + draws.templates[:, 0])
        return
    grammar = world.grammar
    facts = {column: world.codes(column, draws.people) for column in grammar.column_sizes}

    def read(slot: Slot, row: int) -> str:
        return grammar.read(slot, 0 if slot.column is None else facts[slot.column][row])

    for row, (order, templates) in enumerate(zip(draws.order, draws.templates, strict=True)):
        parts = [grammar.tag, *(read(slot, row) for slot in grammar.name), grammar.name_suffix]
        for position, index in enumerate(order):
            attribute = grammar.attributes[index]
            before, after = attribute.templates[templates[index]]
            if position and grammar.pronoun:
                parts.append(read(grammar.pronoun, row))
            parts += [before, *(read(slot, row) for slot in attribute.slots), after]
        yield "".join(parts)
