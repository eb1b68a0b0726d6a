"""What `capacity table` says of committed tables at the end of a run."""

from pathlib import Path

import pandas as pd
import pytest

from capacity.tables.digest import MARK, digest
from capacity.tables.table import read_table

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
TABLES = sorted(REFERENCE.glob("*/*/capacity_table.csv"))


def table(study: str) -> pd.DataFrame:
    return read_table(REFERENCE / "laptop" / study / "capacity_table.csv")


def test_two_sentences_say_what_the_model_stores_and_what_int8_and_int4_leave() -> None:
    said = " ".join(digest(table("base-law-seeds")).partition("\n\n")[0].split())
    assert said == (
        "gpt2-2-2 (9,232 parameters) stores up to 2.06 bits per parameter after 1000 exposures and 0.92 bits per "
        "parameter after 100 exposures. Of the 2.06 bits per parameter int8 keeps 99% and int4 keeps nothing."
    )


def test_a_study_of_several_models_has_rows_alone() -> None:
    assert digest(table("architectures")).startswith("architectures ")


def test_a_cell_over_seeds_is_one_row_and_a_full_one_is_marked() -> None:
    lines = digest(table("base-law-seeds")).splitlines()
    full = lines.index(f"  {MARK}")
    assert "dataset.N=400" in lines[full - 1] or "dataset.N=400" in lines[full - 2]
    assert lines.count(f"  {MARK}") == 1
    assert len([line for line in lines if line.endswith("    3")]) == 6


@pytest.mark.parametrize("path", TABLES[:: max(len(TABLES) // 12, 1)], ids=lambda path: path.parent.name)
def test_every_line_fits_80_columns(path: Path) -> None:
    assert max(map(len, digest(read_table(path)).splitlines())) <= 80
