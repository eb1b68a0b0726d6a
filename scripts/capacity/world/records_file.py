"""The file of own facts, read: of a CSV or parquet table the columns and rows that are used, and no more."""

import codecs
import csv
import functools
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
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

RESERVED = ("name",)  # what scores call the entity
MOST_VALUES = 5_000_000  # rows, and different texts of all columns: a tokenizer takes 2 kB of memory for each
MOST_BYTES = 1_000_000_000  # of the columns that are used, before they are decoded
MOST_ATTRIBUTES = 250
INDEX = re.compile(r"__index_level_\d+__")  # a column of pandas that has no name
PARQUET_MARK = b"PAR1"
FEWER = "use fewer rows by N, or fewer columns by attributes"
PARSING = pv.ParseOptions(newlines_in_values=True)  # a column that is not used may have them
TEXT = pa.dictionary(pa.int32(), pa.string())


class RecordsFile(Settings):
    """A table of the user's own. attributes: its columns, None: all but entity. N: its first rows, None: all."""

    file: str
    entity: str
    attributes: tuple[str, ...] | None
    missing: Literal["error", "drop"]
    N: int | None


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
        table, dropped = _rows_and_dropped(path.name, schema, blocks_of(path, wanted), missing, N)
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"file: {path.name}: {_reason(path, error)}") from None
    return table, dropped


def _reason(path: Path, error: Exception) -> str:
    """What Arrow says, in one line, and what to do."""
    text = " ".join(str(error).split())[:200]
    if _is_utf16(path):
        return "is in UTF-16; save it in UTF-8"
    if isinstance(error, UnicodeDecodeError) or "UTF8" in text:
        return f"{text}; save it in UTF-8"
    if re.search(r"Expected \d+ columns, got", text):
        return f"{text}; give each row as many cells as the first, and a value with a comma in quotes"
    return text


def _is_utf16(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    except OSError:
        return False


def forget_records() -> None:
    """Release the table that was read last."""
    _read.cache_clear()


def column_names(path: Path) -> list[str]:
    """The columns of a CSV or parquet file. Raises UserError where a name is empty or stands twice."""
    try:
        names = _parquet_columns(path) if _is_parquet(path) else _csv_columns(path)
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise UserError(f"file: {path.name}: {_reason(path, error)}") from None
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


def blocks_of(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """A file's rows, some at a time, of columns that are dictionary-coded texts; an empty cell is null."""
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
            if pa.types.is_nested(values.type):
                raise UserError(
                    f"file: {path.name}: column {column!r} holds {values.type}; give one value a cell, as a text"
                )
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
