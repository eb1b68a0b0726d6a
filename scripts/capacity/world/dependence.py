"""Columns of own facts that say again what another says: the account takes all for independent, and counts both."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from capacity.world.facts import World
from capacity.world.records import RecordsWorld

SAMPLE = 20_000  # rows that are looked at
FIRST = 500
REPEATED = 2  # rows a value, on average, below which nothing can be said to follow from it


def repeated_columns(world: World) -> list[tuple[str, str]]:
    """(column, an earlier or other one that decides its value in every row) of a table of records; [] of other worlds.

    Of two that decide each other the later one counts as the repetition; a copy of the entity's names is one too.
    """
    if not isinstance(world.settings, RecordsWorld):
        return []
    columns = world.settings.attributes
    found = _copies(world, (world.settings.entity, *columns)) | dict(repetitions(world.facts, columns))
    return [(column, found[column]) for column in columns if column in found]


def _copies(world: World, columns: Sequence[str]) -> dict[str, str]:
    """Columns with the texts of an earlier one in every row, where no value need stand twice."""
    pools, facts = world.grammar.pools, world.facts
    return {
        column: other
        for place, column in enumerate(columns)
        for other in columns[:place]
        if pools[column] == pools[other] and np.array_equal(facts[column], facts[other])
    }


def repetitions(facts: Mapping[str, NDArray[np.unsignedinteger]], columns: Sequence[str]) -> list[tuple[str, str]]:
    """The same of some columns of codes, each (N,); the first `SAMPLE` rows speak for all."""
    codes = {column: facts[column][:SAMPLE].astype(np.int64) for column in columns}
    sizes = {column: len(np.unique(values)) for column, values in codes.items()}
    deciding = [column for column in columns if len(codes[column]) >= REPEATED * sizes[column]]
    found = []
    for place, column in enumerate(columns):
        # Of two columns with as many values, each of which decides the other, the later one is the repetition.
        fewer = (
            o for o in deciding if sizes[o] > sizes[column] or (sizes[o] == sizes[column] and o in columns[:place])
        )
        if other := next((o for o in fewer if _decides(codes[o], codes[column])), None):
            found.append((column, other))
    return found


def _decides(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Whether rows of the same value of one have the same of the other; the first rows settle most cases."""
    pairs = one * (other.max() + 1) + other
    return all(len(np.unique(pairs[:rows])) == len(np.unique(one[:rows])) for rows in (FIRST, len(one)))
