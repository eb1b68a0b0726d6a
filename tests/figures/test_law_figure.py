"""The README's figure: the peak of each size in the base world, and the law that was fitted to it."""

from pathlib import Path

import pandas as pd
import pytest

from capacity.figures.law_figure import peaks, plot_law, published_peaks
from capacity.tables.reference import read_tables, scales_of
from capacity.tables.scaling_law import FittedLaw

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.concat([read_tables(folder) for folder in scales_of(REFERENCE)], ignore_index=True)


def test_each_size_has_one_point_an_exposure_and_only_base_studies_are_drawn(table: pd.DataFrame):
    drawn = peaks(table)
    assert not drawn.duplicated(["P", "exposures"]).any()
    assert set(drawn["exposures"]) == {100, 1000}
    assert all(name.startswith(("base-law", "ladder")) for name in drawn["study"])
    highest = drawn[(drawn["P"] == 33_824) & (drawn["exposures"] == 1000)]
    assert highest["R"].item() == pytest.approx(2.3115, abs=0.02)


def test_a_model_that_stores_all_it_is_offered_is_full_and_no_peak_of_the_papers():
    small = published_peaks()
    assert len(small) > 20
    assert (small["R"] <= 0.95 * small["R_max"]).all()


@pytest.mark.parametrize("fitted", [True, False])
def test_the_figure_has_equal_bytes_for_equal_tables(table: pd.DataFrame, fitted: bool, tmp_path: Path):
    law = FittedLaw.read(REFERENCE / "law.json") if fitted else None
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        plot_law(table, law, tmp_path / folder)
    for ending in ("svg", "png", "csv"):
        first, second = ((tmp_path / folder / f"figure1.{ending}").read_bytes() for folder in ("a", "b"))
        assert first == second
