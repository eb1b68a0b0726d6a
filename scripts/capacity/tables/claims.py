"""Published claims held against capacity tables: a statistic of each seed, its interval over seeds, a verdict by rule.

A claim's statistic is one number a seed, because a seed draws its own world and its own training; what is measured is
the mean over seeds with Student's 95 % interval. The declared tolerance turns the published number into a region.
reproduced: the interval lies inside. not reproduced: it lies outside. inconclusive: it straddles the border, there are
fewer seeds than the claim asks for, or what a ratio is divided by is not above zero. not run: no row fits.
"""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from capacity.tables.summary import seed_interval
from capacity.tables.table import GROUP_COLUMNS, HAVE_COLUMNS, SCHEME_COLUMNS

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, NOT_RUN = "reproduced", "not reproduced", "inconclusive", "not run"
COLUMNS = (
    *("id", "result", "source", "statement", "statistic", "column", "unit", "relation", "published", "tolerance"),
    *("measured", "low", "high", "seeds", "scale", "verdict", "reason", "studies", "runs"),
)
PATTERNS = ("study", "scheme", "dataset", "model", "regime", "setting")
# Rows that differ in none of these are one cell of a grid, whatever the study and the best of the rates that it tried.
CELL_COLUMNS = [column for column in GROUP_COLUMNS if column not in ("study", "lr")]

Claim = Mapping[str, Any]
SIGNS = {"at least": "≥", "at most": "≤", "equal": "="}


def judge(claims: Sequence[Claim], table: pd.DataFrame, scale: str) -> pd.DataFrame:
    """One row a claim: published, measured with its interval, verdict, reason, and the runs that it rests on."""
    return pd.DataFrame([judge_claim(claim, table, scale) for claim in claims], columns=list(COLUMNS))


def judge_claim(claim: Claim, table: pd.DataFrame, scale: str) -> dict[str, Any]:
    """The verdict on one claim. claim: as `capacity.config.claim.read_claims` gives it."""
    about = {column: claim[column] for column in COLUMNS if column in claim and column != "seeds"}
    about |= {"result": claim["result"] or "", "source": claim.get("source") or ""}
    about |= {"unit": "ratio" if claim["to"] or claim["statistic"] == "lowest share" else "bits a parameter"}
    about |= {"scale": scale, "seeds": 0, "studies": "", "runs": ""}
    if not claim["of"]:
        return {**about, "verdict": NOT_RUN, "reason": claim["not_run"]}
    sides = {side: select(table, claim[side]) for side in ("of", "to") if claim[side]}
    for side, rows in sides.items():
        if rows.empty:
            return {**about, "verdict": NOT_RUN, "reason": claim["not_run"] or f"no rows of {_in_words(claim[side])}"}
        if rows[claim["column"]].isna().any():
            return {**about, "verdict": NOT_RUN, "reason": f"rows of an older table, which has no {claim['column']}"}
    complete = {side: _complete_seeds(rows) for side, rows in sides.items()}
    seeds = sorted(set.intersection(*(set(rows["seed"]) for rows in complete.values())))
    used = pd.concat([rows[rows["seed"].isin(seeds)] for rows in complete.values()])
    about |= {
        "seeds": len(seeds),
        "studies": " ".join(dict.fromkeys(used["study"])),
        "runs": " ".join(dict.fromkeys(used["checkpoint_id"])),
    }
    if not seeds:
        return {**about, "verdict": NOT_RUN, "reason": "no seed has every cell"}
    of_seed = [{side: rows[rows["seed"] == seed] for side, rows in complete.items()} for seed in seeds]
    values = pd.Series([_number(claim, sides) for sides in of_seed])
    if values.isna().any():
        return {**about, "verdict": INCONCLUSIVE, "reason": "what it is divided by is zero"}
    low, high, _ = seed_interval(values.to_numpy(float))
    verdict, reason = _verdict(claim, low, high, len(seeds))
    if claim["to"] and (no_ratio := _no_ratio(claim["column"], [sides["to"] for sides in of_seed])):
        verdict, reason = INCONCLUSIVE, f"what it is divided by {no_ratio}"
    return {**about, "measured": values.mean(), "low": low, "high": high, "verdict": verdict, "reason": reason}


def select(table: pd.DataFrame, selection: Mapping[str, Any]) -> pd.DataFrame:
    """The rows that a selection names, of learning rates that a study chose; of each cell and seed one.

    Where several regimes of as many exposures and of one batch stand for a cell, as where a study tries rates that
    another did not, or where studies of other seeds chose other rates, one regime at one rate counts, for every seed
    and scheme: of those with most seeds that of the highest mean R of the weights as they were trained. Regimes of one
    study that tried the same rate differ in something else, and are cells of their own. Of two trainings of one regime,
    rate and seed the first in the table counts.
    """
    keep = pd.Series(True, table.index)
    if selection.get("exposures") is not None:
        keep &= table["exposures"].isin(selection["exposures"])
    if selection.get("R_max_at_most") is not None:
        keep &= table["R_max"] <= selection["R_max_at_most"]
    for column in PATTERNS:
        if column != "scheme":
            keep &= _fits(table[column], selection.get(column))
    rows = _of_best_rates(table.assign(cell=_cells(table))[keep])
    return rows[_fits(rows["scheme"], selection.get("scheme"))]


def _fits(texts: pd.Series, patterns: Sequence[str] | None) -> pd.Series:
    return texts.map(lambda text: patterns is None or any(fnmatchcase(text, each) for each in patterns)).astype(bool)


# Columns of a cell whose regimes are compared; what it varies is its column `cell`.
OF_CELL = [*(column for column in CELL_COLUMNS if column not in ("setting", "regime", *SCHEME_COLUMNS)), "cell"]


def _cells(table: pd.DataFrame) -> pd.Series:
    """What each row's study varies, in words; with the regime where another of the study has tried one of its rates."""
    varied = table["setting"].str.replace(HAVE_COLUMNS, "", regex=True).str.strip()  # one may vary what another fixes
    rows = table.assign(cell=varied)
    at_rate = rows.groupby([*OF_CELL, "study", "lr"], dropna=False)["regime"].transform("nunique")
    apart = at_rate.groupby([rows[key] for key in (*OF_CELL, "study", "regime")], dropna=False).transform("max") > 1
    return varied.where(~apart, varied + " " + table["regime"])


def _of_best_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one regime and rate a cell, one a seed and scheme, as `select` says."""
    keys = [*OF_CELL, "regime", "lr"]
    by_rate = [rows[key] for key in keys]
    rows = rows[rows["chosen"].astype(bool).groupby(by_rate, dropna=False).transform("any").astype(bool)]
    rows = rows.drop_duplicates([*keys, *SCHEME_COLUMNS, "seed"])
    bits = rows["bits_per_weight"].groupby([rows[key] for key in keys], dropna=False)
    trained = rows[rows["bits_per_weight"] == bits.transform("max")]
    tried = trained.groupby(keys, dropna=False)["R"].agg(["count", "mean"]).reset_index()
    for number in ("count", "mean"):
        tried = tried[tried[number] == tried.groupby(OF_CELL, dropna=False)[number].transform("max")]
    return rows.merge(tried.drop_duplicates(OF_CELL)[keys], on=keys)


def _in_words(selection: Mapping[str, Any]) -> str:
    """What a selection asks for."""
    conditions = [f"{key} {_listed(value)}" for key, value in selection.items() if key != "study" and value is not None]
    return f"{_listed(selection['study'])} with {', '.join(conditions)}"


def _listed(value: Any) -> str:
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)


def _complete_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of seeds that have every cell: a peak over fewer models would be another statistic."""
    columns = ["cell", *(column for column in CELL_COLUMNS if column != "setting")]
    cells = rows.groupby(columns, dropna=False, sort=False).ngroup()
    counts = cells.groupby(rows["seed"]).nunique()
    return rows[rows["seed"].isin(counts[counts == cells.nunique()].index)]


def _number(claim: Claim, sides: Mapping[str, pd.DataFrame]) -> float:
    """The claim's number for one seed: its statistic, as a ratio where the claim names what to; NaN where that is 0."""
    number = _statistic(claim["statistic"], claim["column"], sides["of"])
    if not claim["to"]:
        return number
    whole = float(sides["to"][claim["column"]].max())
    return number / whole if whole else math.nan


def _no_ratio(column: str, rows_of_seed: Sequence[pd.DataFrame]) -> str:
    """Why a ratio to the peaks of several seeds says nothing: their interval reaches zero, or lies below."""
    low, high, _ = seed_interval(pd.Series([rows[column].max() for rows in rows_of_seed]).to_numpy(float))
    return "" if low > 0 else "is below zero" if high < 0 else "cannot be told from zero"


def _statistic(name: str, column: str, rows: pd.DataFrame) -> float:
    """A statistic of a column of the rows of one seed."""
    match name:
        case "peak":
            return float(rows[column].max())
        case "lowest peak":
            return float(rows.groupby([rows["dataset"], rows["setting"].map(_world)])[column].max().min())
        case "lowest share":  # a learning rate that fits less well is no model of its own
            share = rows[column] / rows["R_max"]
            columns = [rows[name] for name in ("dataset", "exposures", "model", "tokenizer", "R_max")]
            return float(share.groupby([*columns, rows["setting"].map(_world)]).max().min())
    raise ValueError(name)


def _world(setting: str) -> str:
    """What a setting says of the world and the model: a peak is over people and over how they are trained."""
    return " ".join(part for part in setting.split() if not part.startswith(("dataset.N=", "regime.")))


def _verdict(claim: Claim, low: float, high: float, seeds: int) -> tuple[str, str]:
    """Verdict and reason from the 95 % interval and the region that the claim accepts."""
    if seeds < claim["seeds"]:
        return INCONCLUSIVE, f"{seeds} seed{'s' if seeds > 1 else ''}, {claim['seeds']} are needed"
    least, most = region(claim)
    if least <= low and high <= most:
        return REPRODUCED, ""
    if high < least or low > most:
        return NOT_REPRODUCED, f"the interval lies {'below' if high < least else 'above'} the accepted range"
    return INCONCLUSIVE, "the interval lies partly outside the accepted range"


def region(claim: Claim) -> tuple[float, float]:
    """The values that count as the published one, tolerance included."""
    factor = 1 + claim["tolerance"]
    least = -math.inf if claim["relation"] == "at most" else claim["published"] / factor
    most = math.inf if claim["relation"] == "at least" else claim["published"] * factor
    return least, most


def region_text(claim: Claim) -> str:
    """The values that count as the published one, in words."""
    least, most = region(claim)
    if math.isinf(most):
        return f"{least:.3g} or more"
    return f"{most:.3g} or less" if math.isinf(least) else f"{least:.3g} to {most:.3g}"


def as_markdown(judged: pd.DataFrame) -> str:
    """The verdicts as a Markdown table."""
    lines = [
        "| result | the paper says | unit | published | accepted | measured | 95 % | seeds | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in judged.to_dict("records"):
        measured, interval = number_and_interval(row)
        verdict = f"**{row['verdict']}**" + (f": {row['reason']}" if row["reason"] else "")
        lines.append(
            f"| {result_text(row)} | {in_a_cell(row['statement'])} | {row['unit']} | {published_text(row)} | "
            f"{region_text(row)} | {measured} | {interval} | {row['seeds'] or ''} | {verdict} |"
        )
    return "\n".join(lines) + "\n"


def result_text(row: Mapping[str, Any]) -> str:
    """The paper's number of the result, or the other work that says it."""
    return in_a_cell(row["source"] or row["result"])


def in_a_cell(text: Any) -> str:
    """Text that may stand in a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def published_text(row: Mapping[str, Any]) -> str:
    """The published number with its relation."""
    return f"{SIGNS[row['relation']]} {row['published']:.3g}".removeprefix("= ")


def number_and_interval(row: Mapping[str, Any]) -> tuple[str, str]:
    """The measured number and its interval as short text, blank where there is none."""
    if not row["seeds"] or pd.isna(row["measured"]):
        return "", ""
    return f"{row['measured']:.3g}", f"{row['low']:.3g} to {row['high']:.3g}"
