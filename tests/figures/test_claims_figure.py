"""The picture of all claims: who is in it, and where."""

from pathlib import Path

import pandas as pd
import pytest

from capacity.figures.claims_figure import plot_claims

CLAIM = {"result": 1, "statement": "It holds.", "relation": "equal", "published": 2.0, "tolerance": 0.1}
RECORD = pd.DataFrame(
    [
        CLAIM | {"id": "a", "measured": 2.1, "low": 2.0, "high": 2.2, "verdict": "reproduced"},
        CLAIM | {"id": "b", "measured": -9.0, "low": -9.5, "high": -8.5, "verdict": "not reproduced"},
        CLAIM | {"id": "c", "measured": None, "low": None, "high": None, "verdict": "not run"},
    ]
)


def test_claims_that_were_run_stand_over_what_was_published_with_equal_bytes(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        plot_claims(RECORD, tmp_path / folder)
    drawn = pd.read_csv(tmp_path / "a" / "claims-figure.csv")
    assert list(drawn["id"]) == ["a", "b"]
    assert drawn.loc[0, ["measured", "least", "most"]].tolist() == pytest.approx([1.05, 1 / 1.1, 1.1])
    for ending in ("png", "svg"):
        first, second = ((tmp_path / folder / f"claims-figure.{ending}").read_bytes() for folder in ("a", "b"))
        assert first == second
