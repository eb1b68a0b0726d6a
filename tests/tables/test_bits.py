"""Bits of planted losses, by hand from arXiv 2404.05405, Definition 4.1 and section 3."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import make_world

from capacity.tables.bits import bits_offered, bits_stored, diversity_offered_bits, item_bits, person_bits

LN2 = math.log(2)
POOLS = {"first_names": 400, "middle_names": 400, "last_names": 1000, "cities": 200, "universities": 300}
POOLS |= {"majors": 100, "employers": 263, "months": 12, "days": 28, "years": 200}
BIOD = {"kind": "bioD", "K": 3, "C": 2, "L": 1, "names": [16, 16, 16], "wording": "atomic", "seed": 1}


@pytest.fixture(scope="module")
def bios():
    """The account of the paper's bioS(1000)."""
    return make_world({"kind": "bioS", "N": 1000, "pools": POOLS, "templates": 1, "seed": 1}).account


def biod(**changes):
    return make_world({**BIOD, "N": 64, "D": 8, "T": 8, **changes}).account


def perfect_losses(num_people, account):
    """Names uniform over the N people, every value and chunk certain."""
    nats = np.zeros((num_people, 1 + len(account.items)))
    nats[:, 0] = math.log(num_people)
    return nats, np.zeros((num_people, account.diversity.get("K", 0)))


def ignorant_losses(num_people, account):
    """Names uniform over N0, values uniform over their pools."""
    priors = np.array([account.name_prior_bits, *(bits for _, bits in account.items)])
    nats = np.tile(priors * LN2, (num_people, 1))
    return nats, nats[:, 1:]


def test_a_perfect_model_of_bios_stores_what_is_offered(bios):
    nats, _ = perfect_losses(1000, bios)
    total = person_bits(nats, None, bios).total.sum()
    assert total == pytest.approx(bits_offered(1000, bios), rel=1e-12)
    # 1000 (log2(N0/N) + log2 S0) with the paper's N0 = 1.6e8 and S0 = 2 * 67200 * 200 * 300 * 100 * 263
    S0 = 2 * 67_200 * 200 * 300 * 100 * 263
    assert total == pytest.approx(1000 * (math.log2(1.6e8 / 1000) + math.log2(S0)), rel=1e-12)


@pytest.mark.parametrize(("D", "T", "L"), [(8, 8, 1), (5, 4, 2), (7, 4, 3)])
def test_a_perfect_model_of_biod_stores_what_is_offered(D, T, L):
    account = biod(D=D, T=T, L=L)
    total = person_bits(*perfect_losses(64, account), account).total.sum()
    assert total == pytest.approx(bits_offered(64, account), rel=1e-12)
    by_hand = 64 * math.log2(16**3 / 64) + 64 * 3 * 2 * math.log2(D) + 3 * D * math.log2(T**L / D)
    assert total == pytest.approx(by_hand, rel=1e-12)


def test_a_model_that_knows_only_the_pools_stores_nothing(bios):
    for account in (bios, biod()):
        assert person_bits(*ignorant_losses(64, account), account).total == pytest.approx(0, abs=1e-9)


def test_the_definition_by_hand_where_value_sets_are_knowledge():
    """N = 8 of N0 = 64 names, K = 2 sets of D = 4 out of T^L = 16, C = 1.

    p1 = ln 16, p2 = ln 2, p3 = ln 2: 8 (6 - 4) + 8 * 2 (2 - 1) + 2 * 4 (log2(16 / 4) - 1) = 16 + 16 + 8.
    """
    diversity = {"K": 2, "D": 4, "T_pow_L": 16}
    items = [("id_1", 2.0), ("id_2", 2.0)]
    account = SimpleNamespace(name_prior_bits=6.0, name_offered_bits=3.0, items=items, diversity=diversity)
    losses = np.array([[2.0, 0.0, 0.0], [6.0, 2.0, 2.0]] * 4) * LN2  # bits; means 4, 1, 1
    first_chunk = np.array([[0.0, 0.0], [2.0, 2.0]] * 4) * LN2
    bits = person_bits(losses, first_chunk, account)
    assert (bits.name.sum(), bits.value.sum(), bits.diversity.sum()) == pytest.approx((16, 16, 8))
    assert bits.total.sum() == pytest.approx(40)
    assert bits_offered(8, account) == pytest.approx(8 * 3 + 8 * 2 * 2 + 2 * 4 * 2)


def test_the_diversity_term_is_zero_where_all_strings_are_values():
    account = biod(D=8, T=2, L=3)
    nats, _ = perfect_losses(64, account)
    assert diversity_offered_bits(account) == 0
    assert (person_bits(nats, np.full((64, 3), 5.0), account).diversity == 0).all()


def test_the_diversity_term_needs_first_chunk_losses():
    account = biod(D=5)
    nats, _ = perfect_losses(64, account)
    with pytest.raises(ValueError, match="first-chunk"):
        person_bits(nats, None, account)


def test_bits_worse_than_ignorance_stay_negative():
    assert bits_stored(np.array([3 * LN2]), 2.0) == pytest.approx(-1)
    account = biod(D=5)
    nats, first = ignorant_losses(64, account)
    assert person_bits(nats + 9, first + 9, account).total.sum() < -64 * 4 * 9


def test_columns_of_another_account_are_refused(bios):
    with pytest.raises(ValueError, match="account of 7 items"):
        item_bits(np.zeros((4, 3)), bios)


@given(st.lists(st.floats(0, 50), min_size=12, max_size=12), st.floats(0.01, 5))
def test_a_nat_more_of_loss_is_a_fixed_number_of_bits_less(losses, more):
    account = biod(D=5, T=7, C=1, K=2, N=4)
    nats, first = np.array(losses).reshape(4, 3), np.array(losses[:8]).reshape(4, 2)
    before = person_bits(nats, first, account).total.sum()
    after = person_bits(nats + more, first + more, account).total.sum()
    assert before - after == pytest.approx(more / LN2 * (4 + 4 * 2 + 2 * 5), rel=1e-6)
