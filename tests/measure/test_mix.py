"""A mix builds the worlds that it says, and finds a planted threshold; each mistake is one line."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from capacity.cli.main import main
from capacity.cli.mix_data import parser, study_of
from capacity.config.load import load_config
from capacity.errors import UserError
from capacity.measure.mix import CLEAN, MixStudy, arms_of
from capacity.measure.mix_card import MixCard, crossing, make_mix_card, mix_markdown
from capacity.measure.mix_figure import plot_mix
from capacity.plan.grid import resolve

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> MixStudy:
    monkeypatch.chdir(ROOT)
    return study_of(parser().parse_args(["--tag", "--fewer", "--shares", "0.875", "--exposures", "50", "100", "200"]))


def test_every_arm_is_trained_with_every_number_of_exposures_rate_and_seed(study: MixStudy):
    grid = resolve(load_config([ROOT / "config.yaml"], study.config()))
    trained = [spec for spec in grid.specs.values() if spec.stage == "checkpoints"]
    assert len(trained) == 4 * 3 * 4 * 3, "arms, exposures, rates, seeds"
    worlds = study.config()["datasets"]
    assert [("junk" in world, world.get("tag", False)) for world in worlds.values()] == [
        (False, False),
        (True, False),
        (True, True),
        (True, False),
    ]
    N = [world["N"] for world in worlds.values()]
    assert [N[0], N[0], N[0], N[0] // 2] == N


def test_shares_that_are_near_each_other_are_told_apart():
    labels = [arm.label for arm in arms_of([0.875, 0.8751, 0.5], tagged=True, fewer=True)]
    assert len(set(labels)) == len(labels) == 1 + 3 * 3


def test_shares_that_would_be_one_world_are_refused():
    with pytest.raises(UserError, match=r"--shares: 0.875 and 0.8750001 are one in six digits; leave one of them out"):
        arms_of([0.8750001, 0.875], tagged=False, fewer=False)


def test_a_card_says_where_junk_people_are_told_more_often_than_in_the_paper(study: MixStudy):
    told = study.junk_told(study.arms[1], 100)
    assert told == pytest.approx(7 * 100 * study.people(study.arms[1]) / 500_000)
    many = replace(study, exposures=(100, 3000))
    said = make_mix_card(many, planted(many, {"clean": 200, "junk": 500, "tagged": 300, "fewer": 200})).limits
    assert [line.partition(":")[0] for line in said] == [str(arm) for arm in study.arms[1:]]
    assert f"the most in the paper: {30 * told:.0f} after 3,000 exposures; a smaller --scale" in said[0]


def test_the_crossing_is_linear_in_the_logarithm_of_exposures():
    exposures = np.array([50.0, 100.0, 200.0])
    assert crossing(exposures, np.array([0.25, 0.75, 0.9])) == pytest.approx(50 * 2**0.5)
    assert crossing(exposures, np.array([0.1, 0.2, 0.5])) == pytest.approx(200)
    assert crossing(exposures, np.array([0.1, 0.2, 0.3])) == math.inf
    assert crossing(exposures, np.array([0.6, 0.7, 0.8])) == 0


def planted(study: MixStudy, needed: dict[str, float]) -> pd.DataFrame:
    """A table in which half of R_max is reached at so many exposures, give or take a little a seed."""
    rows: list[dict[str, Any]] = []
    for arm in study.arms:
        for E in study.exposures:
            for seed in (1, 2, 3):
                kept = 0.5 + 0.2 * np.log2(E / (needed[arm.kind] * 1.02 ** (seed - 2)))
                row = {"dataset": f"mix-{arm.label}", "exposures": E, "seed": seed, "R_max": 1.3, "R": 1.3 * kept}
                rows.append({**row, "N": study.people(arm), "lr": 5e-3, "P": study.P, "chosen": True})
                rows.append({**row, "N": study.people(arm), "lr": 1e-2, "P": study.P, "chosen": False, "R": 9.0})
    return pd.DataFrame(rows)


@pytest.fixture
def card(study: MixStudy) -> MixCard:
    return make_mix_card(study, planted(study, {"clean": 60, "junk": 500, "tagged": 120, "fewer": 90}))


def test_a_planted_threshold_is_found_with_its_interval(card: MixCard):
    clean, junk, tagged, fewer = card.arms
    assert clean.needed is not None
    assert clean.needed.mean == pytest.approx(60, rel=1e-6)
    assert clean.needed.low < 60 < clean.needed.high
    assert tagged.times is not None
    assert fewer.times is not None
    assert (tagged.times.mean, fewer.times.mean) == pytest.approx((2, 1.5))
    assert junk.needed is None
    assert (clean.kind, clean.times) == (CLEAN, None)


def test_the_card_says_what_was_not_reached(card: MixCard):
    text = mix_markdown(card, "capacity mix")
    assert "| 87.5% junk | more than 200 |  |" in text
    assert card.limits == [
        "87.5% junk: half of the bits are reached outside of the exposures tried with 3 of 3 seeds; "
        "--exposures with more"
    ]


def test_a_card_says_of_seeds_that_are_at_half_from_the_start_that_fewer_exposures_are_needed(study: MixStudy):
    table = planted(study, {"clean": 60, "junk": 500, "tagged": 120, "fewer": 90})
    early = (table["dataset"] == "mix-clean") & (table["seed"] == 2)
    table.loc[early, "R"] = 1.3 * 0.52
    card = make_mix_card(study, table)
    assert card.arms[0].needed is None
    assert (card.arms[0].early, card.arms[0].late) == (1, 0)
    text = mix_markdown(card, "capacity mix")
    assert f"fewer than {min(study.exposures)} with 1 of 3 seeds" in text
    assert "with 1 of 3 seeds; --exposures with fewer" in text
    assert all(arm.times is None for arm in card.arms)


def test_the_figure_has_its_data_beside_it(card: MixCard, tmp_path: Path):
    plot_mix(card, tmp_path)
    assert len((tmp_path / "mix.csv").read_text().splitlines()) == 1 + 4 * 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--shares", "1.5"), "--shares: 1.5; give shares of junk above 0 and below 1"),
        (("--shares", "nan"), "--shares: nan; give shares of junk above 0 and below 1"),
        (("--exposures", "50"), "--exposures: 50; give two numbers or more"),
        (("--exposures", "0", "5"), "--exposures: 0 5; give two numbers or more, each 1 or more"),
        (("--seeds", "0"), "--seeds: 0; give 1 or more"),
        (("gpt9",), "MODEL: 'gpt9' is no file.py:factory"),
        (("--budget", "1m"), "--budget: 1m, and it takes about"),
        (("--budget", "1m", "--dry-run"), "--budget: 1m, and it takes about"),
    ],
)
def test_each_mistake_is_one_line(monkeypatch, capsys, tmp_path: Path, words: tuple[str, ...], said: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    monkeypatch.setattr(sys, "argv", ["capacity", "mix", *words])
    monkeypatch.setattr("capacity.cli.main.use_checkout", lambda path: None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code
    assert said in capsys.readouterr().err.splitlines()[-1]
