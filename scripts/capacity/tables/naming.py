"""What a run is called where people read of it: by the configuration's own names, and by what its study varies."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

FULL_PRECISION = "none"  # the name of the scheme that rounds nothing
CELL = ("study", "model", "dataset", "tokenizer", "regime", "setting")


def cell_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each row of a capacity table: model, dataset and regime, then what the study varies, but no seed.

    The tokenizer where the study has several, the learning rate where the regime tries several. Within a study two
    rows share a name exactly when they are seeds or schemes of one cell.
    """
    tokenizers: dict[str, set[str]] = defaultdict(set)
    rates: dict[tuple[str, ...], set[float]] = defaultdict(set)
    for row in rows:
        tokenizers[row["study"]].add(row["tokenizer"])
        rates[_cell(row)].add(row["lr"])
    names = []
    for row in rows:
        parts = [row["model"], row["dataset"]]
        parts += [row["tokenizer"]] if len(tokenizers[row["study"]]) > 1 else []
        parts += [row["regime"]] + ([row["setting"]] if row["setting"] else [])
        parts += [f"lr={row['lr']:g}"] if len(rates[_cell(row)]) > 1 else []
        names.append(" ".join(parts))
    return names


def run_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each row of a capacity table the name of its cell and its seed, for example `small atomic long s1`."""
    return [f"{name} s{row['seed']}" for name, row in zip(cell_names(rows), rows, strict=True)]


def _cell(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[column] for column in CELL)
