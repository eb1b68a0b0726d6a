"""The fitted law: planted parameters are found again, its sizes are its own inverse, its limits are plain."""

import contextlib
import itertools
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from capacity.cli.fit_law import as_text, fitted_rows
from capacity.cli.main import main
from capacity.errors import UserError
from capacity.tables.scaling_law import FittedLaw, Law, each_size_held_out, fit_law, held_out

ROOT = Path(__file__).resolve().parents[2]
TRUE = Law(c=2.2, E_half=130.0, gamma=1.4, k=6.0, damage={"int8": (0.002, 0.5), "int4": (0.5, 0.6)})


SIZED = replace(TRUE, P_half=3000.0, beta=0.9, delta=0.3)


def rows(noise: float = 0.0, seeds: int = 3, law: Law = TRUE, sizes: tuple[int, ...] = (9232,)) -> pd.DataFrame:
    """A table that the planted law made."""
    generator = np.random.default_rng(1)
    made = []
    for E, R_max, seed, P in itertools.product((30, 100, 300, 1000), (1.3, 2.4, 4.6), range(seeds), sizes):
        R = law.R(R_max, E, P) + noise * generator.normal()
        for scheme in ("none", "int8", "int4"):
            made.append({"exposures": E, "R_max": R_max, "seed": seed, "scheme": scheme, "P": P})
            made[-1] |= {"R": R * law.share(E, scheme), "checkpoint_id": f"{E}-{R_max}-{seed}-{P}"}
            made[-1] |= {"study": "base", "model": "m", "N": 400}
    return pd.DataFrame(made)


@pytest.fixture(scope="module")
def fitted() -> FittedLaw:
    return fit_law(rows(noise=0.02), resamples=20)


def test_planted_parameters_are_found_again():
    law = fit_law(rows(), resamples=1).law
    for name in ("c", "E_half", "gamma", "k"):
        assert getattr(law, name) == pytest.approx(getattr(TRUE, name), rel=1e-3)
    for scheme, pair in TRUE.damage.items():
        assert law.damage[scheme] == pytest.approx(pair, rel=1e-3)


def test_a_planted_size_is_found_again_and_tells_sizes_that_were_held_out():
    table = rows(law=SIZED, sizes=(3000, 9000, 34_000, 117_000), seeds=1)
    law = fit_law(table, resamples=1).law
    for name in ("c", "E_half", "gamma", "k", "P_half", "beta", "delta"):
        assert getattr(law, name) == pytest.approx(getattr(SIZED, name), rel=1e-2)
    unseen = each_size_held_out(table)
    assert len(unseen) == 4 * 12
    assert unseen["relative_error"].abs().max() < 0.01


def test_with_fewer_than_three_sizes_size_changes_nothing():
    law = fit_law(rows(law=SIZED, sizes=(3000, 34_000), seeds=1), resamples=1).law
    assert law.capacity(1000, 3000) == law.capacity(1000, 34_000)


def test_exposures_of_one_size_alone_are_not_what_a_law_of_sizes_was_fitted_to():
    table = rows(law=SIZED, sizes=(3000, 9000, 34_000), seeds=1)
    alone = table[(table["exposures"] != 30) | (table["P"] == 9000)]
    assert fit_law(table, resamples=1).E_range == (30, 1000)
    assert fit_law(alone, resamples=1).E_range == (100, 1000)


def test_a_study_that_no_scale_has_is_refused():
    with pytest.raises(UserError, match="--studies: 'laddr' is none of architectures, "):
        fitted_rows(ROOT / "results" / "reference", ["base-law", "laddr"])


def test_seeds_that_one_size_alone_has_are_resampled_among_themselves():
    """Else a resample can be of one size, whose law says nothing of the others."""
    table = rows(law=SIZED, sizes=(3000, 9000, 34_000), seeds=1)
    more = table[table["P"] == 34_000]
    table = pd.concat([table, *(more.assign(seed=seed) for seed in range(11, 19))])
    assert min(law.P_half for law in fit_law(table, resamples=12).resampled) > 0


def test_the_interval_holds_the_fit_and_grows_with_noise(fitted: FittedLaw):
    low, high = fitted.interval(lambda law: law.capacity(1000, 9232))
    assert low <= fitted.law.capacity(1000, 9232) <= high
    wider = fit_law(rows(noise=0.2), resamples=20).interval(lambda law: law.capacity(1000, 9232))
    assert wider[1] - wider[0] > 3 * (high - low)


def test_little_is_kept_whole_and_much_up_to_capacity():
    assert TRUE.R(0.1, 1000, 9232) == pytest.approx(0.1, rel=1e-6)
    assert TRUE.R(1e3, 1000, 9232) == pytest.approx(TRUE.capacity(1000, 9232))
    assert TRUE.capacity(TRUE.E_half, 9232) == pytest.approx(TRUE.c / 2)


@pytest.mark.parametrize("law", [TRUE, SIZED], ids=["one size", "sizes"])
@pytest.mark.parametrize(("share", "scheme"), [(0.9, "none"), (0.99, "none"), (0.9, "int8")])
def test_the_size_stores_the_share_that_it_was_asked_for_and_no_less_would(law: Law, share: float, scheme: str):
    P = law.parameters_for(1e6, 300, share, scheme)
    assert law.R(1e6 / P, 300, P, scheme) * P == pytest.approx(share * 1e6)
    assert law.R(1.01e6 / P, 300, P, scheme) * P / 1.01 < share * 1e6


def test_a_scheme_that_destroys_too_much_has_no_size():
    assert math.isinf(TRUE.parameters_for(1e6, 1000, 0.9, "int4"))
    with pytest.raises(UserError, match="the law has none, int8, int4"):
        TRUE.share(100, "int5")


def test_held_out_cells_are_compared_with_their_mean(fitted: FittedLaw):
    table = rows().assign(R=lambda each: 2 * each["R"])
    errors = held_out(fitted.law, table)["relative_error"]
    assert len(errors) == 12
    assert errors.median() == pytest.approx(-0.5, abs=0.05)


def test_a_resample_that_lacks_a_scheme_counts_for_none_of_its_intervals(fitted: FittedLaw):
    few = replace(fitted.resampled[0], damage={})
    law = replace(fitted, resampled=[few, *fitted.resampled])
    assert law.interval(lambda each: each.share(100, "int4"), "int4") == fitted.interval(
        lambda each: each.share(100, "int4")
    )
    assert "int4 leaves" in as_text(law)


def test_a_law_survives_the_file(fitted: FittedLaw, tmp_path: Path):
    fitted.write(tmp_path / "law.json")
    again = FittedLaw.read(tmp_path / "law.json")
    assert again.law.R(2.4, 300, 9232, "int8") == pytest.approx(fitted.law.R(2.4, 300, 9232, "int8"), rel=1e-4)
    assert (again.rows, again.seeds, tuple(again.E_range), len(again.resampled)) == (36, 3, (30, 1000), 20)
    with pytest.raises(UserError, match="make law"):
        FittedLaw.read(tmp_path / "none.json")


def test_two_numbers_of_exposures_are_too_few():
    with pytest.raises(UserError, match="at least three numbers of exposures"):
        fit_law(rows()[lambda each: each["exposures"] >= 300])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--facts", "14e9", "--exposures", "1000"), "by the paper's rule of 1.8 bits a parameter: 7.78e+09"),
        (("--facts", "atomic", "--exposures", "100"), "2.209e+04 bits, 100 exposures"),
        (("--facts", "countries", "--exposures", "1000"), "6154 bits, 1000 exposures"),
        (("--facts", "bioS-10M", "--exposures", "1000", "--configfile", "scales/paper.yaml"), "1.8 bits a parameter"),
        (("--facts", "14e9", "--exposures", "1000.9"), "1.4e+10 bits, 1000.9 exposures"),
        (("--facts", "1", "--exposures", "inf"), "exposures: inf; give a positive number"),
        (("--facts", "atoms", "--exposures", "100"), "'atoms' is neither a number of bits nor one of"),
        (("--facts", "-1", "--exposures", "100"), "give a positive number"),
        (("--facts", "1", "--exposures", "0"), "exposures: 0.0; give a positive number"),
        (("--facts", "1", "--exposures", "1", "--share", "1"), "share: 1.0; give a number between 0 and 1"),
        (("--facts", "1", "--exposures", "1", "--scheme", "int9"), "scheme 'int9': the law has"),
    ],
)
def test_the_command_answers_in_one_breath(monkeypatch, capsys, words: tuple[str, ...], said: str):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["capacity", "size", *words])
    with contextlib.suppress(SystemExit):
        main()
    assert said in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("P_range", "exposures", "outside"),
    [
        ((9232, 9232), "1000", ["P = 9,232 alone"]),
        ((9_000, 18_000), "1000", []),
        ((9_000, 18_000), "2000", ["exposures from 30 to 1,000 of several sizes"]),
        ((9_000, 10_000), "20", ["P from 9,000 to 10,000", "exposures from 30 to 1,000 of several sizes"]),
    ],
)
def test_an_interval_is_printed_only_for_sizes_and_exposures_that_the_law_was_fitted_to(
    fitted: FittedLaw, tmp_path: Path, monkeypatch, capsys, P_range, exposures: str, outside: list[str]
):
    replace(fitted, P_range=P_range, bits_range=(20_000, 30_000), unseen_error=0.045).write(tmp_path / "law.json")
    words = ["--facts", "22e3", "--exposures", exposures, "--law", str(tmp_path / "law.json")]
    monkeypatch.setattr(sys, "argv", ["capacity", "size", *words])
    main()
    said = capsys.readouterr().out
    assert ("95 %" not in said.partition("by the law")[2]) == bool(outside), said
    assert ("off by 4.5% of R" in said) == (not outside)
    assert [line for line in said.splitlines() if "extrapolated" in line] == [
        f"extrapolated, so without an interval: the law was fitted to {known}" for known in outside
    ]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ("762", "the law was fitted to bits from 20,000 to 30,000"),
        ("countries", "of other facts than the law's, so without an interval"),
    ],
)
def test_facts_that_the_law_was_not_fitted_to_have_no_interval(
    fitted: FittedLaw, tmp_path: Path, monkeypatch, capsys, facts: str, said: str
):
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    replace(fitted, P_range=(100, 10**6), bits_range=(20_000, 30_000)).write(tmp_path / "law.json")
    words = ["--facts", facts, "--exposures", "100", "--law", str(tmp_path / "law.json")]
    monkeypatch.setattr(sys, "argv", ["capacity", "size", *words])
    main()
    out = capsys.readouterr().out
    assert said in out
    assert "95 %" not in out.partition("by the law")[2]
