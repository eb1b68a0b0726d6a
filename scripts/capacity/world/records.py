"""Own facts: a table of records, each rendered as `<entity>: <phrase> <value>; <phrase> <value>; ...` in any order.

The marks that end entities and values belong to them, so that none is the beginning of another and where one
ends is scored too. The account takes the entities as known (they offer nothing, and the loss of
a model on them is subtracted), and says what it assumes of values: that all values of a column are equally likely, or
that their frequencies are known.
"""

import csv
import functools
import math
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from stat import S_ISREG
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from capacity.artefacts.settings import Settings
from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.world.grammar import Attribute, Grammar, Slot
from capacity.world.options import wording_options
from capacity.world.prior import Account
from capacity.world.spec import Wording

RESERVED = ("name",)  # what scores call the entity
MOST_VALUES = 5_000_000  # rows, and different texts of all columns: a tokenizer takes 2 kB of memory for each
MOST_BYTES = 1_000_000_000  # of the columns that are used, before they are decoded
MOST_ATTRIBUTES = 250
INDEX = re.compile(r"__index_level_\d+__")  # a column of pandas that has no name
PARQUET_MARK = b"PAR1"
FEWER = "use fewer rows by N, or fewer columns by attributes"
PARSING = pv.ParseOptions(newlines_in_values=True)  # a column that is not used may have them
TEXT = pa.dictionary(pa.int32(), pa.string())

Parts = tuple[dict[str, NDArray[np.unsignedinteger]], Grammar, Account]


class RecordsFile(Settings):
    """A table of the user's own. attributes: its columns, None: all but entity. N: its first rows, None: all."""

    file: str
    entity: str
    attributes: tuple[str, ...] | None
    missing: Literal["error", "drop"]
    N: int | None


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
    """The same of a table that was read, of the columns and rows of the spec."""
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


def read_records(settings: RecordsFile) -> pa.Table:
    """The rows that a spec uses: columns that it names, dictionary-coded, N rows without an empty cell or all."""
    return _table_and_dropped(settings)[0]


def num_dropped(settings: RecordsFile) -> int:
    """Rows with an empty cell that are passed over: all before the first row that is not used because of N."""
    return _table_and_dropped(settings)[1]


def _table_and_dropped(settings: RecordsFile) -> tuple[pa.Table, int]:
    path = REPOSITORY / settings.file
    columns = (settings.entity, *settings.attributes) if settings.attributes else None
    return _read(path, columns, settings.entity, settings.missing, settings.N, status(path))


def status(path: Path) -> tuple[int, int]:
    """By what a file is recognised as the one that was read."""
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"file: {path}: {error.strerror}; give a CSV or parquet file") from None
    if not S_ISREG(stat.st_mode):
        raise UserError(f"file: {path} is no regular file; give a CSV or parquet file")
    return stat.st_mtime_ns, stat.st_size


@functools.lru_cache(maxsize=1)  # a table may be large
def _read(
    path: Path, columns: tuple[str, ...] | None, entity: str, missing: str, N: int | None, _: tuple[int, int]
) -> tuple[pa.Table, int]:
    known = column_names(path)
    wanted = columns or (entity, *(name for name in known if name != entity))
    for column in wanted:
        if column not in known:
            other = len(known) == 1 and any(sign in known[0] for sign in ";\t")
            hint = "; put commas between the columns of a CSV file" if other else ""
            raise UserError(f"file: {path.name} has no column {column!r}; there are: {', '.join(known)}{hint}")
    for column in wanted[1:]:
        if column in RESERVED:
            raise UserError(f"attributes: {column!r} is reserved for the entity; give the column another name")
    if len(wanted) < 2:
        raise UserError(f"attributes: {path.name} has no column besides {entity!r}; a record needs an attribute")
    if len(wanted) > MOST_ATTRIBUTES:
        raise UserError(f"attributes: {len(wanted) - 1} columns; name at most {MOST_ATTRIBUTES}")
    schema = pa.schema([(column, TEXT) for column in wanted])
    try:
        table, dropped = _rows_and_dropped(path.name, schema, _blocks(path, wanted), missing, N)
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"file: {path.name}: {_reason(error)}") from None
    return table, dropped


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    is_other = isinstance(error, UnicodeDecodeError) or "UTF8" in text
    return f"{text}; save it in UTF-8" if is_other else text


def forget_records() -> None:
    """Release the table that was read last."""
    _read.cache_clear()


def column_names(path: Path) -> list[str]:
    """The columns of a CSV or parquet file. Raises UserError where a name is empty or stands twice."""
    try:
        names = _parquet_columns(path) if _is_parquet(path) else _csv_columns(path)
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise UserError(f"file: {path.name}: {_reason(error)}") from None
    for name in names:
        if not name.strip() or names.count(name) > 1:
            raise UserError(f"file: {path.name}: the column name {name!r} is empty or stands twice; rename it")
    return names


def _csv_columns(path: Path) -> list[str]:
    try:
        return list(pv.open_csv(path, parse_options=PARSING).schema.names)
    except pa.ArrowInvalid:
        deque(_strict_rows(path), maxlen=0)  # says better what is wrong, if it is a quote
        raise


def _parquet_columns(path: Path) -> list[str]:
    """The columns, without the numbers of rows that pandas writes beside them."""
    return [name for name in pq.read_schema(path).names if not INDEX.fullmatch(name)]


def _blocks(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    return _parquet(path, columns) if _is_parquet(path) else _csv(path, columns)


def _is_parquet(path: Path) -> bool:
    """By its name, or by the marks at both ends, as such files are sometimes called otherwise."""
    if path.suffix.lower() == ".parquet":
        return True
    with path.open("rb") as file:
        begins = file.read(len(PARQUET_MARK)) == PARQUET_MARK
        file.seek(max(0, path.stat().st_size - len(PARQUET_MARK)))
        return begins and file.read() == PARQUET_MARK


def _csv(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """A CSV file, about a megabyte at a time."""
    options = pv.ConvertOptions(
        include_columns=list(columns),
        column_types=dict.fromkeys(columns, TEXT),
        null_values=[""],
        strings_can_be_null=True,
    )
    strict_rows = _strict_rows(path)
    next(strict_rows, None)  # the header
    try:
        for block in pv.open_csv(path, parse_options=PARSING, convert_options=options):
            deque(islice(strict_rows, block.num_rows), maxlen=0)
            yield block
    except pa.ArrowInvalid:
        deque(strict_rows, maxlen=0)  # says better what is wrong, if it is a quote
        raise


def _strict_rows(path: Path) -> Iterator[list[str]]:
    """The rows again, where quotes are closed: an open one would take the rows up to the next one into its cell."""
    csv.field_size_limit(MOST_BYTES)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            yield from filter(None, rows)
        except csv.Error as error:
            raise UserError(
                f"file: {path.name}: a cell in quotes that ends in line {rows.line_num}: {error}; "
                "close its quotes, and write a quote inside of them twice"
            ) from None


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """A parquet file, some rows at a time; what is no text is read as text, and no number and no letter as empty."""
    for block in pq.ParquetFile(path).iter_batches(columns=list(columns)):
        arrays = []
        for column in columns:
            values = block[column]
            if pa.types.is_floating(values.type):
                values = pc.if_else(pc.is_nan(values), None, values)
            texts = pc.cast(values, pa.string())
            if pa.types.is_floating(values.type):
                texts = pc.if_else(pc.equal(texts, "-0"), "0", texts)
            arrays.append(pc.if_else(pc.equal(texts, ""), None, texts).dictionary_encode())
        yield pa.record_batch(arrays, list(columns))


def _rows_and_dropped(
    name: str, schema: pa.Schema, blocks: Iterable[pa.RecordBatch], missing: str, N: int | None
) -> tuple[pa.Table, int]:
    """The first N rows without an empty cell, or all, and how many with one were passed over up to the next.

    Blocks are read no further than that, and no more is held than what is used: a file may be larger than memory.
    Raises UserError where that is too much, and for empty cells in the first N rows where these are errors.
    """
    kept, used, dropped, held, passed = [], 0, 0, 0, 0
    gaps: Counter[str] = Counter()
    first_gap: dict[str, int] = {}  # column -> row
    for block in blocks:
        if missing == "error" and N is not None:
            block = block.slice(0, N - used - dropped)
        whole = np.ones(block.num_rows, dtype=bool)
        for column in schema.names:
            empty = block[column].is_null().to_numpy(zero_copy_only=False)
            if empty.any():
                first_gap.setdefault(column, passed + 1 + int(empty.argmax()))
            gaps[column] += int(empty.sum())
            whole &= ~empty
        passed += block.num_rows
        rows = np.flatnonzero(whole)
        left = len(rows) if N is None else N - used
        enough = len(rows) > left  # one more than is used: what is passed over before it counts
        if enough:
            whole, rows = whole[: rows[left]], rows[:left]
        dropped += int((~whole).sum())
        used += len(rows)
        if len(rows):
            kept.append(block if len(rows) == block.num_rows else _only(block, rows))
            held += kept[-1].nbytes
        _check_size(name, used, held)
        if enough or (missing == "error" and used + dropped == N):
            break
    if missing == "error" and dropped:
        counts = ", ".join(f"{gaps[column]} in {column} (first in data row {row})" for column, row in first_gap.items())
        raise UserError(
            f"file: {name} has empty cells: {counts}; fill them, leave the columns out, or set missing: drop"
        )
    return pa.Table.from_batches(kept, schema).unify_dictionaries(), dropped


def _only(block: pa.RecordBatch, rows: NDArray[np.int64]) -> pa.RecordBatch:
    """Some rows of a block, without the texts of the others."""
    columns = (column.dictionary_decode().take(pa.array(rows)).dictionary_encode() for column in block.columns)
    return pa.record_batch(list(columns), block.schema.names)


def _check_size(name: str, used: int, held: int) -> None:
    """Refuse what would not fit into memory. held: bytes. Raises UserError."""
    if used > MOST_VALUES:
        raise UserError(f"file: {name} has more than {MOST_VALUES:,} rows; use the first so many by N")
    if held > MOST_BYTES:
        raise UserError(f"file: {name}: its first {used:,} rows take more than {MOST_BYTES / 1e9:g} GB; {FEWER}")


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
    for block in _blocks(REPOSITORY / settings.file, [entity, *settings.attributes]):
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
            raise UserError(f"{column}: {other[:-1]!r} goes on after {one!r}; write it without {mark!r}")


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
