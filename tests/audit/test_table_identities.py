"""What a table says twice is held against itself, without the scores."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from capacity.audit.findings import Level
from capacity.audit.table_identities import SUMMARY, check_identities
from capacity.environment import REPOSITORY

REFERENCE = REPOSITORY / "results" / "reference"


def found(folder: Path) -> list[tuple[str, str]]:
    """Kind and place of what is wrong with a table in a folder."""
    level, table = Level(2), SimpleNamespace(name="t", folder=folder, manifest=SimpleNamespace(settings={}))
    check_identities(table, level)  # type: ignore[arg-type]
    return [(finding.kind, finding.where) for finding in level.findings]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A committed table in which several rates were tried."""
    source = next(path for path in sorted((REFERENCE / "laptop").iterdir()) if _has_rates(path / "capacity_table.csv"))
    return shutil.copytree(source, tmp_path / "table")


def _has_rates(path: Path) -> bool:
    return path.is_file() and not pd.read_csv(path)["chosen"].all()


def changed(folder: Path, name: str, change: Callable[[pd.DataFrame], Any]) -> None:
    table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(folder / name, index=False)


@pytest.mark.parametrize("table", ["laptop/quantization", "desktop/bioD-sweeps-more-seeds"])
def test_committed_tables_say_the_same_twice(table: str):
    """The second has two rates that six digits do not tell apart, and the higher one is chosen."""
    assert found(REFERENCE / table) == []


def put(column: str, text: str) -> Callable[[pd.DataFrame], Any]:
    def change(table: pd.DataFrame) -> None:
        table.loc[1, column] = text

    return change


@pytest.mark.parametrize(
    ("name", "column", "text"),
    [
        ("capacity_table.csv", "R", "2.81"),
        ("capacity_table.csv", "bits_stored", "1"),
        ("capacity_table.csv", "R_max", "9"),
        ("capacity_table.csv", "bits_per_weight_bit", "0.5"),
        (SUMMARY, "R", "1.9"),
        (SUMMARY, "R_low", "-5"),
        (SUMMARY, "interval_kind", "range"),
        (SUMMARY, "seeds", "9"),
    ],
)
def test_a_cell_that_does_not_follow_is_found(folder: Path, name: str, column: str, text: str):
    changed(folder, name, put(column, text))
    assert ("cell differs", f"t/{name} line 3, column {column}") in found(folder)


def test_more_than_the_facts_hold_is_impossible_even_where_bits_are_made_to_fit(folder: Path):
    def change(table: pd.DataFrame) -> None:
        R_max, P = float(table.loc[1, "R_max"]), float(table.loc[1, "P"])
        table.loc[1, ["R", "bits_stored"]] = [f"{1.2 * R_max:.6g}", f"{1.2 * R_max * P:.6g}"]

    changed(folder, "capacity_table.csv", change)
    assert ("impossible number", "t/capacity_table.csv line 3, column R") in found(folder)


def test_choices_that_are_inverted_are_found(folder: Path):
    def invert(table: pd.DataFrame) -> None:
        table["chosen"] = ["False" if cell == "True" else "True" for cell in table["chosen"]]

    changed(folder, "capacity_table.csv", invert)
    assert ("cell differs", "t/capacity_table.csv line 2, column chosen") in found(folder)


def test_a_summary_of_other_rows_and_a_file_that_is_no_table_are_found(folder: Path):
    here = pd.read_csv(folder / SUMMARY, dtype=str, keep_default_na=False)
    here[1:].to_csv(folder / SUMMARY, index=False)
    assert found(folder) == [("cell differs", f"t/{SUMMARY}")]
    (folder / "capacity_table.csv").write_text("nothing\n")
    assert found(folder) == [("no table", "t/capacity_table.csv")]
