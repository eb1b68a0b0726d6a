"""Columns of own facts that say again what another says: the account takes all for independent, and counts both."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from capacity.world.facts import World
from capacity.world.records import RecordsWorld

SAMPLE = 20_000  # rows that are looked at
REPEATED = 2  # rows a value, on average, below which nothing can be said to follow from it


def repeated_columns(world: World) -> list[tuple[str, str]]:
    """(column, an earlier or other one that decides its value in every row) of a table of records; [] of other worlds.

    Of two that decide each other the later one counts as the repetition.
    """
    if not isinstance(world.settings, RecordsWorld):
        return []
    return repetitions(world.facts, world.settings.attributes)


def repetitions(facts: Mapping[str, NDArray[np.unsignedinteger]], columns: Sequence[str]) -> list[tuple[str, str]]:
    """The same of some columns of codes, each (N,); the first `SAMPLE` rows speak for all."""
    codes = {column: facts[column][:SAMPLE].astype(np.int64) for column in columns}
    sizes = {column: len(np.unique(values)) for column, values in codes.items()}
    found: dict[str, str] = {}
    for column, values in codes.items():
        for other in columns:
            deciding = codes[other]
            if other == column or found.get(other) == column or len(deciding) < REPEATED * sizes[other]:
                continue
            if len(np.unique(deciding * (values.max() + 1) + values)) == sizes[other]:
                if sizes[column] == sizes[other] and columns.index(other) > columns.index(column):
                    continue  # each decides the other
                found[column] = other
                break
    return list(found.items())
