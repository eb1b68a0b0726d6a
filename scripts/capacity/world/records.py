"""Own facts: a table of records, each told as `<entity>: <phrase> <value>; <phrase> <value>; ...` in any order.

The marks that end entities and values belong to them, so that none is the beginning of another and where one
ends is scored too. The account takes the entities as known (they offer nothing, and a model that does not know
them pays), and says what it assumes of values: that all values of a column are equally likely, or that their
frequencies are known.
"""

import functools
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.world.account import Account
from capacity.world.grammar import Attribute, Grammar, Slot
from capacity.world.options import wording_options

RESERVED = ("name",)  # what scores call the entity
MOST_VALUES = 10_000_000  # different texts in a column, which are held in memory
MOST_ATTRIBUTES = 250

Parts = tuple[dict[str, NDArray[np.unsignedinteger]], Grammar, Account]


def make_parts(spec: dict[str, Any]) -> Parts:
    """Facts, grammar and account of a spec of records. Raises UserError for a table that cannot be told."""
    table = read_records(spec)
    if table.num_rows < spec["N"]:
        raise UserError(f"N: {spec['N']} records, but {spec['file']} has {table.num_rows} that can be told")
    columns = [spec["entity"], *spec["attributes"]]
    table = table.slice(0, spec["N"])
    coded = {column: _coded(table[column]) for column in columns}
    _check_values(spec, {column: values for column, (values, _) in coded.items()})
    facts = {column: codes for column, (_, codes) in coded.items()}
    grammar = _grammar(spec, {column: values for column, (values, _) in coded.items()})
    return facts, grammar, _account(spec, facts)


def read_records(spec: dict[str, Any]) -> pa.Table:
    """The columns of a table that a spec names, dictionary-coded, rows with empty cells dropped where it says so."""
    return _table_and_dropped(spec)[0]


def num_dropped(spec: dict[str, Any]) -> int:
    """Rows of the file that have an empty cell and are not told."""
    return _table_and_dropped(spec)[1]


def _table_and_dropped(spec: dict[str, Any]) -> tuple[pa.Table, int]:
    path = REPOSITORY / spec["file"]
    columns = (spec["entity"], *(spec["attributes"] or ()))
    return _read(
        path, columns if spec["attributes"] else None, spec["entity"], spec["missing"], spec["N"], status(path)
    )


def status(path: Path) -> tuple[int, int]:
    """What tells that a file is still the one that was read."""
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"file: {path}: {error.strerror}; give a CSV or parquet file") from None
    return stat.st_mtime_ns, stat.st_size


@functools.lru_cache(maxsize=4)
def _read(
    path: Path, columns: tuple[str, ...] | None, entity: str, missing: str, N: int | None, _: tuple[int, int]
) -> tuple[pa.Table, int]:
    known = column_names(path)
    wanted = columns or (entity, *(name for name in known if name != entity))
    for column in wanted:
        if column not in known:
            raise UserError(f"file: {path.name} has no column {column!r}; there are: {', '.join(known)}")
    for column in wanted[1:]:
        if column in RESERVED:
            raise UserError(f"attributes: {column!r} is reserved for the entity; give the column another name")
    if len(wanted) < 2:
        raise UserError(f"attributes: {path.name} has no column besides {entity!r}; a record needs something to tell")
    if len(wanted) > MOST_ATTRIBUTES:
        raise UserError(f"attributes: {len(wanted) - 1} columns; name at most {MOST_ATTRIBUTES}")
    try:
        table = _parquet(path, wanted) if path.suffix == ".parquet" else _csv(path, wanted, missing, N)
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise UserError(f"file: {path.name}: {' '.join(str(error).split())[:200]}") from None
    told = _without_gaps(table, path, missing)
    return told, table.num_rows - told.num_rows


def column_names(path: Path) -> list[str]:
    """The columns of a CSV or parquet file. Raises UserError where a name is empty or stands twice."""
    try:
        names = pq.read_schema(path).names if path.suffix == ".parquet" else pv.open_csv(path).schema.names
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"file: {path.name}: {' '.join(str(error).split())[:200]}") from None
    for name in names:
        if not name.strip() or names.count(name) > 1:
            raise UserError(f"file: {path.name}: the column name {name!r} is empty or stands twice; rename it")
    return names


def _csv(path: Path, columns: Sequence[str], missing: str, N: int | None) -> pa.Table:
    """Read block by block, as far as N rows that can be told: the file may be larger than memory.

    Raises UserError where more rows are wanted than entities can be held in memory.
    """
    text = pa.dictionary(pa.int32(), pa.string())
    options = pv.ConvertOptions(
        include_columns=list(columns),
        column_types=dict.fromkeys(columns, text),
        null_values=[""],
        strings_can_be_null=True,
    )
    blocks, told = [], 0
    for block in pv.open_csv(path, convert_options=options):
        blocks.append(block)
        told += (pa.Table.from_batches([block]).drop_null() if missing == "drop" else block).num_rows
        if N is not None and told >= N:
            break
        if told > MOST_VALUES:
            raise UserError(f"file: {path.name} has more than {MOST_VALUES:,} rows; tell the first so many by N")
    schema = pa.schema([(column, text) for column in columns])
    return pa.Table.from_batches(blocks, schema).unify_dictionaries()


def _parquet(path: Path, columns: Sequence[str]) -> pa.Table:
    table = pq.read_table(path, columns=list(columns), read_dictionary=list(columns))
    arrays = []
    for column in columns:
        values = table[column]
        if not pa.types.is_dictionary(values.type):
            values = pc.dictionary_encode(pc.cast(values, pa.string()))
        arrays.append(values)
    return pa.table(arrays, list(columns)).unify_dictionaries()


def _without_gaps(table: pa.Table, path: Path, missing: str) -> pa.Table:
    """The table without rows that have an empty cell; where these are errors, they are counted and named."""
    gaps = {column: table[column].null_count for column in table.column_names if table[column].null_count}
    if not gaps:
        return table
    if missing == "error":
        told = ", ".join(f"{count} in {column}" for column, count in gaps.items())
        raise UserError(
            f"file: {path.name} has empty cells: {told}; fill them, leave the columns out, or set missing: drop"
        )
    return table.drop_null()


def _coded(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.uint32]]:
    """The different texts of a column in the order of their first rows, and each row's number."""
    combined = column.combine_chunks()
    combined = combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
    indices = combined.indices.to_numpy(zero_copy_only=False)
    used, first, codes = np.unique(indices, return_index=True, return_inverse=True)
    if len(used) > MOST_VALUES:
        raise UserError(f"file: {len(used)} different texts in a column; at most {MOST_VALUES}, use fewer rows (N)")
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.uint32)
    rank[order] = np.arange(len(order), dtype=np.uint32)
    return combined.dictionary.take(pa.array(used[order])).to_pylist(), rank[codes]


def _check_values(spec: dict[str, Any], values: dict[str, list[str]]) -> None:
    entity = spec["entity"]
    if len(values[entity]) < spec["N"]:
        repeated = spec["N"] - len(values[entity])
        raise UserError(f"entity: {repeated} rows of {spec['file']} repeat an earlier {entity!r}; each needs its own")
    for column, texts in values.items():
        if len(texts) == 1:
            raise UserError(f"attributes: {column!r} is {texts[0]!r} in every row and tells nothing; leave it out")
        for text in texts:
            if text != " ".join(text.split()):
                raise UserError(f"{column}: {text!r} has blanks at an end, a double blank or a line break; clean it")
        _check_ends(column, texts, ":" if column == entity else ";")


def _check_ends(column: str, texts: list[str], mark: str) -> None:
    """Refuse a text that, with its mark, begins another: where it ends could not be told."""
    ended = sorted(text + mark for text in texts)
    for one, other in pairwise(ended):
        if other.startswith(one):
            raise UserError(f"{column}: {other[:-1]!r} goes on after {one!r}; write it without {mark!r}")


def _grammar(spec: dict[str, Any], values: dict[str, list[str]]) -> Grammar:
    entity, attributes = spec["entity"], []
    seen: dict[str, str] = {}
    for column in spec["attributes"]:
        phrases = (spec["phrases"] or {}).get(column) or [f"{column.replace('_', ' ')} is"]
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
        **wording_options(spec),
    )


def _account(spec: dict[str, Any], facts: dict[str, NDArray[np.unsignedinteger]]) -> Account:
    """Entities are known, so N0 = N; a column of n values holds log2 n bits, or their frequencies' entropy."""
    items = []
    for column in spec["attributes"]:
        shares = np.bincount(facts[column]) / spec["N"]
        entropy = float(-(shares * np.log2(shares)).sum())
        items.append((column, {"uniform": math.log2(len(shares)), "frequencies": entropy}[spec["account"]]))
    return Account(name_prior_bits=math.log2(spec["N"]), name_offered_bits=0.0, items=items, diversity={})
