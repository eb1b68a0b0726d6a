"""Promises of uneven exposure: exact counts by Zipf's law, N biographies an exposure, any exposure on its own."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trainings import made_batches
from worlds import ATOMIC, make_world, setting

from capacity.tables.exposure_bands import OF_THE_ROW, band_rows
from capacity.world.sampling import training_draws
from capacity.world.zipf import Zipf


@given(
    num_people=st.integers(1, 400),
    exposures=st.integers(1, 60),
    exponent=st.floats(0.05, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_people_are_told_as_often_as_the_law_says(num_people: int, exposures: int, exponent: float, seed: int) -> None:
    law = Zipf(num_people, exposures, exponent, seed)
    told = [law.people(exposure) for exposure in range(exposures)]
    assert all(len(people) == num_people for people in told)
    counts = np.bincount(np.concatenate(told), minlength=num_people)
    assert np.array_equal(counts, law.counts())
    shares = np.arange(1, num_people + 1.0) ** -exponent
    assert (abs(counts - num_people * exposures * shares / shares.sum()) <= 1 + 1e-6).all()


def test_exposures_of_one_training_differ_and_each_stands_alone() -> None:
    law = Zipf(300, 20, 1.0, 5)
    assert not np.array_equal(law.people(3), law.people(4))
    assert np.array_equal(Zipf(300, 20, 1.0, 5).people(4), law.people(4))
    world = make_world(ATOMIC)
    draws = training_draws(world, 5, 4, 0, Zipf(world.N, 20, 1.0, 5))
    assert np.array_equal(np.sort(draws.people), Zipf(world.N, 20, 1.0, 5).people(4))
    assert not np.array_equal(draws.people, np.sort(draws.people))


def test_a_training_tells_them_so_and_is_as_long_as_an_even_one() -> None:
    world, tokenizer, _ = setting("atomic", "word")
    regime = {"packing": "rows", "context": None, "batch": 50, "exposures": 4}
    even, uneven = (made_batches(world, tokenizer, regime | more, 5) for more in ({}, {"zipf": 1.0}))
    assert even.num_steps == uneven.num_steps
    counts = np.bincount(uneven._biographies(0, 3000).people, minlength=750)
    assert np.array_equal(counts, Zipf(750, 4, 1.0, 5).counts())
    assert counts[0] > 300


def test_bands_count_everybody_once_and_sum_to_the_whole() -> None:
    """Planted scores: whoever is told ten times or more is known, the others are not."""
    world = make_world(ATOMIC)
    counts = Zipf(750, 10, 1.0, 5).counts()
    items = ["name", *(item for item, _ in world.account.items)]
    priors = np.array([world.account.name_prior_bits, *(bits for _, bits in world.account.items)])
    known = np.array([np.log(750), 0, 0, 0, 0])
    nats = np.where((counts >= 10)[:, None], known, priors * np.log(2))
    scores = pd.DataFrame({"person": np.repeat(np.arange(750), 5), "item": np.tile(items, 750), "nats": nats.ravel()})
    for column in ("nats_name_only", "first_chunk_nats", "first_chunk_nats_name_only"):
        scores[column] = nats.ravel()
    scores["exact"] = np.repeat(counts >= 10, 5).astype(float)
    row = dict.fromkeys(OF_THE_ROW, "") | {"N": 750, "exposures": 10, "seed": 5, "variant_id": "v"}
    bands = pd.DataFrame(band_rows(row, 1.0, scores, world.account))
    assert bands["people"].sum() == 750
    assert (bands["told_to"].to_numpy()[:-1] < bands["told_from"].to_numpy()[1:]).all()
    often = bands[bands["told_from"] >= 10]
    assert often["share_stored"].to_numpy() == pytest.approx(1)
    assert bands[bands["told_to"] < 10]["share_stored"].to_numpy() == pytest.approx(0)
    assert bands["bits_stored"].sum() == pytest.approx(often["bits_offered"].sum())
    assert (often["accuracy"] == 1).all()
