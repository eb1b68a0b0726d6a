"""Verdicts on claims from planted tables: for each statistic numbers that reproduce, contradict and straddle."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import scipy.stats
import yaml

from capacity.config.claim import read_claims
from capacity.errors import UserError
from capacity.tables.claims import (
    COLUMNS,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    as_markdown,
    judge,
    region,
)
from capacity.tables.table import COLUMNS as TABLE_COLUMNS
from capacity.tables.table import ID_COLUMNS, capacity_table

TEXTS = dict.fromkeys(("run", "setting", *ID_COLUMNS), "")
TEXTS |= {"study": "base", "dataset": "d", "kind": "bioD", "tokenizer": "word", "model": "m", "regime": "long"}
NUMBERS = {name: 1 for name in TABLE_COLUMNS if name not in TEXTS}
NUMBERS |= {"N": 400, "exposures": 1000, "R_max": 4.0, "bits_per_weight": 32}

CLAIM: dict[str, Any] = {"id": "it", "result": 1, "statement": "It holds.", "published": 2.0, "tolerance": 0.1}
CLAIM |= {"relation": "at least", "statistic": "peak", "of": {"study": ["base"]}}


def write_claims(folder: Path, *claims: dict[str, Any]) -> Path:
    """A file of claims."""
    path = folder / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": list(claims)}))
    return path


@pytest.fixture
def verdict(tmp_path: Path):
    """Judges a claim against rows; gives the row of claims.csv."""

    def judged(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
        claims = read_claims(write_claims(tmp_path, {**CLAIM, **changes}))
        (row,) = judge(claims, capacity_table(rows), "laptop").to_dict("records")
        return row

    return judged


def seeds(*values: float, **cell: Any) -> list[dict[str, Any]]:
    """One row a value, of seeds 1, 2, ..., all in the same cell of the grid."""
    name = "-".join(str(value).replace(" ", "-") for key, value in cell.items() if key != "study") or "plain"
    return [
        {**TEXTS, **NUMBERS, "scheme": "none", "R": R, "seed": seed, **cell}
        | {"variant_id": f"{name}-s{seed}", "checkpoint_id": f"{name}-s{seed}"}
        for seed, R in enumerate(values, 1)
    ]


HIGH, LOW, WIDE = (2.05, 2.1, 2.08), (1.2, 1.25, 1.3), (1.3, 1.9, 2.5)
RATIO = {"published": 1.0, "relation": "equal"}
SIDES = {"of": {"study": ["base"], "scheme": ["int8"]}, "to": {"study": ["base"]}}


@pytest.mark.parametrize(
    ("rows", "changes", "expected"),
    [
        (seeds(*HIGH), {}, REPRODUCED),
        (seeds(*LOW), {}, NOT_REPRODUCED),
        (seeds(*WIDE), {}, INCONCLUSIVE),
        (seeds(*LOW), {"relation": "at most"}, REPRODUCED),
        (seeds(2.3, 2.35, 2.4), {"relation": "at most"}, NOT_REPRODUCED),
        (seeds(*WIDE), {"relation": "at most"}, INCONCLUSIVE),
        (seeds(*HIGH), {"relation": "equal"}, REPRODUCED),
        (seeds(*LOW), {"relation": "equal"}, NOT_REPRODUCED),
        (seeds(*WIDE), {"relation": "equal"}, INCONCLUSIVE),
        # the lowest over worlds of the highest over people and learning rates
        (
            seeds(*HIGH, setting="dataset.K=1 dataset.N=9") + seeds(*LOW, setting="dataset.K=1 dataset.N=5"),
            {"statistic": "lowest peak"},
            REPRODUCED,
        ),
        (
            seeds(*HIGH, setting="dataset.K=1") + seeds(*LOW, setting="dataset.K=2"),
            {"statistic": "lowest peak"},
            NOT_REPRODUCED,
        ),
        (
            seeds(*HIGH, setting="dataset.K=1") + seeds(*WIDE, setting="dataset.K=2"),
            {"statistic": "lowest peak"},
            INCONCLUSIVE,
        ),
        (
            seeds(*HIGH, dataset="a") + seeds(*LOW, dataset="b"),
            {"statistic": "lowest peak"},
            NOT_REPRODUCED,
        ),
        (
            seeds(*HIGH, dataset="a") + seeds(*HIGH, dataset="b") + seeds(*HIGH, study="other", model="other"),
            {"statistic": "lowest peak", "published": 1.0, "to": {"study": ["other"]}},
            REPRODUCED,
        ),
        # R over R_max
        (
            seeds(*HIGH, R_max=2.1) + seeds(*LOW, R_max=2.1, lr=0.5) + seeds(1.24, 1.25, 1.26, R_max=1.3),
            {"statistic": "lowest share", "published": 1.0},
            REPRODUCED,
        ),
        (seeds(*LOW, R_max=2.1), {"statistic": "lowest share", "published": 1.0}, NOT_REPRODUCED),
        (seeds(*WIDE, R_max=2.1), {"statistic": "lowest share", "published": 1.0}, INCONCLUSIVE),
        # one peak over another
        (seeds(*HIGH) + seeds(*HIGH, scheme="int8"), RATIO | SIDES, REPRODUCED),
        (seeds(*HIGH) + seeds(*LOW, scheme="int8"), RATIO | SIDES, NOT_REPRODUCED),
        (seeds(*HIGH) + seeds(*WIDE, scheme="int8"), RATIO | SIDES, INCONCLUSIVE),
        (seeds(*HIGH) + seeds(-2.0, -2.2, -2.1, scheme="int8"), RATIO | SIDES | {"relation": "at most"}, REPRODUCED),
    ],
)
def test_the_verdict_follows_from_the_interval(verdict, rows, changes, expected):
    assert verdict(rows, **changes)["verdict"] == expected


def test_what_is_measured_is_the_mean_over_seeds_with_students_interval(verdict):
    row = verdict(seeds(1.0, 1.0, 1.0, model="small") + seeds(*WIDE))
    reference = scipy.stats.t.interval(0.95, 2, 1.9, scipy.stats.sem(WIDE))
    assert (row["measured"], row["low"], row["high"]) == pytest.approx((1.9, *reference))
    assert row["seeds"] == 3
    assert row["runs"] == "small-s1 small-s2 small-s3 plain-s1 plain-s2 plain-s3"


def test_a_ratio_is_taken_seed_by_seed(verdict):
    """Worlds differ more than schemes: halves of 1, 2 and 3 are halves, exactly."""
    row = verdict(seeds(1.0, 2.0, 3.0) + seeds(0.5, 1.0, 1.5, scheme="int8"), **RATIO | SIDES)
    assert (row["low"], row["measured"], row["high"]) == pytest.approx((0.5, 0.5, 0.5))


def test_a_ratio_is_taken_to_the_peak(verdict):
    row = verdict(
        seeds(2.0, 2.0, 2.0) + seeds(1.0, 1.0, 1.0, model="small") + seeds(1.0, 1.0, 1.0, scheme="int8"),
        **RATIO | SIDES,
    )
    assert row["measured"] == pytest.approx(0.5)


def test_the_region_is_symmetric_in_factors():
    claim = {"published": 2.0, "tolerance": 0.25}
    assert region(claim | {"relation": "equal"}) == (1.6, 2.5)
    assert region(claim | {"relation": "at least"}) == (1.6, float("inf"))
    assert region(claim | {"relation": "at most"}) == (float("-inf"), 2.5)


def test_too_few_seeds_leave_it_open_whatever_they_say(verdict):
    row = verdict(seeds(*HIGH), seeds=4)
    assert (row["verdict"], row["reason"]) == (INCONCLUSIVE, "3 seeds, 4 are needed")
    assert verdict(seeds(1.0))["reason"] == "1 seed, 3 are needed"


@pytest.mark.parametrize(("column", "expected"), [("R", 0.5), ("R_calibrated", 0.9)])
def test_a_claim_is_judged_by_the_column_that_it_names(verdict, column, expected):
    rows = seeds(2.0, 2.0, 2.0, R_calibrated=3.0) + seeds(1.0, 1.0, 1.0, scheme="int8", R_calibrated=2.7)
    row = verdict(rows, **RATIO | SIDES, column=column)
    assert (row["measured"], row["column"]) == (pytest.approx(expected), column)
    for statistic, measured in (("peak", 3.0), ("lowest peak", 3.0), ("lowest share", 1.5)):
        row = verdict(seeds(1.0, 1.0, 1.0, R_calibrated=3.0, R_max=2.0), statistic=statistic, column="R_calibrated")
        assert row["measured"] == pytest.approx(measured)


def test_a_column_that_an_older_table_does_not_have_cannot_be_judged(verdict):
    rows = seeds(*HIGH) + seeds(*HIGH, scheme="int8")
    old = [row | {"R_calibrated": None} for row in rows]
    row = verdict(old, **RATIO | SIDES, column="R_calibrated")
    assert (row["verdict"], row["reason"]) == (NOT_RUN, "rows of an older table, which has no R_calibrated")
    assert verdict(old, **RATIO | SIDES)["verdict"] == REPRODUCED


def test_without_rows_it_was_not_run(verdict):
    row = verdict(seeds(*HIGH, study="other"))
    assert (row["verdict"], row["reason"], row["seeds"]) == (NOT_RUN, "no rows of base with scheme none", 0)
    only_one_side = verdict(seeds(*HIGH), **RATIO | SIDES)
    assert (only_one_side["verdict"], only_one_side["reason"]) == (NOT_RUN, "no rows of base with scheme int8")
    no_common_seed = seeds(*HIGH)[:1] + seeds(*HIGH, scheme="int8")[1:]
    assert verdict(no_common_seed, **RATIO | SIDES)["verdict"] == NOT_RUN


def test_a_claim_that_nothing_here_can_test_says_why(verdict):
    row = verdict(seeds(*HIGH), of=None, not_run="it needs another model's text")
    assert (row["verdict"], row["reason"]) == (NOT_RUN, "it needs another model's text")
    assert verdict(seeds(*HIGH, study="other"), not_run="too dear")["reason"] == "too dear"
    assert verdict(seeds(*HIGH), not_run="too dear")["verdict"] == REPRODUCED


def test_a_seed_that_lacks_a_cell_is_left_out(verdict):
    row = verdict(seeds(*HIGH) + seeds(9.0, 9.1, 9.2, 9.3, model="big"))
    assert (row["seeds"], row["measured"]) == (3, pytest.approx(9.1))


def test_a_ratio_to_what_stores_nothing_is_inconclusive(verdict):
    ratio = {"of": {"study": ["base"], "model": ["m"]}, "to": {"study": ["base"], "model": ["other"]}}
    rows = seeds(-2.0, -2.1, -2.05) + seeds(0.5, 0.01, 0.6, model="other")
    row = verdict(rows, published=4.0, **ratio)
    assert row["verdict"] == INCONCLUSIVE
    assert row["reason"] == "what it is divided by cannot be told from zero"
    row = verdict(seeds(-2.0, -2.1, -2.05) + seeds(-0.5, -0.51, -0.49, model="other"), published=4.0, **ratio)
    assert (row["verdict"], row["reason"]) == (INCONCLUSIVE, "what it is divided by is below zero")


def test_a_ratio_to_zero_is_inconclusive_and_has_no_number(verdict):
    ratio = {"of": {"study": ["base"], "model": ["m"]}, "to": {"study": ["base"], "model": ["other"]}}
    row = verdict(seeds(2.0, 2.1, 2.05) + seeds(1.0, 0.0, 1.1, model="other"), **ratio)
    assert (row["verdict"], row["reason"]) == (INCONCLUSIVE, "what it is divided by is zero")
    assert "|  |  | 3 | **inconclusive**: what it is divided by is zero |" in as_markdown(pd.DataFrame([row]))


def more_seeds(*R: float, **columns: Any) -> list[dict[str, Any]]:
    """Seeds 4, 5, ... in another study."""
    rows = seeds(*R, study="more", **columns)
    return [{**row, "seed": row["seed"] + 3, "variant_id": f"{row['variant_id']}-more"} for row in rows]


def test_seeds_of_two_studies_count_together_at_the_rate_that_is_best_over_all_of_them(verdict):
    """Each study would choose another one for its own seeds; a rate that neither chose takes no part."""
    rows = seeds(1.8, 1.9, 2.0, lr=0.01) + seeds(1.7, 1.7, 1.7, lr=0.02) + seeds(9.0, -4.0, -4.0, lr=0.03)
    rows += (
        more_seeds(1.7, 1.9, 1.7, lr=0.01) + more_seeds(2.2, 2.3, 2.4, lr=0.02) + more_seeds(-4.0, 9.0, -4.0, lr=0.03)
    )
    row = verdict(rows, of={"study": ["base", "more"]})
    assert (row["seeds"], row["measured"]) == (6, pytest.approx(2.0))


def test_seeds_at_rates_of_their_own_are_not_put_together(verdict):
    row = verdict(seeds(1.8, 1.9, 2.0, lr=0.01) + more_seeds(2.2, 2.3, 2.4, lr=0.02), of={"study": ["base", "more"]})
    assert (row["seeds"], row["measured"]) == (3, pytest.approx(2.3))


def test_of_rates_that_two_studies_tried_the_best_in_the_mean_counts_for_every_seed(verdict):
    """The higher of the two, seed by seed, would be 2.3."""
    rates = {"of": {"study": ["base", "rates"]}}
    tried = seeds(2.3, 1.5, 2.3, regime="long", lr=5e-3)
    row = verdict(tried + seeds(1.7, 2.3, 2.3, regime="long-high", lr=1e-2, study="rates"), **rates)
    assert (row["measured"], row["seeds"], row["studies"]) == (pytest.approx(2.1), 3, "rates")
    row = verdict(tried + seeds(1.7, 1.8, 2.3, regime="long-high", lr=1e-2, study="rates"), **rates)
    assert (row["measured"], row["studies"]) == (pytest.approx(2.033, abs=1e-3), "base")


@pytest.mark.parametrize("regimes", [("long", "long"), ("long", "long-high")], ids=["of one regime", "of two"])
def test_a_scheme_is_held_against_the_training_that_it_rounds(verdict, regimes):
    """The better training is rounded worse: half is kept of the other one alone."""
    rows = []
    for regime, lr, R, rounded in zip(regimes, (5e-3, 1e-2), (1.9, 2.0), (1.5, 0.5), strict=True):
        rows += seeds(R, R + 0.01, R - 0.01, regime=regime, lr=lr)
        rows += seeds(rounded, rounded, rounded, regime=regime, lr=lr, scheme="int8", bits_per_weight=8)
    assert verdict(rows, **RATIO, **SIDES)["measured"] == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("lr", [1e-2, 5e-3], ids=["of one rate", "of which one has lost"])
def test_regimes_of_a_study_that_tried_one_rate_train_otherwise_and_stay_apart(verdict, lr):
    """As where one rounds in training: unrounded it stores less, rounded more."""
    rounded = {"scheme": "int4", "bits_per_weight": 4}
    rows = seeds(2.0, 2.01, 1.99, regime="long", lr=1e-2) + seeds(0.3, 0.31, 0.29, regime="long", lr=1e-2, **rounded)
    rows += seeds(1.4, 1.41, 1.39, regime="long-int4", lr=lr)
    rows += seeds(1.7, 1.71, 1.69, regime="long-int4", lr=lr, **rounded)
    if lr != 1e-2:
        rows += seeds(0.1, 0.11, 0.09, regime="long-int4", lr=1e-2)
    of = {"study": ["base"], "scheme": ["int4"]}
    assert verdict(rows, of=of)["measured"] == pytest.approx(1.7)
    assert verdict(rows, of={**of, "regime": ["long"]})["measured"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    "varied", [{"setting": "dataset.junk.share=0.9"}, {"setting": "dataset.paragraphs=1"}, {"tokenizer": "bpe"}]
)
def test_the_lowest_share_is_of_each_world_and_tokenizer(verdict, varied):
    rows = seeds(1.94, 1.95, 1.93, R_max=2.0) + seeds(0.25, 0.26, 0.24, R_max=2.0, **varied)
    row = verdict(rows, statistic="lowest share", published=1.0, tolerance=0.1)
    assert (row["measured"], row["verdict"]) == (pytest.approx(0.125), NOT_REPRODUCED)


def test_regimes_of_one_cell_are_seen_where_one_study_varies_what_another_fixes(verdict):
    """As in the case above, the better of each seed would be 2."""
    studies = {"of": {"study": ["base", "rates"]}}
    varied = seeds(1.0, 2.0, 1.1, regime="long", setting="dataset.N=400")
    row = verdict([*varied, *seeds(2.0, 1.0, 2.0, regime="long-high", study="rates")], **studies)
    assert row["measured"] == pytest.approx(5 / 3)


def test_models_that_have_no_heads_are_judged_too(verdict):
    """Of others' architectures, l, h and d are missing."""
    unknown = dict.fromkeys(("l", "h", "d"))
    rows = seeds(*HIGH, model="mamba", **unknown) + seeds(*LOW, model="mamba", regime="long-high", lr=0.1, **unknown)
    row = verdict(rows)
    assert (row["seeds"], row["measured"]) == (3, pytest.approx(sum(HIGH) / 3))


def test_a_regime_of_one_lucky_seed_takes_no_seeds_away(verdict):
    row = verdict(seeds(*HIGH) + seeds(2.4, regime="long-high", study="rates"), of={"study": ["base", "rates"]})
    assert (row["seeds"], row["measured"]) == (3, pytest.approx(sum(HIGH) / 3))


def test_of_two_trainings_of_a_cell_and_seed_one_counts(verdict):
    again = [{**row, "variant_id": f"again-{row['seed']}"} for row in seeds(2.0, 1.0, 2.0, study="more")]
    row = verdict(seeds(1.0, 2.0, 1.0) + again, of={"study": ["base", "more"]})
    assert (row["seeds"], row["measured"]) == (3, pytest.approx(4 / 3))


def test_a_learning_rate_that_was_not_chosen_takes_no_part(verdict):
    rows = seeds(2.0, 2.1, 2.05) + seeds(9.0, -4.0, -4.0, lr=0.5)
    assert verdict(rows)["measured"] == pytest.approx(2.05)


def test_a_run_that_studies_share_counts_once(verdict):
    rows = seeds(1.0, 1.1, 1.2) + seeds(1.0, 1.1, 1.2, study="more")
    row = verdict(rows, of={"study": ["base", "more"]})
    assert (row["studies"], row["runs"], row["seeds"]) == ("base", "plain-s1 plain-s2 plain-s3", 3)


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        ({"exposures": [100]}, 1.0),
        ({"model": ["ll*"]}, 1.1),
        ({"regime": ["short", "brief"]}, 1.2),
        ({"setting": ["*dataset.K=*"]}, 1.3),
        ({"dataset": ["English"]}, 1.4),
        ({"R_max_at_most": 1.8}, 1.5),
        ({"scheme": ["int?"]}, 1.6),
        ({}, 3.0),
    ],
)
def test_rows_are_taken_by_every_key_of_a_selection(verdict, selection, taken):
    cells: list[dict[str, Any]] = [{"exposures": 100}, {"model": "llama"}, {"regime": "brief"}]
    cells += [{"setting": "dataset.N=3 dataset.K=2"}, {"dataset": "English"}, {"R_max": 1.7, "N": 300}]
    cells += [{"scheme": "int4", "bits_per_weight": 4}]
    rows = [row for i, cell in enumerate(cells) for row in seeds(*[1 + i / 10] * 3, **cell)]
    row = verdict(rows + seeds(3.0, 3.0, 3.0), of={"study": ["base"], **selection})
    assert row["measured"] == pytest.approx(taken)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"of": None}, "needs `of`"),
        ({"to": {"study": ["base"]}, "statistic": "lowest share"}, "`to` makes a ratio of peaks, not of lowest share"),
        ({"to": {"study": ["base"]}, "of": None, "not_run": "because"}, "`to` makes a ratio of peaks, not of nothing"),
        ({"statistic": "mean"}, "'mean' is not allowed"),
        ({"column": "R_max"}, "'R_max' is not allowed"),
        ({"published": 0}, "published: 0 is not allowed"),
        ({"seeds": 2}, "seeds: 2 is not allowed"),
        ({"of": {"study": ["base"], "shceme": ["int8"]}}, "did you mean scheme?"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused_in_one_line(tmp_path, changes, words):
    with pytest.raises(UserError) as error:
        read_claims(write_claims(tmp_path, {**CLAIM, **changes}))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_id_stands_once(tmp_path):
    with pytest.raises(UserError, match="the id 'it' stands twice"):
        read_claims(write_claims(tmp_path, CLAIM, CLAIM))


def test_the_markdown_has_a_line_a_claim(tmp_path):
    path = write_claims(tmp_path, CLAIM, {**CLAIM, "id": "else", "of": None, "not_run": "no data"})
    judged = judge(read_claims(path), capacity_table(seeds(*HIGH)), "laptop")
    assert list(judged.columns) == list(COLUMNS)
    assert as_markdown(judged).splitlines()[2:] == [
        "| 1 | It holds. | bits a parameter | ≥ 2 | 1.82 or more | 2.08 | 2.01 to 2.14 | 3 | **reproduced** |",
        "| 1 | It holds. | bits a parameter | ≥ 2 | 1.82 or more |  |  |  | **not run**: no data |",
    ]


def test_no_statement_breaks_the_table(tmp_path):
    odd = {**CLAIM, "statement": "One | two\nthree.", "result": None, "source": "a|b"}
    claims = read_claims(write_claims(tmp_path, odd))
    line = as_markdown(judge(claims, capacity_table(seeds(*HIGH)), "laptop")).splitlines()[2]
    assert line.startswith(r"| a\|b | One \| two three. | bits a parameter |")


def test_two_studies_that_share_variants_under_other_labels_are_one_cell(verdict):
    """One varies the number of people, the other fixes it and has more seeds."""
    varied = seeds(*HIGH, study="base", setting="dataset.N=400")
    fixed = [{**row, "study": "more"} for row in seeds(*HIGH, 2.05, 2.06)]
    judged = verdict([*varied, *fixed], of={"study": ["base", "more"]})
    assert (judged["verdict"], judged["seeds"]) == (REPRODUCED, 5)
