"""The capacity table in few words for a terminal: two sentences made from its numbers, and a row a cell over seeds."""

from textwrap import wrap

import pandas as pd

from capacity.tables.naming import FULL_PRECISION, cell_names
from capacity.tables.summary import summarise

FULL = 0.95  # share of what is offered, above which a model has learned all of it
MARK = "full: offer more"
NAME_WIDTH = 44  # characters; a longer name is broken, so that a row stays within 80 columns


def digest(table: pd.DataFrame) -> str:
    """The sentences that the chosen rows of a table allow, then these rows pooled over seeds."""
    cells = summarise(table[table["chosen"]])
    sentences = [sentence for sentence in (stored_sentence(cells), kept_sentence(cells)) if sentence]
    said = [line for sentence in sentences for line in wrap(sentence, 80)]
    return "\n".join([*said, *([""] if said else []), *pooled_rows(cells)])


def stored_sentence(cells: pd.DataFrame) -> str | None:
    """What the one model of the first study stores at most, by exposures; None where the study compares models."""
    best = [_best(group) for _, group in _one_model(cells).groupby("exposures")]
    if not best:
        return None
    parts = [
        f"{row['R']:.2f} bits per parameter after {row['exposures']} exposures{', all on offer,' * _full(row)}"
        for row in reversed(best)
    ]
    said = " and ".join(parts).removesuffix(",")
    return f"{best[0]['model']} ({best[0]['P']:,.0f} parameters) stores up to {said}."


def kept_sentence(cells: pd.DataFrame) -> str | None:
    """What int8 and int4 leave in the cell where that model stores most; None where neither was measured."""
    plain = _one_model(cells)
    if plain.empty or (best := _best(plain))["R"] <= 0:
        return None
    keys = ["study", "setting", "dataset", "tokenizer", "regime", "lr"]
    beside = cells[(cells[keys] == best[keys]).all(axis=1)].set_index("scheme")["R"] / best["R"]
    parts = [
        f"{scheme} keeps {beside[scheme]:.0%}" if beside[scheme] > 0 else f"{scheme} keeps nothing"
        for scheme in ("int8", "int4")
        if scheme in beside
    ]
    return f"Of the {best['R']:.2f} bits per parameter {' and '.join(parts)}." if parts else None


def pooled_rows(cells: pd.DataFrame) -> list[str]:
    """Of each study a heading, and a row for each cell: R at the most bits per weight, its interval, and R_max."""
    cells = cells.assign(name=cell_names(cells.to_dict("records")))
    most = cells.groupby(["study", "name"])["bits_per_weight"].transform("max")
    shown = cells[cells["bits_per_weight"] == most].drop_duplicates(["study", "name"])
    lines = []
    for study, group in shown.groupby("study", sort=False):
        lines += _named(str(study), f"{'R':>5}  {'95 %':<14} {'R_max':>6} seeds")
        for _, row in group.iterrows():
            low_high = f"{row['R_low']:.2f} to {row['R_high']:.2f}" if row["interval_kind"] == "t95" else ""
            name = row["name"] + ("" if row["scheme"] == FULL_PRECISION else f" {row['scheme']}")
            lines += _named(name, f"{row['R']:>5.2f}  {low_high:<14} {row['R_max']:>6.2f} {row['seeds']:>5}")
            lines += [f"  {MARK}"] if _full(row) else []
    return lines


def _named(name: str, numbers: str) -> list[str]:
    *above, last = wrap(name, NAME_WIDTH)
    return [*above, f"{last:<{NAME_WIDTH}} {numbers}"]


def _full(row: pd.Series) -> bool:
    return bool(row["R"] > FULL * row["R_max"])


def _best(cells: pd.DataFrame) -> pd.Series:
    return cells.loc[cells["R"].idxmax()]


def _one_model(cells: pd.DataFrame) -> pd.DataFrame:
    """Unquantised cells of the first study; none where it compares models, of which no sentence can speak at once."""
    first = cells[(cells["study"] == cells["study"].iloc[0]) & (cells["scheme"] == FULL_PRECISION)]
    return first if len(first[["model", "P"]].drop_duplicates()) == 1 else first.iloc[:0]
