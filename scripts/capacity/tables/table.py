"""The capacity table: one row a variant, from its scores per person; summaries over seeds; a text form.

Nothing in the table differs between two honest executions of one specification: no time, no device, no date.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from capacity.errors import UserError
from capacity.tables.bits import Array, bits_offered, item_bits, person_bits
from capacity.tables.extraction_columns import EXTRACTION_COLUMNS, EXTRACTION_NUMBERS
from capacity.world.account import Account

# What the caller knows about a variant, and what is measured here, in the order of the columns.
RUN_COLUMNS = (
    *("study", "run", "setting", "dataset", "kind", "N", "exposures", "tokenizer", "vocabulary", "model"),
    *("l", "h", "d", "regime", "lr", "batch", "seed", "scheme", "bits_per_weight"),
)
BITS_COLUMNS = (
    *("P", "bits_offered", "bits_stored", "bits_name", "bits_value", "bits_diversity"),
    *("R", "R_low", "R_high", "R_max", "R_name_only", "accuracy", "accuracy_name", "bits_per_weight_bit"),
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
MEAN_COLUMNS = (
    *("P", "P_active", "weight_bits", "bits_per_weight_bit", "bits_stored", "R_max", "R_name_only"),
    *("accuracy", "accuracy_name", "final_loss_nats"),
)

HAVE_COLUMNS = r"(?:^| )(?:dataset\.N|regime\.exposures)=\S+"  # parts of a setting that stand in columns of their own

CONFIDENCE = 0.95
BOOTSTRAP_SEED = 240405405  # the same resamples for every variant of N people, so that differences are paired
FLOATS_A_CHUNK = 2**22


def variant_row(
    given: Mapping[str, Any],
    scores: pd.DataFrame,
    account: Account,
    P: int,
    num_resamples: int,
    junk: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """The capacity table's row of one variant.

    given: a value for each of GIVEN_COLUMNS and no other; `setting` names what the study varies besides, ""
    for nothing, and bits_per_weight is what a weight that the scheme names is stored in, without scales.
    scores: from `capacity.probe.score.score_people`.
    P: trainable parameters. R_low and R_high bound the 95 % bootstrap interval over people of R.
    accuracy: mean over people and value items of the greedy match; accuracy_name: the same for the full name.
    bits_per_weight_bit: bits stored divided by all bits that the weights take, scales and unquantised tensors included.
    R_name_only: R with each value scored in a paragraph of its one sentence, after the full name alone.
    bits_a_junk_person: stored of a junk person's name and values, mean over `junk`, from `score_junk` there.
    """
    if set(given) != set(GIVEN_COLUMNS):
        raise ValueError(f"columns of a variant: {sorted(set(given) ^ set(GIVEN_COLUMNS))} missing or unknown")
    matrices = score_matrices(scores, account)
    num_people = len(matrices["nats"])
    if num_people != given["N"]:
        raise UserError(
            f"scores of variant {given['variant_id']}: {num_people} people for N = {given['N']}; "
            "delete its probe folder and run again"
        )
    bits = person_bits(matrices["nats"], matrices["first_chunk_nats"], account)
    name_only = person_bits(matrices["nats_name_only"], matrices["first_chunk_nats"], account)
    low, high = bootstrap_interval(bits.total, num_resamples)
    offered = bits_offered(num_people, account)
    measured = {
        "P": P,
        "bits_offered": offered,
        "bits_stored": bits.total.sum(),
        "bits_name": bits.name.sum(),
        "bits_value": bits.value.sum(),
        "bits_diversity": bits.diversity.sum(),
        "R": bits.total.sum() / P,
        "R_low": low / P,
        "R_high": high / P,
        "R_max": offered / P,
        "R_name_only": name_only.total.sum() / P,
        "accuracy": matrices["exact"][:, 1:].mean(),
        "accuracy_name": matrices["exact"][:, 0].mean(),
        "bits_per_weight_bit": bits.total.sum() / given["weight_bits"],
        "bits_a_junk_person": math.nan if junk is None else _bits_a_person(junk, account),
    }
    columns = [column for column in COLUMNS if column != "chosen"]
    return {column: measured[column] if column in measured else given[column] for column in columns}


def R_of(scores: pd.DataFrame, account: Account, P: int) -> float:
    """The R of `variant_row`, alone."""
    matrices = score_matrices(scores, account)
    return float(person_bits(matrices["nats"], matrices["first_chunk_nats"], account).total.sum() / P)


def _bits_a_person(scores: pd.DataFrame, account: Account) -> float:
    return float(item_bits(score_matrices(scores, account)["nats"], account).sum(axis=1).mean())


def score_matrices(scores: pd.DataFrame, account: Account) -> dict[str, Array]:
    """Each score column as float (N, 1 + items), the name first; first_chunk_nats as (N, K), values only."""
    items = ["name", *(name for name, _ in account.items)]
    num_people = len(scores) // len(items)
    same_items = scores["item"].to_numpy() == np.tile(np.array(items, dtype=object), num_people + 1)[: len(scores)]
    same_people = scores["person"].to_numpy() == np.arange(len(scores)) // len(items)
    if len(scores) % len(items) or not (same_items.all() and same_people.all()):
        raise UserError(f"scores are not people 0..N-1 by items {', '.join(items)}: probe this dataset again")
    columns = ("nats", "nats_name_only", "first_chunk_nats", "exact")
    matrices = {column: scores[column].to_numpy(float).reshape(num_people, len(items)) for column in columns}
    matrices["first_chunk_nats"] = matrices["first_chunk_nats"][:, 1:]
    return matrices


def bootstrap_interval(per_person: Array, num_resamples: int) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a sum over people, float (N,), drawn with replacement."""
    num_people = len(per_person)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([BOOTSTRAP_SEED, num_people])))
    sums = np.empty(num_resamples)
    chunk = max(1, FLOATS_A_CHUNK // num_people)
    for start in range(0, num_resamples, chunk):
        stop = min(start + chunk, num_resamples)
        chosen = generator.integers(num_people, size=(stop - start, num_people))
        sums[start:stop] = per_person[chosen].sum(axis=1)
    low, high = np.quantile(sums, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def capacity_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows of `variant_row` as a table with the columns of COLUMNS, in the order given."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    table["chosen"] = chosen(table)
    only_experts = ("dropped", "largest_load")
    return table.astype({**dict.fromkeys(INTEGER_COLUMNS, "Int64"), **dict.fromkeys(only_experts, float)})


def chosen(table: pd.DataFrame) -> pd.Series:
    """Whether a row's learning rate is the best that its regime tried: the lowest training loss, mean over seeds.

    Rows that differ in the learning rate alone are tries of one run; a run with one rate is chosen. Scores
    take no part in the choice (arXiv 2404.05405, Appendix A: negative claims get the best of three rates).
    """
    others = [column for column in GROUP_COLUMNS if column != "lr"]
    loss = table["final_loss_nats"].astype(float)
    mean = loss.groupby([table[column] for column in GROUP_COLUMNS], dropna=False).transform("mean")
    best = mean.groupby([table[column] for column in others], dropna=False).transform("min")
    return mean == best


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a table as CSV with six significant digits a float; equal tables give equal bytes."""
    table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def read_table(path: Path) -> pd.DataFrame:
    """The capacity table that `write_table` wrote. Only an empty number is missing: a name may be "NA".

    What an older version did not write is missing; `chosen` follows from the rest. Columns of an extraction are there
    where the file has them.
    """
    numbers = {column: [""] for column in (*NUMBER_COLUMNS, *EXTRACTION_NUMBERS)}
    table = pd.read_csv(path, keep_default_na=False, na_values=numbers)
    if "chosen" not in table:
        table["chosen"] = chosen(table)
    table = table.reindex(columns=[*COLUMNS, *(column for column in EXTRACTION_COLUMNS if column in table)])
    return table.astype(dict.fromkeys(INTEGER_COLUMNS, "Int64"))


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """One row a run and scheme: the mean over its seeds of R and an interval of that mean.

    interval_kind: "t95", Student's 95 % interval, from three seeds on; "range", lowest to highest, for two;
    "single", the value itself, for one. Raises UserError where a seed occurs twice in a group.
    """
    rows = []
    for key, group in table.groupby(list(GROUP_COLUMNS), sort=False, dropna=False):
        if group["seed"].duplicated().any():
            label = ", ".join(f"{column} {value}" for column, value in zip(GROUP_COLUMNS, key, strict=True))
            raise UserError(f"{label}: one seed occurs twice; give the runs regimes of different names")
        low, high, kind = seed_interval(group["R"].to_numpy(float))
        means = {column: group[column].mean() for column in MEAN_COLUMNS}
        interval = {"R": group["R"].mean(), "R_low": low, "R_high": high, "interval_kind": kind}
        taken = {"seeds": len(group), "chosen": bool(group["chosen"].all())}
        rows.append({**dict(zip(GROUP_COLUMNS, key, strict=True)), **taken, **interval, **means})
    order = [*GROUP_COLUMNS, "seeds", "chosen", "P", "R", "R_low", "R_high", "interval_kind", *MEAN_COLUMNS[1:]]
    return pd.DataFrame(rows, columns=order)


def seed_interval(R: Array) -> tuple[float, float, str]:
    if len(R) < 3:
        return float(R.min()), float(R.max()), "range" if len(R) == 2 else "single"
    half_width = stdtrit(len(R) - 1, (1 + CONFIDENCE) / 2) * R.std(ddof=1) / np.sqrt(len(R))
    return float(R.mean() - half_width), float(R.mean() + half_width), "t95"


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
    shown["R_max"] = [f"{R:.3f}" for R in table["R_max"]]
    shown["exact"] = [f"{100 * accuracy:.1f} %" for accuracy in table["accuracy"]]
    return shown.to_string(index=False)
