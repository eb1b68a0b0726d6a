"""Own facts: a table of records, each rendered as `<entity>: <phrase> <value>; <phrase> <value>; ...` in any order.

The marks that end entities and values belong to them, so that none is the beginning of another and where one
ends is scored too. The account takes the entities as known (they offer nothing, and the loss of
a model on them is subtracted), and says what it assumes of values: that all values of a column are equally likely, or
that their frequencies are known.
"""

import math
import unicodedata
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.world.grammar import Attribute, Grammar, Slot
from capacity.world.options import wording_options
from capacity.world.prior import Account
from capacity.world.records_file import FEWER, MOST_VALUES, RecordsFile, blocks_of, read_records
from capacity.world.spec import Wording

Parts = tuple[dict[str, NDArray[np.unsignedinteger]], Grammar, Account]


class RecordsWorld(RecordsFile, Wording):
    """A table's first N rows that can be used. files: the table, by content."""

    kind: Literal["records"]
    attributes: tuple[str, ...]
    N: int
    phrases: dict[str, tuple[str, ...]]
    account: Literal["uniform", "frequencies"]
    seed: int
    files: dict[str, str]


def make_parts(settings: RecordsWorld) -> Parts:
    """Facts, grammar and account of a spec of records. Raises UserError for a table that cannot be used."""
    return parts_of(read_records(settings), settings)


def parts_of(table: pa.Table, settings: RecordsWorld) -> Parts:
    """The same of a table that was read, of the columns and rows of the spec. Raises UserError."""
    if table.num_rows < settings.N:
        raise UserError(f"N: {settings.N} records, but {settings.file} has {table.num_rows} that can be used")
    if not table.num_rows:
        raise UserError(f"file: {settings.file} has no row that can be used; give one without empty cells")
    columns = [settings.entity, *settings.attributes]
    coded = {column: _coded(table[column]) for column in columns}
    num_texts = sum(len(texts) for texts, _ in coded.values())
    if num_texts > MOST_VALUES:
        raise UserError(f"file: {settings.file}: {num_texts:,} different texts; at most {MOST_VALUES:,}, {FEWER}")
    values = {column: texts.to_pylist() for column, (texts, _) in coded.items()}
    if len(values[settings.entity]) < settings.N:
        raise _repeated(settings)
    _check_values(settings, values)
    facts = {column: codes for column, (_, codes) in coded.items()}
    return facts, _grammar(settings, values), _account(settings, facts)


def _coded(column: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.uint32]]:
    """The different texts of a column in the order of their first rows, and each row's number."""
    combined = column.combine_chunks()
    combined = combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
    indices = combined.indices.to_numpy(zero_copy_only=False)
    used, first, codes = np.unique(indices, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.uint32)
    rank[order] = np.arange(len(order), dtype=np.uint32)
    return combined.dictionary.take(pa.array(used[order])), rank[codes]


def _repeated(settings: RecordsWorld) -> UserError:
    """The message for a name that stands twice: which, and in which rows of the file."""
    entity, row = settings.entity, 0
    row_of: dict[str, int] = {}
    for block in blocks_of(REPOSITORY / settings.file, [entity, *settings.attributes]):
        for cells in zip(*(column.to_pylist() for column in block.columns), strict=True):
            row += 1
            if None in cells:
                continue  # dropped
            if (first := row_of.setdefault(cells[0], row)) != row:
                rows = f"data rows {first} and {row} of {settings.file}"
                return UserError(f"entity: {cells[0]!r} stands in {rows}; each row needs a {entity!r} of its own")
    return UserError(f"entity: {settings.file} changed while it was read; start again")


def _check_values(settings: RecordsWorld, values: dict[str, list[str]]) -> None:
    entity = settings.entity
    for column, texts in values.items():
        if len(texts) == 1:
            raise UserError(f"attributes: {column!r} is {texts[0]!r} in every row and carries no bits; leave it out")
        composed: dict[str, str] = {}
        for text in texts:
            if (other := composed.setdefault(unicodedata.normalize("NFC", text), text)) != text:
                raise UserError(f"{column}: {other!a} and {text!a} are one text, written in two ways; use one")
            if text != " ".join(text.split()):
                raise UserError(
                    f"{column}: {text!r} has blanks at an end, a double blank, a line break or another kind of blank; "
                    "clean it"
                )
        _check_ends(column, texts, ":" if column == entity else ";")


def _check_ends(column: str, texts: list[str], mark: str) -> None:
    """Refuse a text that, with its mark, begins another: where it ends could not be seen."""
    ended = sorted(text + mark for text in texts)
    for one, other in pairwise(ended):
        if other.startswith(one):
            raise UserError(f"{column}: {other[:-1]!r} goes on after {one[:-1]!r}; write it without {mark!r}")


def _grammar(settings: RecordsWorld, values: dict[str, list[str]]) -> Grammar:
    entity, attributes = settings.entity, []
    seen: dict[str, str] = {}
    for column in settings.attributes:
        phrases = settings.phrases.get(column) or [f"{column.replace('_', ' ')} is"]
        for phrase in phrases:
            if seen.setdefault(phrase, column) != column:
                raise UserError(f"phrases: {phrase!r} stands for both {seen[phrase]!r} and {column!r}; use two")
        templates = tuple((f" {phrase}", "") for phrase in phrases)
        attributes.append(Attribute(column, (Slot(column, column, after=";"),), templates))
    return Grammar(
        pools={column: tuple(texts) for column, texts in values.items()},
        name=(Slot(entity, entity, after=":"),),
        name_suffix="",
        pronoun=None,
        attributes=tuple(attributes),
        **wording_options(settings),
    )


def column_entropy(codes: NDArray[np.unsignedinteger]) -> float:
    """Bits of a value by its frequency. codes: (N,), of values of which each stands somewhere."""
    shares = np.bincount(codes) / len(codes)
    return float(-(shares * np.log2(shares)).sum())


def _account(settings: RecordsWorld, facts: dict[str, NDArray[np.unsignedinteger]]) -> Account:
    """Entities are known, so N0 = N; a column of n values holds log2 n bits, or their frequencies' entropy."""
    items = []
    for column in settings.attributes:
        codes = facts[column]
        uniform = settings.account == "uniform"
        items.append((column, math.log2(codes.max() + 1) if uniform else column_entropy(codes)))
    return Account(name_prior_bits=math.log2(settings.N), name_offered_bits=0.0, items=items, diversity={})
