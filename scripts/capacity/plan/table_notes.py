"""What a table of one's own has that its user may not mean: each a line of the preview, nothing of it an error."""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal

import numpy as np

from capacity.plan.free_text import free_text_notes
from capacity.world.dependence import repeated_columns
from capacity.world.facts import World
from capacity.world.records import RecordsWorld, column_entropy
from capacity.world.records_file import num_dropped

EMPTY_WORDS = {"na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", "unknown", "missing"}
NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+")
LARGE_SHARE = 0.02  # of a person's bits, from which the notes say what frequencies alone tell


def table_notes(world: World) -> list[str]:
    """Notes on a table of records; none on another world."""
    settings = world.settings
    if not isinstance(settings, RecordsWorld):
        return []
    notes = free_text_notes(world.grammar, settings.attributes, settings.N)
    if dropped := num_dropped(settings):
        notes.append(f"{dropped:,} rows of {settings.file} have an empty cell and are dropped")
    for column, other in repeated_columns(world):
        notes.append(
            f"{column} follows from {other}, and its bits are counted all the same; leave it out by attributes"
        )
    return [*notes, *_frequencies(world, settings), *_empty_words(world, settings), *_look_alikes(world, settings)]


def _frequencies(world: World, settings: RecordsWorld) -> Iterator[str]:
    """Bits that a model stores which knows how frequent values are, and nothing of any entity."""
    offered = dict(world.account.items)
    known = {column: offered[column] - column_entropy(world.facts[column]) for column in settings.attributes}
    total, person = sum(known.values()), sum(offered.values())
    if total > LARGE_SHARE * person:
        most = max(known, key=known.__getitem__)
        yield (
            f"how frequent values are tells {total:.3f} of {person:.3f} bits, {known[most]:.3f} of them in {most}; "
            "account: frequencies leaves them out"
        )


def _empty_words(world: World, settings: RecordsWorld) -> Iterator[str]:
    for column in settings.attributes:
        pool = world.grammar.pools[column]
        words = [place for place, text in enumerate(pool) if text.lower() in EMPTY_WORDS]
        if words:
            cells = int(np.isin(world.facts[column], words).sum())
            shown = ", ".join(pool[place] for place in words)
            yield f"{cells:,} cells of {column} are {shown}, values like others; leave them empty if they mean none"


def _look_alikes(world: World, settings: RecordsWorld) -> Iterator[str]:
    for column in (settings.entity, *settings.attributes):
        seen: dict[str, str] = {}
        for text in world.grammar.pools[column]:
            if (first := seen.setdefault(_seen_as(text), text)) != text:
                yield f"{column}: {first!a} and {text!a} are two values; write them alike if they are one"
                break


def _seen_as(text: str) -> str:
    """Without case, and without characters that are not seen; a number by its value, however it is written."""
    if NUMBER.fullmatch(text):
        return str(Decimal(text).normalize())
    return "".join(sign for sign in text.casefold() if unicodedata.category(sign) not in ("Cc", "Cf"))
