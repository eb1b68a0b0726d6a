"""A table against a reference: equal, different and undecided cells, chance, and verdicts on claims."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from test_claims import CLAIM, seeds

from capacity.cli.main import main
from capacity.tables.compare import OPEN, OTHER, SAME, compare_cells, compare_claims, too_many_differ
from capacity.tables.table import capacity_table, write_table


def cells(mine: list[dict[str, Any]], reference: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return compare_cells(capacity_table(mine), capacity_table(reference)).to_dict("records")


def test_the_interval_of_the_difference_is_welchs():
    (cell,) = cells(seeds(2.0, 2.1, 2.2), seeds(1.9, 2.1, 2.0, 2.05))
    reference = scipy.stats.ttest_ind([2.0, 2.1, 2.2], [1.9, 2.1, 2.0, 2.05], equal_var=False).confidence_interval()
    assert (cell["low"], cell["high"]) == pytest.approx((reference.low, reference.high))
    assert (cell["seeds"], cell["seeds_reference"], cell["verdict"]) == (3, 4, SAME)


@pytest.mark.parametrize(
    ("mine", "theirs", "verdict"),
    [
        ((1.0, 1.02, 1.01), (2.0, 2.01, 2.02), OTHER),
        ((2.0, 2.0, 2.0), (2.0, 2.0, 2.0), SAME),
        ((2.0, 2.0, 2.0), (1.0, 1.0, 1.0), OTHER),
        ((2.0,), (2.0, 2.1), OPEN),
    ],
)
def test_a_cell_agrees_where_the_interval_holds_zero(mine, theirs, verdict):
    (cell,) = cells(seeds(*mine), seeds(*theirs))
    assert cell["verdict"] == verdict


def test_cells_are_matched_whatever_the_study_and_others_left_out():
    found = cells(seeds(1.0, 1.1, model="a") + seeds(1.0, 1.1, model="b"), seeds(1.0, 1.1, model="a", study="other"))
    assert [cell["model"] for cell in found] == ["a"]


def test_of_several_studies_with_a_cell_the_same_one_is_compared():
    other = [dict(row, variant_id="o") for row in seeds(9.0, 9.1, study="another")]
    (cell,) = cells(seeds(1.0, 1.1), other + seeds(1.0, 1.1))
    assert (cell["difference"], cell["seeds_reference"]) == (0, 2)


def test_seeds_that_another_study_added_to_the_reference_take_no_part():
    """A table held against one that it is a part of differs nowhere."""
    mine = seeds(1.0, 1.1, 1.05)
    more = [
        {**row, "seed": row["seed"] + 3, "variant_id": f"more-{row['seed']}"} for row in seeds(2.0, 2.1, study="more")
    ]
    (cell,) = cells(mine, mine + more)
    assert (cell["difference"], cell["seeds_reference"], cell["verdict"]) == (0, 3, SAME)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1.1,", "n/a,", "R has a value that is no number"),
        ("1.1,", ",", "no R in line 2"),
        (",True,", ",,", "chosen has a value that is neither True nor False"),
        ("\nbase", "", "has no rows"),
    ],
)
def test_a_table_that_was_edited_is_refused_in_one_line(tmp_path: Path, monkeypatch, capsys, old, new, said):
    write_table(capacity_table(seeds(1.1)), tmp_path / "table.csv")
    text = (tmp_path / "table.csv").read_text()
    (tmp_path / "table.csv").write_text(text.partition(old)[0] + "\n" if "rows" in said else text.replace(old, new, 1))
    monkeypatch.setattr(sys, "argv", ["capacity", "compare", str(tmp_path / "table.csv")])
    with pytest.raises(SystemExit):
        main()
    assert said in (words := capsys.readouterr().err)
    assert words.count("\n") == 1


def test_of_several_rates_the_chosen_one_is_compared():
    """Rates stand in another order on each side, and the one that stores most on each is another."""
    mine = seeds(1.0, 1.1, lr=0.1) + seeds(2.0, 2.1, lr=0.2)
    reference = seeds(2.0, 2.1, lr=0.1) + seeds(0.5, 0.6, lr=0.2)
    (cell,) = cells(mine, reference)
    assert (cell["R"], cell["R_reference"], cell["verdict"]) == (pytest.approx(2.05), pytest.approx(2.05), SAME)


def test_one_cell_in_twenty_may_differ():
    same, other = seeds(1.0, 1.1, 1.2), seeds(9.0, 9.1, 9.2)
    few = [row for i in range(40) for row in seeds(1.0, 1.1, 1.2, model=f"m{i}")]
    odd = [dict(row, R=row["R"] + 8 * (row["model"] in ("m1", "m2"))) for row in few]
    worse = [dict(row, R=row["R"] + 8 * (row["model"] < "m2")) for row in few]
    assert not too_many_differ(compare_cells(capacity_table(odd), capacity_table(few)))
    assert too_many_differ(compare_cells(capacity_table(worse), capacity_table(few)))
    assert too_many_differ(compare_cells(capacity_table(other), capacity_table(same)))


def test_verdicts_are_compared_on_the_studies_that_both_have():
    claim = {"to": None, "not_run": None, "seeds": 3, "column": "R", **CLAIM, "of": {"study": ["base", "more"]}}
    mine = capacity_table(seeds(2.0, 2.01, 2.02))
    reference = capacity_table(seeds(1.0, 1.01, 1.02) + seeds(9.0, 9.01, 9.02, study="more", model="big"))
    (row,) = compare_claims([claim], mine, reference).to_dict("records")
    assert (row["verdict"], row["verdict_reference"]) == ("reproduced", "not reproduced")
    assert row["measured_reference"] == pytest.approx(1.01)
    other = compare_claims([{**claim, "of": {"study": ["more"]}}], mine, reference)
    assert other.empty
    assert np.isfinite(row["measured"])


def test_a_table_without_a_cell_of_the_reference_is_told_in_one_line(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "reference" / "laptop" / "base").mkdir(parents=True)
    write_table(
        capacity_table(seeds(1.0, 1.1, model="a")), tmp_path / "reference" / "laptop" / "base" / "capacity_table.csv"
    )
    write_table(capacity_table(seeds(1.0, 1.1, model="b", study="mine")), tmp_path / "table.csv")
    claims = Path(__file__).resolve().parents[2] / "claims.yaml"
    words = ["table.csv", "--reference", "reference", "--claims", str(claims)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["capacity", "compare", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (1, "")
    assert said.err == (
        "error: reference/laptop has none of the cells of table.csv, whose studies are mine; there are tables of base\n"
    )
