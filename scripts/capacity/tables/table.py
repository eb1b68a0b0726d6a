"""The capacity table: its columns, which row of several learning rates is chosen, its file, and a text form.

Nothing in the table differs between two executions of one specification: no time, no device, no date.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from capacity.errors import UserError
from capacity.tables.extraction_columns import EXTRACTION_COLUMNS, EXTRACTION_NUMBERS

# What is known of a variant before it is scored, and what scores say, in the order of the columns.
RUN_COLUMNS = (
    *("study", "run", "setting", "dataset", "kind", "N", "exposures", "tokenizer", "vocabulary", "model"),
    *("l", "h", "d", "regime", "lr", "batch", "seed", "scheme", "bits_per_weight"),
)
BITS_COLUMNS = (
    *("P", "bits_offered", "bits_stored", "bits_name", "bits_value", "bits_diversity"),
    *("R", "R_low", "R_high", "R_max", "R_calibrated", "temperature", "R_name_only", "accuracy", "accuracy_name"),
    "bits_per_weight_bit",
    "bits_a_junk_person",
)
COST_COLUMNS = (
    *("weight_bits", "tokens", "flops", "final_loss_nats", "P_active", "flops_a_token", "dropped", "largest_load"),
)
ID_COLUMNS = ("dataset_id", "tokenizer_id", "checkpoint_id", "variant_id", "probe_id")
COLUMNS = (*RUN_COLUMNS, *BITS_COLUMNS, *COST_COLUMNS, "chosen", *ID_COLUMNS)
GIVEN_COLUMNS = (*RUN_COLUMNS, *COST_COLUMNS, *ID_COLUMNS)
INTEGER_COLUMNS = (
    *("N", "exposures", "vocabulary", "l", "h", "d", "batch", "seed", "P", "weight_bits", "tokens", "P_active"),
)
NUMBER_COLUMNS = (*INTEGER_COLUMNS, "lr", "bits_per_weight", *BITS_COLUMNS[1:], *COST_COLUMNS)

# Rows that differ in none of these are the seeds of one run.
GROUP_COLUMNS = (
    *("study", "setting", "dataset", "kind", "N", "exposures", "tokenizer", "model", "l", "h", "d"),
    *("regime", "lr", "batch", "scheme", "bits_per_weight"),
)
NEEDED_COLUMNS = (*GROUP_COLUMNS, "R", "R_max", "seed", "variant_id")  # without which a file is none
TRAINED_FOR = "trained_for"  # of a row that becomes one of a table: the scheme that its regime rounds to, or None
SCHEME_COLUMNS = ("scheme", "bits_per_weight")
TEXT_COLUMNS = (*(name for name in COLUMNS if name not in (*NUMBER_COLUMNS, "chosen")), "extraction", "answers_id")

HAVE_COLUMNS = r"(?:^| )(?:dataset\.N|regime\.exposures)=\S+"  # parts of a setting that stand in columns of their own


def capacity_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of `capacity.tables.rows.variant_row` as a table with the columns of COLUMNS, in the order given."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    trained_for = pd.Series([row.get(TRAINED_FOR) for row in rows], table.index, dtype=object)
    table["chosen"] = chosen(table, trained_for)
    only_experts = ("dropped", "largest_load")
    return table.astype({**dict.fromkeys(INTEGER_COLUMNS, "Int64"), **dict.fromkeys(only_experts, float)})


def chosen(table: pd.DataFrame, trained_for: pd.Series | None = None) -> pd.Series:
    """Whether a row's learning rate is the best that its regime tried: that of the highest R, in the mean over seeds.

    Rows that differ in the learning rate alone are tries of one run; a run with one rate is chosen, of equal ones the
    lowest. R is that of the scheme with most bits a weight: the weights as they were trained, where a study has them.
    Of a regime that rounds in training (trained_for, by row) it is that of its own scheme.
    The loss of training would be the loss of junk, where most of the text is junk. The best of a few rates is what
    the paper states too (arXiv 2404.05405, Appendix A: negative claims get the best of three).
    """
    tries = [table[column] for column in GROUP_COLUMNS if column not in SCHEME_COLUMNS]
    others = [column for column in tries if column.name != "lr"]
    bits = table["bits_per_weight"].astype(float)
    if trained_for is not None:
        bits = bits.mask(table["scheme"] == trained_for, float("inf"))
    as_trained = bits == bits.groupby(others, dropna=False).transform("max")
    mean = table["R"].astype(float).where(as_trained).groupby(tries, dropna=False).transform("mean")
    is_best = mean == mean.groupby(others, dropna=False).transform("max")
    lowest = table["lr"].where(is_best).groupby(others, dropna=False).transform("min")
    return is_best & (table["lr"] == lowest)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a table as CSV with six significant digits a float; equal tables give equal bytes."""
    table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def read_table(path: Path) -> pd.DataFrame:
    """The capacity table that `write_table` wrote. Only an empty number is missing: a name may be "NA", or "2026".

    What an older version did not write is missing; `chosen` follows from the rest. Columns of an extraction are there
    where the file has them. Raises UserError for what is no capacity table.
    """
    numbers = {column: [""] for column in (*NUMBER_COLUMNS, *EXTRACTION_NUMBERS)}
    if not path.is_file():
        raise UserError(f"{path}: no such table; `make table` makes one")
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=numbers, dtype=dict.fromkeys(TEXT_COLUMNS, str))
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a table ({' '.join(str(error).split())})") from None
    if missing := [column for column in NEEDED_COLUMNS if column not in table]:
        raise UserError(f"{path}: is no capacity table, it has no column {missing[0]}")
    if "chosen" not in table:
        table["chosen"] = chosen(table)
    table = table.reindex(columns=[*COLUMNS, *(column for column in EXTRACTION_COLUMNS if column in table)])
    for column in INTEGER_COLUMNS:
        try:
            table[column] = table[column].astype("Int64")
        except (TypeError, ValueError):
            raise UserError(f"{path}: {column} has a value that is no whole number; make the table again") from None
    for column in set(NUMBER_COLUMNS) - set(INTEGER_COLUMNS):
        try:
            table[column] = table[column].astype(float)  # flops of large models are whole, and beyond 64 bits
        except (TypeError, ValueError):
            raise UserError(f"{path}: {column} has a value that is no number; make the table again") from None
    if (none := table["R"].isna()).any():
        raise UserError(f"{path}: no R in line {2 + int(none.argmax())}; make the table again")
    if not table["chosen"].isin([True, False]).all():
        raise UserError(f"{path}: chosen has a value that is neither True nor False; make the table again")
    return table.astype({"chosen": bool})


def readable(table: pd.DataFrame) -> str:
    """The capacity table's main columns as text for a terminal, one line a variant, R with its interval.

    What a study varies besides N and exposures, and the tokenizer where a study has several, are shown where there
    are any. Learning rates that were tried and not chosen are left out.
    """
    table = table[table["chosen"]]
    columns = ["study", "dataset", "N", "exposures", "model", "regime", "seed", "scheme", "P"]
    if (table.groupby("study")["tokenizer"].nunique() > 1).any():
        columns.insert(columns.index("model"), "tokenizer")
    shown = table[columns].copy()
    varied = table["setting"].str.replace(HAVE_COLUMNS, "", regex=True).str.strip()
    if varied.any():
        shown.insert(columns.index("seed"), "varied", varied)
    shown["R"] = [f"{R:.3f}" for R in table["R"]]
    shown["95 %"] = [f"{low:.3f}..{high:.3f}" for low, high in zip(table["R_low"], table["R_high"], strict=True)]
    if table["R_calibrated"].notna().any():
        shown["R_calibrated"] = [f"{R:.3f}" for R in table["R_calibrated"]]
    shown["R_max"] = [f"{R:.3f}" for R in table["R_max"]]
    shown["exact"] = [f"{100 * accuracy:.1f} %" for accuracy in table["accuracy"]]
    return shown.to_string(index=False)
