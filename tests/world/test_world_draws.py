"""Promises of draws: exact exposures, uniform words and orders, keyed blocks, probes that leak nothing."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare
from worlds import ATOMIC, FULL_BIOS, SENTENCE, SMALL_BIOS, SPECS, world_of

from capacity.errors import UserError
from capacity.world.facts import World
from capacity.world.sampling import (
    BLOCK,
    Draws,
    name_only_draws,
    num_blocks,
    probe_draws,
    tokenizer_draws,
    training_draws,
)

RARE = 1e-4
BIG = ATOMIC | {"N": BLOCK + 5000, "names": [64, 64, 64]}  # two blocks


def same(one: Draws, other: Draws) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def num_templates(world: World) -> list[int]:
    return [len(attribute.templates) for attribute in world.grammar.attributes]


@pytest.mark.parametrize("settings", [*SPECS.values(), BIG], ids=[*SPECS, "two_blocks"])
def test_every_exposure_tells_each_person_once(settings: dict) -> None:
    world = world_of(settings)
    for exposure in (0, 1, 999):
        blocks = [training_draws(world, 5, exposure, block).people for block in range(num_blocks(world))]
        assert np.array_equal(np.sort(np.concatenate(blocks)), np.arange(world.N))
        assert max(map(len, blocks)) <= BLOCK


@pytest.mark.parametrize("settings", [*SPECS.values(), BIG], ids=[*SPECS, "two_blocks"])
def test_every_biography_tells_each_attribute_once_by_one_of_its_templates(settings: dict) -> None:
    world = world_of(settings)
    draws = [training_draws(world, 5, 0, block) for block in range(num_blocks(world))]
    draws += [probe_draws(world, 5, 0, 0, world.N), tokenizer_draws(world, 2000)]
    for part in draws:
        assert np.array_equal(
            np.sort(part.order, axis=1), np.tile(np.arange(len(num_templates(world))), (len(part), 1))
        )
        assert (part.templates < num_templates(world)).all()


def test_a_block_depends_on_its_key_alone() -> None:
    world = world_of(BIG)
    block = training_draws(world, 5, 3, 1)
    for exposure in range(4):
        training_draws(world, 5, exposure, 0)
    assert same(block, training_draws(world, 5, 3, 1))
    for seed, exposure in [(6, 3), (5, 4)]:
        other = training_draws(world, seed, exposure, 1)
        assert not np.array_equal(block.people, other.people)
        assert not np.array_equal(block.order, other.order)
    assert not np.array_equal(block.order, training_draws(world, 5, 3, 0).order[: len(block)])


def test_words_differ_between_seeds_exposures_and_streams() -> None:
    world = world_of(FULL_BIOS)
    draws = [training_draws(world, 5, 0, 0), training_draws(world, 5, 1, 0), training_draws(world, 6, 0, 0)]
    draws += [probe_draws(world, 5, 0, 0, world.N), probe_draws(world, 5, 1, 0, world.N)]
    draws += [probe_draws(world, 6, 0, 0, world.N), tokenizer_draws(world, world.N)]
    assert len({part.templates.tobytes() for part in draws}) == len(draws)
    assert len({part.order.tobytes() for part in draws}) == len(draws)


def test_templates_and_orders_of_six_sentences_are_uniform() -> None:
    world = world_of(FULL_BIOS)
    draws = [training_draws(world, 5, exposure, 0) for exposure in range(10)]
    orders = Counter(map(bytes, np.concatenate([part.order for part in draws])))
    assert len(orders) == 720
    assert chisquare(list(orders.values())).pvalue > RARE
    templates = np.concatenate([part.templates for part in draws])
    for index, count in enumerate(num_templates(world)):
        assert chisquare(np.bincount(templates[:, index], minlength=count)).pvalue > RARE
    table = np.zeros((len(world.grammar.attributes), 46))
    np.add.at(table, (np.concatenate([part.order[:, 0] for part in draws]), templates[:, 0]), 1)
    assert chi2_contingency(table).pvalue > RARE  # the words of a sentence do not hang on its place


def test_spec_of_many_sentences_are_uniform() -> None:
    """Nine sentences are sorted by random keys: two places hold each pair of attributes equally often."""
    order = np.concatenate([training_draws(world_of(SENTENCE), 5, exposure, 0).order for exposure in range(40)])
    pairs = Counter(zip(order[:, 2].tolist(), order[:, 7].tolist(), strict=True))
    assert len(pairs) == 9 * 8
    assert chisquare(list(pairs.values())).pvalue > RARE


def test_people_orders_are_uniform() -> None:
    world = world_of(ATOMIC | {"N": 4})
    orders = Counter(tuple(training_draws(world, 5, exposure, 0).people.tolist()) for exposure in range(2400))
    assert set(orders) == set(permutations(range(4)))
    assert chisquare(list(orders.values())).pvalue > RARE


@pytest.mark.parametrize("settings", [SMALL_BIOS, FULL_BIOS], ids=["small", "full"])
def test_a_probe_never_tells_the_working_city_before_the_employer(settings: dict) -> None:
    world = world_of(settings)
    employer, city = (world.grammar.attribute_index(name) for name in ("employer", "working_city"))
    for draw in range(4):
        order = probe_draws(world, 5, draw, 0, world.N).order
        assert (np.argmax(order == employer, axis=1) < np.argmax(order == city, axis=1)).all()
    drawn = training_draws(world, 5, 0, 0).order
    assert 0.4 < (np.argmax(drawn == employer, axis=1) > np.argmax(drawn == city, axis=1)).mean() < 0.6


def test_the_allowed_orders_of_a_probe_are_uniform() -> None:
    """Swapping the two sentences pairs each allowed order with one that is not: 360 stay, equally often."""
    world = world_of(FULL_BIOS)
    orders = Counter(b for draw in range(20) for b in map(bytes, probe_draws(world, 5, draw, 0, world.N).order))
    assert len(orders) == 360
    assert chisquare(list(orders.values())).pvalue > RARE


@given(st.data())
def test_cutting_people_up_changes_nobodys_words(data: st.DataObject) -> None:
    world = world_of(FULL_BIOS)
    start = data.draw(st.integers(0, world.N - 1))
    stop = data.draw(st.integers(start + 1, world.N))
    assert same(probe_draws(world, 5, 1, start, stop), probe_draws(world, 5, 1, 0, world.N)[start:stop])
    whole = name_only_draws(world, 5, 1, 0, world.N, "major")
    assert same(name_only_draws(world, 5, 1, start, stop, "major"), whole[start:stop])


def test_people_of_several_blocks_come_in_order() -> None:
    world = world_of(BIG)
    part = probe_draws(world, 5, 0, BLOCK - 3, BLOCK + 4)
    assert part.people.tolist() == list(range(BLOCK - 3, BLOCK + 4))
    assert same(part[3:], probe_draws(world, 5, 0, BLOCK, BLOCK + 4))


def test_people_out_of_range_are_an_error() -> None:
    world = world_of(SMALL_BIOS)
    for start, stop in [(0, world.N + 1), (-1, 3), (5, 5)]:
        with pytest.raises(ValueError, match="people"):
            probe_draws(world, 5, 0, start, stop)


def test_name_only_draws_tell_one_attribute_in_all_its_words() -> None:
    world = world_of(FULL_BIOS)
    for index, attribute in enumerate(world.grammar.attributes):
        draws = name_only_draws(world, 5, 0, 0, world.N, attribute.name)
        assert draws.people.tolist() == list(range(world.N))
        assert draws.order.tolist() == [[index]] * world.N
        words = np.bincount(draws.templates[:, index], minlength=len(attribute.templates))
        assert chisquare(words).pvalue > RARE
    one, other = (name_only_draws(world, 5, 0, 0, world.N, attribute) for attribute in ("birth_date", "major"))
    assert not np.array_equal(one.templates, other.templates)


def test_an_unknown_attribute_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"attribute: gender; this world has birth_date, .*working_city$"):
        name_only_draws(world_of(SMALL_BIOS), 5, 0, 0, 10, "gender")
