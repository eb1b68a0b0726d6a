"""Columns of a table of one's own that are free text: the account counts a choice among known values, no letters."""

import math
from collections.abc import Sequence

from capacity.world.grammar import Grammar

MANY_LETTERS, MANY_WORDS = 32, 6  # of a value, in the mean, from which it is no name and no short code
DIFFERENT = 0.5  # different values a row, from which hardly any value says anything of another row


def free_text_notes(grammar: Grammar, columns: Sequence[str], num_rows: int) -> list[str]:
    """A line for each of these columns whose values are long and mostly different."""
    pools = {column: grammar.pools[column] for column in columns}
    return [_note(column, pool, num_rows) for column, pool in pools.items() if _is_free_text(pool, num_rows)]


def _is_free_text(pool: Sequence[str], num_rows: int) -> bool:
    letters, words = sum(map(len, pool)), sum(len(text.split()) for text in pool)
    is_long = letters >= MANY_LETTERS * len(pool) or words >= MANY_WORDS * len(pool)
    return is_long and len(pool) >= DIFFERENT * num_rows


def _note(column: str, pool: Sequence[str], num_rows: int) -> str:
    letters = sum(map(len, pool)) / len(pool)
    return (
        f"{column} is free text: {len(pool):,} different values in {num_rows:,} rows, {letters:.0f} letters each; the "
        f"account counts {math.log2(len(pool)):.1f} bits a value, which one of them it is, and nothing of what they "
        "say, so that R comes out far too low; leave it out by attributes, or put short values in its place"
    )
