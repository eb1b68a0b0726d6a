"""What goes on x, what makes a line and what makes a panel: as a study says, or as follows from what it varies.

Keys are those of the configuration: `dataset`, `tokenizer`, `model`, `regime`, `quantizer`, and what `vary` reaches, as
`regime.lr`. All that differs and is neither x nor panel makes lines: a line joins only what differs in x alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

NAMES = ("dataset", "model", "tokenizer", "regime", "quantizer")
COLUMNS = {"quantizer": "scheme", "dataset.N": "N", "regime.exposures": "exposures", "regime.lr": "lr"}
EXPOSURES = "regime.exposures"
NOTHING = {"None": "not set", "null": "not set", "": "not set", "True": "yes", "False": "no"}
WORDS = {"dataset.N": "people, N", "regime.lr": "learning rate", EXPOSURES: "exposures", "quantizer": "quantizer"}


@dataclass(frozen=True)
class Layout:
    """Keys of one figure: what goes on x, what makes lines, in their order, and what makes panels, if anything does."""

    x: str
    lines: tuple[str, ...]
    panel: str | None


def layout_of(summary: pd.DataFrame, said: Mapping[str, str | None] | None) -> tuple[Layout, pd.DataFrame]:
    """The layout of a study, and its summary with a column for each key that is used.

    said: `x`, `line` and `panel` as the study's section says them; None: as follows from what differs.
    """
    cells = pd.concat([summary, values_of(summary)], axis=1)
    varied = _varied(cells)
    said = dict(said or {})
    x = said.get("x") or _default_x(cells, varied)
    rest = [key for key in varied if key != x]
    panel = said.get("panel") if said else (EXPOSURES if EXPOSURES in rest and len(rest) > 1 else None)
    rest = [key for key in rest if key != panel]
    line = said.get("line")
    lines = [line, *(key for key in rest if key != line)] if line in rest else rest
    return Layout(x, tuple(lines), panel), cells


def values_of(summary: pd.DataFrame) -> pd.DataFrame:
    """A column a key: the names, and what `vary` reaches as numbers where all are, else as text."""
    values = pd.DataFrame({f"={key}": summary[COLUMNS.get(key, key)] for key in (*NAMES, *COLUMNS)})
    for key, column in _settings(summary).items():
        if key not in COLUMNS:  # of these the table has the value of each row, of those too that do not vary it
            values[f"={key}"] = column
    return values


def column(key: str) -> str:
    """The column of a key in what `layout_of` returns."""
    return f"={key}"


def text_of(key: str, value: object) -> str:
    """A value of a key in the words of the configuration: a name as it is, a number after its key."""
    if key == "quantizer" and value == "none":
        return "not quantised"
    if key in NAMES:
        return str(value)
    text = f"{value:g}" if isinstance(value, int | float) else NOTHING.get(str(value), str(value))
    return f"{text} exposures" if key == EXPOSURES else f"{key.split('.', 1)[1]} {text}"


def words_of(key: str) -> str:
    """What an axis of a key is called."""
    return WORDS.get(key, key.replace(".", ": ", 1))


def _settings(summary: pd.DataFrame) -> dict[str, pd.Series]:
    """What `vary` reaches, from the column `setting`."""
    parts = [dict(part.split("=", 1) for part in text.split(" ") if "=" in part) for text in summary["setting"]]
    keys = dict.fromkeys(key for part in parts for key in part)
    found = {}
    for key in keys:
        texts = pd.Series([part.get(key, "") for part in parts], index=summary.index, dtype=object)
        numbers = pd.to_numeric(texts, errors="coerce")
        found[key] = texts if numbers.isna().any() else numbers
    return found


def _varied(cells: pd.DataFrame) -> list[str]:
    """Keys that differ, what `vary` names first; of exposures and the regimes that set them the more telling one."""
    swept = list(_settings(cells))
    keys = dict.fromkeys([*swept, EXPOSURES, *NAMES])
    varied = [key for key in keys if cells[column(key)].nunique(dropna=False) > 1]
    if EXPOSURES in varied and "regime" in varied:
        for told, other in (("regime", EXPOSURES), (EXPOSURES, "regime")):
            if cells.groupby(column(other))[column(told)].nunique().max() == 1:
                varied.remove(told)
                break
    return varied


def _default_x(cells: pd.DataFrame, varied: list[str]) -> str:
    """The first key of `vary`, else the name with the most values."""
    swept = [key for key in varied if key not in NAMES and key != EXPOSURES]
    names = sorted((key for key in varied if key in NAMES), key=lambda key: -cells[column(key)].nunique())
    return [*swept, *names, *varied, "model"][0]
