"""Calibrated bits of planted logits: found again from a known wrong temperature, never above R_max, never below 0."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import make_world

from capacity.errors import UserError
from capacity.probe.temperatures import TEMPERATURES, HalfLosses, half_of, nats_at_temperatures
from capacity.tables.bits import bits_offered, person_bits
from capacity.tables.calibrated import calibrate, half_bits

K, D, NAMES = 3, 8, 16**3


def account(num_people, **changes):
    settings = {"kind": "bioD", "N": num_people, "K": K, "C": 1, "D": D, "L": 1, "T": 8, "names": [16, 16, 16]}
    return make_world({**settings, "wording": "atomic", "seed": 1, **changes}).account


def halves_of(name_logits, value_logits, values, account):
    """Losses of halves of people 0..N-1 by name, whose name and values are a token each.

    name_logits: (NAMES,), the same of every person. value_logits: (N, K, D). values: (N, K).
    """
    num_people = len(values)
    halves = HalfLosses(num_people, account)
    logits = torch.as_tensor(name_logits, dtype=torch.float32).expand(num_people, -1)
    names = nats_at_temperatures(logits, torch.arange(num_people))[:, :, None]
    logits = torch.as_tensor(value_logits, dtype=torch.float32).reshape(-1, value_logits.shape[2])
    told = nats_at_temperatures(logits, torch.as_tensor(values).reshape(-1)).reshape(-1, num_people, K)
    whole = torch.cat([names, told], dim=2).numpy().astype(float)
    halves.add(0, np.stack([whole, whole]))
    return halves.table().to_pandas()


def names_of_all(num_people):
    """Logits of a model that knows who there is."""
    return np.where(np.arange(NAMES) < num_people, 0.0, -np.inf)


def knows_something(num_people, seed=0):
    """Logits that are as sure as they ought to be: each value is drawn from what they say of it."""
    generator = np.random.default_rng(seed)
    logits = 2.0 * generator.normal(size=(num_people, K, D))
    gumbel = generator.gumbel(size=logits.shape)
    return logits, (logits + gumbel).argmax(axis=2)


def bits_at_one(halves, account):
    temperatures, bits = half_bits(halves, account)
    return float(bits[:, temperatures == 1].sum())


def test_a_world_of_one_person_leaves_the_logits_as_they_are():
    """On the half without people no temperature does better than another."""
    logits, values = knows_something(1)
    halves = halves_of(names_of_all(1), 3 * logits, values, account(1))
    found = calibrate(halves, account(1))
    assert 1.0 in found.fitted
    assert found.bits == pytest.approx(max(bits_at_one(halves, account(1)), 0.0))


@pytest.mark.parametrize("steps", [-2, 0, 3, 9])
def test_a_model_at_a_wrong_temperature_proves_what_it_proves_at_the_right_one(steps):
    world, factor = account(2000), 2.0 ** (steps / 4)
    logits, values = knows_something(2000)
    right = bits_at_one(halves_of(np.zeros(NAMES), logits, values, world), world)
    wrong = halves_of(np.zeros(NAMES), logits * factor, values, world)
    found = calibrate(wrong, world)
    assert right > 2000  # so there is something to find
    assert found.fitted == (pytest.approx(factor), pytest.approx(factor))
    assert found.temperature == pytest.approx(factor)
    assert found.bits == pytest.approx(right, rel=1e-4)
    if steps > 3:
        assert bits_at_one(wrong, world) < 0


@pytest.mark.parametrize("D_drawn", [8, 4], ids=["sets given", "sets drawn"])
def test_a_perfect_model_keeps_R_max(D_drawn):
    world = account(64, D=D_drawn)
    values = np.random.default_rng(0).integers(D, size=(64, K))
    logits = np.where(np.arange(D) == values[:, :, None], 0.0, -np.inf)
    found = calibrate(halves_of(names_of_all(64), logits, values, world), world)
    assert found.bits == pytest.approx(bits_offered(64, world), rel=1e-5)


def test_a_model_that_calls_all_alike_stores_nothing():
    world = account(65)
    useless = halves_of(np.zeros(NAMES), np.zeros((65, K, 5 * D)), np.zeros((65, K), dtype=int), world)
    assert bits_at_one(useless, world) < -65
    assert calibrate(useless, world).bits == 0


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 40), st.floats(0, 50), st.floats(0, 50), st.sampled_from([2, 4, 8]))
def test_no_model_stores_more_than_is_offered_nor_less_than_nothing(seed, num_people, of_names, of_values, sets):
    """Names that are given away, guessed or denied, and values likewise."""
    generator, world = np.random.default_rng(seed), account(num_people, D=sets)
    values = generator.integers(D, size=(num_people, K))
    told = generator.random((num_people, K, 1)) < generator.random()
    logits = of_values * (generator.normal(size=(num_people, K, D)) + 3 * told * (np.arange(D) == values[..., None]))
    names = of_names * (generator.normal(size=NAMES) + np.where(np.arange(NAMES) < num_people, 4, 0))
    halves = halves_of(names, logits, values, world)
    found = calibrate(halves, world)
    assert 0 <= found.bits <= bits_offered(num_people, world) * (1 + 1e-5)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_two_temperatures_never_store_more_than_the_better_of_them_for_all(seed):
    world, generator = account(20), np.random.default_rng(seed)
    halves = HalfLosses(20, world)
    halves.add(0, generator.exponential(generator.random() * 3, size=(2, len(TEMPERATURES), 20, 1 + K)))
    _, bits = half_bits(halves.table().to_pandas(), world)
    assert calibrate(halves.table().to_pandas(), world).bits <= max(bits.sum(axis=0).max(), 0) + 1e-9


def bowl(best, depth):
    """Losses at the temperatures, the least at the one named."""
    return depth * np.log2(TEMPERATURES / best) ** 2


def planted(first, second, num_people=40):
    """Losses of halves, equal for all people of a half and all items: what bowl gives."""
    world = account(num_people)
    losses = np.stack([bowl(*first), bowl(*second)])[half_of(num_people)].T
    halves = HalfLosses(num_people, world)
    halves.add(0, np.broadcast_to(losses[None, :, :, None], (2, len(TEMPERATURES), num_people, 1 + K)))
    return halves.table().to_pandas(), world


def test_each_half_is_judged_at_the_temperature_of_the_other():
    halves, world = planted((2.0, 0.1), (8.0, 0.1))
    found = calibrate(halves, world)
    assert found.fitted == (2.0, 8.0)
    assert found.temperature == pytest.approx(4.0)
    lost = 0.1 * 2**2 * (1 + K) / math.log(2)  # two doublings away, a person
    prior = world.name_prior_bits + sum(bits for _, bits in world.items)
    assert found.bits == pytest.approx(40 * (prior - lost))


@pytest.mark.parametrize("half", [0, 1])
def test_the_fit_of_one_half_never_sees_the_other(half):
    pair = [(2.0, 0.1), (8.0, 0.1)]
    before = calibrate(*planted(*pair)).fitted
    pair[1 - half] = (0.5, 5.0)
    after = calibrate(*planted(*pair)).fitted
    assert after[half] == before[half]
    assert after[1 - half] == 0.5


def test_bits_of_groups_are_the_sums_of_their_peoples():
    world, generator = account(30, D=4), np.random.default_rng(0)
    nats, first = generator.exponential(size=(30, 1 + K)), generator.exponential(size=(30, K))
    people, half = person_bits(nats, first, world), half_of(30)
    sums = [np.stack([part[half == h].sum(axis=0) for h in (0, 1)]) for part in (nats, first)]
    groups = person_bits(*sums, world, people=np.array([15.0, 15.0]))
    for part in ("name", "value", "diversity", "total"):
        by_hand = [getattr(people, part)[half == h].sum() for h in (0, 1)]
        np.testing.assert_allclose(getattr(groups, part), by_hand)


def test_losses_in_another_order_or_of_other_items_are_refused():
    halves, world = planted((2.0, 0.1), (8.0, 0.1))
    for wrong in (halves.iloc[::-1], halves.iloc[1:], halves.assign(item=halves["item"].astype(str) + "9")):
        with pytest.raises(UserError, match="probe this dataset again"):
            calibrate(wrong.reset_index(drop=True), world)
