"""Promises of worlds: unique names, uniform facts, honest accounts, clear refusals."""

import itertools
import json
import math
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare
from worlds import ATOMIC, FULL_BIOS, FULL_POOLS, SENTENCE, SMALL_BIOS, SMALL_POOLS, SPECS, make_world, world_of

from capacity.errors import UserError
from capacity.world import streams
from capacity.world.bijection import keyed_bijection
from capacity.world.biod import chunk_set
from capacity.world.facts import World, load_world, save_world
from capacity.world.sampling import name_only_draws, probe_draws, tokenizer_draws, training_draws

RARE = 1e-4  # a fair draw fails one uniformity check in ten thousand; seeds are fixed


def key(number: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(number)


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**32))
def test_the_bijection_hits_every_number_once(size: int, seed: int) -> None:
    images = keyed_bijection(np.arange(size), size, key(seed))
    assert np.array_equal(np.sort(images), np.arange(size))


@given(size=st.integers(2, 2**62), seed=st.integers(0, 2**32), data=st.data())
@settings(max_examples=50)
def test_any_number_alone_has_the_same_image_within_range(size: int, seed: int, data: st.DataObject) -> None:
    numbers = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20, unique=True)))
    images = keyed_bijection(numbers, size, key(seed))
    assert [keyed_bijection(numbers[i : i + 1], size, key(seed))[0] for i in range(len(numbers))] == images.tolist()
    assert len(set(images.tolist())) == len(numbers)
    assert images.min() >= 0
    assert images.max() < size


def test_over_keys_the_bijection_is_uniform_on_ordered_pairs() -> None:
    pairs = Counter(tuple(keyed_bijection(np.array([0, 1]), 5, key(seed)).tolist()) for seed in range(4000))
    assert len(pairs) == 5 * 4
    assert chisquare(list(pairs.values())).pvalue > RARE


def test_the_bijection_scatters_neighbours() -> None:
    images = keyed_bijection(np.arange(100_000), 160_000_000, key(1))
    assert chisquare(np.bincount(images // 1_600_000, minlength=100)).pvalue > RARE
    table = np.zeros((10, 10))
    np.add.at(table, (images[:-1] // 16_000_000, images[1:] // 16_000_000), 1)
    assert chi2_contingency(table).pvalue > RARE


@pytest.mark.parametrize("settings", SPECS.values(), ids=SPECS)
def test_full_names_are_unique(settings: dict) -> None:
    world = world_of(settings)
    texts = {" ".join(name) for name in full_names(world)}
    assert len(texts) == world.N


def full_names(world: World) -> list[tuple[str, ...]]:
    parts = [[world.grammar.pools[slot.pool][code] for code in world.facts[slot.column]] for slot in world.grammar.name]
    return list(zip(*parts, strict=True))


def test_as_many_people_as_names_take_every_name() -> None:
    world = make_world(ATOMIC | {"N": 60, "names": [3, 4, 5]})
    assert set(full_names(world)) == set(
        itertools.product(*(world.grammar.pools[slot.pool] for slot in world.grammar.name))
    )


@pytest.mark.parametrize(
    "settings", [ATOMIC, SENTENCE | {"names": [200, 200, 200]}, FULL_BIOS], ids=["atomic", "sentence", "bios"]
)
def test_every_column_is_uniform(settings: dict) -> None:
    world = make_world(settings | {"N": 30_000})
    for column, size in world.grammar.column_sizes.items():
        assert chisquare(np.bincount(world.facts[column], minlength=size)).pvalue > RARE, column


def test_columns_are_independent() -> None:
    world = make_world(SMALL_BIOS | {"N": 10_000, "pools": SMALL_POOLS | {"last_names": 40}})
    for one, other in itertools.combinations([c for c in world.facts if c != "birth_year"], 2):
        sizes = world.grammar.column_sizes
        table = np.zeros((sizes[one], sizes[other]))
        np.add.at(table, (world.facts[one], world.facts[other]), 1)
        assert chi2_contingency(table).pvalue > RARE, (one, other)


@pytest.mark.parametrize("settings", SPECS.values(), ids=SPECS)
def test_the_same_spec_gives_the_same_world_and_another_seed_another(settings: dict) -> None:
    world, again, other = world_of(settings), make_world(settings), make_world(settings | {"seed": 77})
    for column, codes in world.facts.items():
        assert np.array_equal(codes, again.facts[column])
        assert not np.array_equal(codes, other.facts[column]), column
    assert again.grammar == world.grammar


def test_published_worlds_keep_their_bytes() -> None:
    """Pins the streams and numpy's generators: a change here makes every world another one."""
    assert [codes[:3].tolist() for codes in world_of(ATOMIC).facts.values()] == [
        [22, 16, 3], [8, 16, 30], [29, 20, 31], [6, 18, 4], [61, 11, 23], [9, 58, 50], [49, 59, 40],
    ]  # fmt: skip
    assert chunk_set(2, 1, 3, 2, 12) == ["v00 v00", "v03 v06", "v05 v01"]
    world = make_world(SMALL_BIOS | {"templates": 40})
    draws = [training_draws(world, 7, 2, 0), probe_draws(world, 7, 2, 0, 9), tokenizer_draws(world, 9)]
    draws.append(name_only_draws(world, 7, 2, 0, 9, "employer"))
    assert [[part.people[0], *part.order[0], *part.templates[0]] for part in draws] == [
        [345, 3, 1, 5, 0, 4, 2, 23, 35, 2, 25, 26, 8],
        [0, 2, 3, 1, 4, 5, 0, 31, 18, 28, 19, 24, 34],
        [0, 2, 4, 3, 0, 5, 1, 17, 20, 24, 14, 33, 2],
        [0, 4, 21, 35, 35, 39, 22, 15],
    ]  # fmt: skip


def test_streams_have_numbers_of_their_own() -> None:
    numbers = {name: value for name, value in vars(streams).items() if name.isupper()}
    assert len(set(numbers.values())) == len(numbers) == 17


@given(
    D=st.integers(1, 30),
    L=st.integers(1, 4),
    T=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_a_chunk_set_has_d_distinct_strings_of_l_letters(D: int, L: int, T: int, seed: int) -> None:
    D = min(D, T**L)
    chunks = [chunk.split() for chunk in chunk_set(seed, 1, D, L, T)]
    assert len({tuple(chunk) for chunk in chunks}) == D
    assert {len(chunk) for chunk in chunks} == {L}
    assert {letter for chunk in chunks for letter in chunk} <= {f"v{i:0{len(str(T - 1))}}" for i in range(T)}


@pytest.mark.parametrize(("D", "L", "T"), [(2, 2, 3), (3, 2, 2), (2, 1, 30)])
def test_chunk_sets_are_uniform_among_all_sets(D: int, L: int, T: int) -> None:
    """Numbered strings (T^L <= 4 D is the second case) and drawn ones alike."""
    sets = Counter(frozenset(chunk_set(seed, 1, D, L, T)) for seed in range(3000))
    assert len(sets) == math.comb(T**L, D)
    assert chisquare(list(sets.values())).pvalue > RARE


def test_all_strings_are_the_set_where_d_is_t_to_the_l() -> None:
    assert chunk_set(5, 1, 9, 2, 3) == [f"v{i} v{j}" for i in range(3) for j in range(3)]


def test_attributes_draw_sets_of_their_own() -> None:
    pools = world_of(SENTENCE).grammar.pools
    assert len({pools[f"id_{k}"] for k in range(1, 10)}) == 9


def test_the_account_of_bios_is_the_papers() -> None:
    """Totals of bits a person as arXiv 2404.05405 counts them, at three sizes."""
    for num_people, bits in [(1_000, 64.9), (50_000, 59.2), (100_000, 58.2)]:
        account = make_world(FULL_BIOS | {"N": num_people}).account
        assert account.name_prior_bits == pytest.approx(math.log2(1.6e8))
        assert sum(bits for _, bits in account.items) == pytest.approx(math.log2(2 * 67_200 * 200 * 300 * 100 * 263))
        assert account.name_offered_bits + sum(bits for _, bits in account.items) == pytest.approx(bits, abs=0.05)
    assert [item for item, _ in account.items] == [
        "birth_date", "birth_city", "university", "major", "employer", "gender",
    ]  # fmt: skip


def test_the_account_of_biod_counts_chunks_and_sets() -> None:
    account = world_of(SENTENCE).account
    assert account.items == [(f"id_{k}", pytest.approx(3 * math.log2(40))) for k in range(1, 10)]
    assert account.diversity == {"K": 9, "D": 40, "T_pow_L": 144}
    assert make_world(SENTENCE | {"L": 60}).account.diversity["T_pow_L"] == 12**60


TINY_BIOD = {
    "kind": "bioD",
    "N": 2,
    "K": 1,
    "C": 1,
    "D": 2,
    "L": 1,
    "T": 3,
    "names": [3, 1, 1],
    "wording": "atomic",
}
ONE_EACH = dict.fromkeys(FULL_POOLS, 1)
TINY_BIOS = {
    "kind": "bioS",
    "N": 1,
    "templates": 1,
    "pools": ONE_EACH | {"last_names": 2, "majors": 2, "employers": 2},
}


def told(world: World) -> frozenset:
    """What a world says, as a set: (full name, values) of each person, and each attribute's set of chunks."""
    slots = [slot for attribute in world.grammar.attributes for slot in attribute.slots]
    slots += [world.grammar.pronoun] if world.grammar.pronoun else []
    values = [
        tuple(world.grammar.pools[slot.pool][world.facts[slot.column][n]] for slot in slots) for n in range(world.N)
    ]
    people = frozenset(zip(full_names(world), values, strict=True))
    chunks = frozenset(name_set for name_set in world.grammar.pools.items() if name_set[0].startswith("id_"))
    return frozenset([people, frozenset((name, frozenset(values)) for name, values in chunks)])


def reached(settings: dict, num_seeds: int) -> Counter:
    return Counter(told(make_world(settings | {"seed": seed})) for seed in range(num_seeds))


@pytest.mark.parametrize(
    ("change", "names", "values", "sets"),
    [
        ({}, math.comb(3, 2), 2**2, math.comb(3, 2)),  # D < T^L: the set is drawn
        ({"N": 1, "K": 2, "D": 3}, 3, 3**2, 1),  # D = T^L: no set to learn
        ({"N": 3, "C": 2, "D": 1}, 1, 1, 3),  # all names taken, nothing to choose
        ({"N": 2, "L": 2, "T": 2, "D": 2, "names": [2, 1, 1]}, 1, 2**2, math.comb(4, 2)),
    ],
)
def test_the_account_counts_the_worlds_that_can_be_made(change: dict, names: int, values: int, sets: int) -> None:
    """Every world of names * values * sets comes up, equally often, and no other.

    Their number against the account: the value bits are its log2 exactly; names and sets use log2 C(n, k) ~ k
    log2(n/k), which is short of the truth by less than k log2 e.
    """
    settings = TINY_BIOD | change
    worlds = reached(settings, 2500)
    assert len(worlds) == names * values * sets
    assert len(worlds) == 1 or chisquare(list(worlds.values())).pvalue > RARE
    account = make_world(settings | {"seed": 0}).account
    N, K, D, T_pow_L = settings["N"], settings["K"], settings["D"], account.diversity["T_pow_L"]
    assert N * sum(bits for _, bits in account.items) == pytest.approx(math.log2(values))
    assert 0 <= math.log2(names) - N * account.name_offered_bits + 1e-9 < N * math.log2(math.e)
    assert 0 <= math.log2(sets) - K * D * math.log2(T_pow_L / D) + 1e-9 < K * D * math.log2(math.e)


def test_the_account_of_bios_counts_the_worlds_that_can_be_made() -> None:
    """The working city adds none: it follows from the employer."""
    worlds = reached(TINY_BIOS, 800)
    account = make_world(TINY_BIOS | {"seed": 0}).account
    assert math.log2(len(worlds)) == account.name_offered_bits + sum(bits for _, bits in account.items) == 4
    assert chisquare(list(worlds.values())).pvalue > RARE


@pytest.mark.parametrize("settings", [ATOMIC, SENTENCE, SMALL_BIOS], ids=["atomic", "sentence", "bios"])
def test_a_world_survives_saving(settings: dict, tmp_path) -> None:
    world = world_of(settings)
    save_world(world, tmp_path)
    loaded = load_world(tmp_path)
    assert (loaded.settings, loaded.grammar, loaded.account) == (world.settings, world.grammar, world.account)
    assert list(loaded.facts) == list(world.facts)
    for column, codes in world.facts.items():
        assert loaded.facts[column].dtype == codes.dtype
        assert np.array_equal(loaded.facts[column], codes)
    assert pq.read_metadata(tmp_path / "facts.parquet").num_rows == world.N
    assert json.loads((tmp_path / "grammar.json").read_text())["items"] == world.grammar.items


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (ATOMIC | {"N": 32**3 + 1}, ["N", "32769", "32768"]),
        (ATOMIC | {"N": 0}, ["N", "0", "1 to"]),
        (SMALL_BIOS | {"N": 12_001}, ["N", "12001", "12000"]),
    ],
)
def test_an_impossible_world_is_refused_in_one_clear_line(settings: dict, says: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        make_world(settings)
    message = str(refusal.value)
    assert "\n" not in message
    assert all(word in message for word in says), message
