"""Columns of the capacity table that say how much can be asked for; empty in rows of studies that do not ask.

memorised: the share of values that the checkpoint gives after the words of a biography, over all people and the
attributes that are asked. extractable: the share that the fine-tuned model gives to questions about people whose
questions it was not trained on. In people, both are N times the share (arXiv 2404.05405, Appendix A.2, counts the
held-out half and doubles it). The model is the try with the most right answers about the validation people.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from capacity.tables.bits import Array
from capacity.tables.extraction_columns import EXTRACTION_COLUMNS, EXTRACTION_NUMBERS, TRY_COLUMNS
from capacity.tables.scores import bootstrap_interval, score_matrices
from capacity.tables.summary import seed_interval
from capacity.tables.table import GROUP_COLUMNS
from capacity.world.prior import Account

ANSWERED = ("exact", "first_token", "nats")  # of an answer
NAMES = ("dataset", "tokenizer", "model", "regime", "scheme")  # of which a study may have several


def tried(attempt: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What one try answered: shares of exact answers by group of people, of first tokens, and mean nats a value.

    Each attribute counts once, however many wordings ask for it.

    attempt: answers_id, embedding_rank, attention_rank, extraction_lr. folder: of its answers.
    """
    row = {name: attempt[name] for name in (*TRY_COLUMNS, "answers_id")}
    for group in ("asked", "choosing", "held_out"):
        path = folder / f"{group}.parquet"
        answers = pd.read_parquet(path, columns=["person", "attribute", *ANSWERED]) if path.is_file() else None
        for column in ANSWERED:
            row[f"{group}_{column}"] = math.nan if answers is None else float(_by_person(answers, column).mean())
    row["memorised_after"] = float(pd.read_parquet(folder / "memorised.parquet", columns=["exact"])["exact"].mean())
    return row


def choose(tries: list[dict[str, Any]]) -> int:
    """The number of the try with the most exact answers about the validation people; of equals, the lower loss."""
    if len(tries) == 1:
        return 0
    keys = [(-attempt["choosing_exact"], attempt["choosing_nats"]) for attempt in tries]
    return keys.index(min(keys))


def extraction_columns(
    attempt: Mapping[str, Any],
    held_out: pd.DataFrame,
    scores: pd.DataFrame,
    account: Account,
    P: int,
    num_resamples: int,
) -> dict[str, Any]:
    """The columns of one variant but `extraction`, from the chosen try.

    attempt: of `tried`. held_out: its answers about people whose questions were not trained on. scores: the
    variant's own, of `capacity.probe.score.score_people`. Bits are those of the attributes that are asked, and are what
    the losses prove: the prior of a value less its loss, for everybody.
    """
    prior = dict(account.items)
    attributes = list(dict.fromkeys(held_out["attribute"]))
    matrices = score_matrices(scores, account)
    places = [1 + [name for name, _ in account.items].index(attribute) for attribute in attributes]
    N = len(matrices["nats"])
    offered = math.fsum(prior[attribute] for attribute in attributes)
    exact = _by_person(held_out, "exact")
    low, high = bootstrap_interval(exact, num_resamples)
    known = float(matrices["exact"][:, places].mean())
    lost = _by_person(held_out, "nats").mean() * len(attributes) / math.log(2)
    bits = N * (offered - lost)
    return {
        **{name: attempt[name] for name in TRY_COLUMNS},
        "people_memorised": N * known,
        "people_extractable": N * exact.mean(),
        "people_extractable_low": N * low / len(exact),
        "people_extractable_high": N * high / len(exact),
        "memorised": known,
        "extractable": exact.mean(),
        "extractable_first_token": attempt["held_out_first_token"],
        "memorised_after": attempt["memorised_after"],
        "bits_memorised": N * offered - matrices["nats"][:, places].sum() / math.log(2),
        "bits_extractable": bits,
        "R_extractable": bits / P,
        "answers_id": attempt["answers_id"],
    }


def _by_person(answers: pd.DataFrame, column: str) -> Array:
    """The mean over a person's attributes and wordings of a column, people in order, float (people,)."""
    by_attribute = answers.groupby(["person", "attribute"], observed=True)[column].mean()
    return by_attribute.groupby("person").mean().to_numpy(float)


def with_extraction(table: pd.DataFrame, columns: list[Mapping[str, Any] | None]) -> pd.DataFrame:
    """The capacity table with the extraction's columns behind its own; as it is where no row has any."""
    if not any(columns):
        return table
    extra = pd.DataFrame([dict(row or {}) for row in columns], columns=list(EXTRACTION_COLUMNS))
    names = {name: extra[name].fillna("") for name in ("extraction", "answers_id")}
    numbers = {name: extra[name].astype(float) for name in EXTRACTION_NUMBERS}
    return pd.concat([table, extra.assign(**names, **numbers).set_index(table.index)], axis=1)


def seed_means(table: pd.DataFrame) -> pd.DataFrame:
    """One row a cell of a study that asks: means over seeds of what is memorised and extractable, and of their ratio.

    <name>_low and <name>_high bound Student's 95 % interval from three seeds on. `series` names the cell without
    its number of people. Variants that nothing was asked of, and rates that were not chosen, are left out.
    """
    table = table[table["extractable"].notna() & table["chosen"]]
    table = table.assign(ratio=table["extractable"] / table["memorised"].where(table["memorised"] > 0))
    several = {study: [name for name in NAMES if group[name].nunique() > 1] for study, group in table.groupby("study")}
    rows = []
    for _, group in table.groupby([*GROUP_COLUMNS, "extraction"], sort=False, dropna=False):
        cell = group.iloc[0]
        row: dict[str, Any] = {name: cell[name] for name in ("study", "extraction")}
        row |= {"series": _series(cell, several[cell["study"]]), "N": cell["N"], "seeds": len(group)}
        row["R_max"] = group["R_max"].mean()
        for name in ("memorised", "extractable", "ratio"):
            row[name] = group[name].mean(skipna=False)  # over all of `seeds`, or not at all
            row[f"{name}_low"], row[f"{name}_high"], _ = seed_interval(group[name].to_numpy(float))
        for name in ("extractable_first_token", "memorised_after", "R_extractable"):
            row[name] = group[name].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def _series(cell: Mapping[str, Any], several: list[str]) -> str:
    """What a cell compares but the number of people: what the study varies, and names of which it has several."""
    varied = [part for part in cell["setting"].split(" ") if part and not part.startswith("dataset.N=")]
    words = [part.split(".", 1)[1].replace("=None", "=null") for part in varied]
    return ", ".join([*(cell[name] for name in several), *words]) or f"{cell['dataset']}, {cell['model']}"
