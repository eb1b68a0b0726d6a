"""A card says what a table says: equal models are equal, a worse one is worse, and what limits the answer is named."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from capacity.measure.card import Mean, _extractable, _imprecise, as_markdown, make_card, seeds_text
from capacity.measure.pair import BASELINE, CANDIDATE, MeasureStudy
from capacity.measure.recipe import RECIPES

STUDY = replace(
    MeasureStudy.first("mine", RECIPES["9k"], {CANDIDATE: {}, BASELINE: {}}, P=9232),
    best={CANDIDATE: 1e-2, BASELINE: 1e-2},
)
RUNS = pd.DataFrame([{"checkpoint_id": seed, "tokens_per_second": 1e5, "seconds": 60.0} for seed in (1, 2, 3)])


def table(factor: float, P: int = 9232, lr: float = 1e-2, most: float = 2.0, noise: float = 0.02) -> pd.DataFrame:
    """Of a candidate that keeps `factor` times what GPT-2 does; most: bits a parameter that GPT-2 keeps."""
    generator = np.random.default_rng(7)
    rows = []
    for exposures, R_max, seed in itertools.product((100, 1000), (1.3, 2.6), (1, 2, 3)):
        kept = min(R_max, most if exposures == 1000 else most / 2)
        for label in (CANDIDATE, BASELINE):
            R = (factor if label == CANDIDATE else 1) * kept * (1 + noise * generator.normal())
            row = {"exposures": exposures, "R_max": R_max, "N": int(100 * R_max), "seed": seed, "chosen": True}
            row |= {"checkpoint_id": seed}  # of both models: one under two names is trained once
            row |= {"model": f"measure-{label}", "P": P if label == CANDIDATE else 9232, "lr": lr, "flops_a_token": 6.0}
            rows += [
                {**row, "scheme": scheme, "R": R * left, "R_calibrated": R * left} for scheme, left in LEFT.items()
            ]
            rows.append({**rows[-2], "lr": 2 * lr, "chosen": False, "R": 9.0})
    return pd.DataFrame(rows)


LEFT = {"none": 1.0, "int8": 0.99, "int4": 0.4}


def test_a_model_under_two_names_is_one_time_itself():
    card = make_card(STUDY, table(1.0), RUNS)
    for ratio in (*card.peak_ratio.values(), *(cell.ratio for cell in card.cells)):
        assert ratio.low <= 1 <= ratio.high
    assert card.peak_ratio[1000].mean == pytest.approx(1, abs=0.05)


def test_a_worse_model_is_worse_beyond_doubt():
    card = make_card(STUDY, table(0.7), RUNS)
    assert all(ratio.high < 1 for ratio in card.peak_ratio.values())
    assert card.peak_ratio[1000].mean == pytest.approx(0.7, abs=0.05)


def test_the_peak_is_where_most_is_kept_and_rates_that_were_not_chosen_do_not_count():
    card = make_card(STUDY, table(1.0, noise=0.0), RUNS)
    assert card.peak[1000][CANDIDATE].mean == pytest.approx(2.0)
    assert card.peak[100][BASELINE].mean == pytest.approx(1.0)
    assert card.kept["int4"][CANDIDATE].mean == pytest.approx(0.4)
    assert len(card.cells) == 4
    assert card.limits == []


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (table(1.0, P=9900), "the models differ in size: 9,900 and 9,232 parameters"),
        (table(1.0, lr=2e-2), "candidate: the best of the learning rates 0.005, 0.01, 0.02 is 0.02, at the end"),
        (table(1.0, most=2.6, noise=0.0), "baseline: keeps nearly all of the 2.6 bits on offer after 1000 exposures"),
        (table(1.0, noise=0.3), "seeds would make it 10 %"),
    ],
)
def test_what_limits_the_answer_is_named(made: pd.DataFrame, said: str):
    card = make_card(STUDY, made, RUNS)
    assert any(said in limit for limit in card.limits), card.limits
    assert said in as_markdown(card, "capacity measure mine")


def test_what_is_on_offer_is_each_models_own():
    """A baseline of twice the size is offered half, and keeps nearly all of it; the candidate does not."""
    made = table(1.0, noise=0.0)
    of_baseline = made["model"] == "measure-baseline"
    made.loc[of_baseline, ["R_max", "R"]] *= 0.5
    made.loc[of_baseline & (made["scheme"] == "none") & made["chosen"] & (made["R"] > 0.9), "R"] = 1.28
    card = make_card(STUDY, made, RUNS)
    assert {cell.R_max[BASELINE] / cell.R_max[CANDIDATE] for cell in card.cells} == {0.5}
    assert "| 1000 | 2.6, baseline 1.3 |" in as_markdown(card, "capacity measure")
    assert any("baseline: keeps nearly all of the 1.3 bits on offer" in limit for limit in card.limits)
    assert not any("candidate: keeps nearly all" in limit for limit in card.limits)


def test_worlds_that_did_not_fit_the_budget_are_named():
    card = make_card(replace(STUDY, left_out=(5.2, 1.3)), table(1.0, noise=0.0), RUNS)
    assert card.limits == ["worlds that offer 5.2, 1.3 bits a parameter did not fit the budget; --budget more"]


def test_the_card_shows_each_cell_and_the_command():
    text = as_markdown(make_card(STUDY, table(0.7), RUNS), "capacity measure nets/mine.py:make")
    assert text.count("\n| 100 |") == text.count("\n| 1000 |") == 2
    assert "Made by `capacity measure nets/mine.py:make`" in text


def test_the_card_names_the_baseline_that_was_given():
    assert "a GPT-2 of the same size" in as_markdown(make_card(STUDY, table(1.0), RUNS), "capacity measure")
    text = as_markdown(make_card(replace(STUDY, against="llama-2-2"), table(1.0), RUNS), "capacity measure")
    assert "llama-2-2" in text
    assert "GPT-2" not in text


@pytest.mark.parametrize(("seeds", "said"), [(1, "One seed"), (2, "their range"), (3, "Student's")])
def test_the_card_says_what_its_intervals_are(seeds: int, said: str):
    assert said in seeds_text(seeds)


@pytest.mark.parametrize(
    ("ratio", "baseline", "seeds", "said"),
    [
        ((1.0, 0.95, 1.05), (1.0, 0.9, 1.1), 3, ""),
        ((1.0, 0.8, 1.2), (1.0, 0.9, 1.1), 3, "known to 0.2 of 1; about 5 seeds would make it 10 %"),
        ((-0.04, -0.6, 0.5), (1.0, 0.9, 1.1), 3, "more than 30 seeds"),
        ((1.0, -5.0, 7.0), (0.1, -0.2, 0.4), 3, "says nothing: what the baseline keeps cannot be told from zero"),
        ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0), 1, "is of 1 seed; --seeds 3"),
    ],
)
def test_a_ratio_that_is_known_too_little_is_said_to_be(ratio: tuple, baseline: tuple, seeds: int, said: str):
    fault = _imprecise(100, Mean(*ratio), Mean(*baseline), seeds)
    assert said in fault
    assert bool(said) == bool(fault)


def test_what_can_be_asked_for_is_of_the_world_that_each_model_holds_most_of():
    rows = [
        {"exposures": 1000, "who": who, "N": N, "seed": seed, "R": R, "R_extractable": N / 100}
        for who, kept in (("mine", {100: 1.0, 200: 2.0}), ("GPT-2", {100: 1.9, 200: 1.5}))
        for N, R in kept.items()
        for seed in (1, 2, 3)
    ]
    assert {who: mean.mean for who, mean in _extractable(pd.DataFrame(rows)).items()} == {"mine": 2.0, "GPT-2": 1.0}


def test_one_seed_has_no_interval_and_two_have_their_range() -> None:
    assert str(Mean.of(np.array([1.2]))) == "1.2"
    assert str(Mean.of(np.array([1.2, 1.3]))) == "1.25 (1.2 to 1.3)"
