"""Promises of kept paragraphs, sentence order and pronouns: bioS-simple and what lies between it and bioS."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chisquare
from worlds import ATOMIC, FULL_BIOS, SMALL_BIOS, made_tokenizer, make_world

from capacity.config.experiment import Config
from capacity.config.load import check
from capacity.errors import UserError
from capacity.world.facts import World
from capacity.world.pieces import FIRST_VALUE
from capacity.world.render import Renderer
from capacity.world.sampling import Draws, name_only_draws, probe_draws, tokenizer_draws, training_draws

RARE = 1e-4
SIMPLE = {"paragraphs": 1}


def texts_by_person(world: World, draws: Draws) -> dict[int, str]:
    renderer = Renderer(world, made_tokenizer({"kind": "word"}, world))
    return dict(zip(draws.people.tolist(), renderer.texts(draws), strict=True))


@pytest.mark.parametrize("settings", [ATOMIC, SMALL_BIOS], ids=["atomic", "small_bios"])
@pytest.mark.parametrize("paragraphs", [1, 3])
def test_paragraphs_are_drawn_once_and_come_in_turn(settings: dict, paragraphs: int) -> None:
    world = make_world(settings | {"paragraphs": paragraphs})
    told = [texts_by_person(world, training_draws(world, 7, exposure, 0)) for exposure in range(2 * paragraphs)]
    assert all(len(texts) == world.N for texts in told)
    assert told[:paragraphs] == told[paragraphs:]
    assert all(a != b for a, b in pairwise(told[:paragraphs]))
    assert told[0] == texts_by_person(world, training_draws(world, 8, 0, 0))  # whatever the training's seed
    assert told[0] == texts_by_person(world, probe_draws(world, 9, 0, 0, world.N))


def test_people_come_in_a_fresh_order_at_every_exposure() -> None:
    world = make_world(SMALL_BIOS | SIMPLE)
    orders = [training_draws(world, 7, exposure, 0).people for exposure in range(2)]
    assert not np.array_equal(*orders)


def test_kept_paragraphs_are_worded_like_fresh_ones() -> None:
    world = make_world(SMALL_BIOS | SIMPLE | {"N": 9000})
    draws = training_draws(world, 7, 0, 0)
    for place in range(6):
        assert chisquare(np.bincount(draws.order[:, place], minlength=6)).pvalue > RARE
        assert chisquare(np.bincount(draws.templates[:, place], minlength=5)).pvalue > RARE


def test_facts_do_not_depend_on_how_they_are_worded() -> None:
    plain = make_world(SMALL_BIOS)
    for change in ({"paragraphs": 2}, {"sentences": "in_order"}, {"tag": True}, {"pronouns": ["They"]}):
        other = make_world(SMALL_BIOS | change)
        assert all(np.array_equal(other.facts[column], plain.facts[column]) for column in other.facts)


def test_cutting_people_up_changes_no_kept_paragraph() -> None:
    world = make_world(SMALL_BIOS | SIMPLE)
    whole, part = probe_draws(world, 1, 0, 0, 400), probe_draws(world, 1, 0, 30, 90)
    assert np.array_equal(part.order, whole.order[30:90])
    assert np.array_equal(part.templates, whole.templates[30:90])
    alone = name_only_draws(world, 1, 0, 30, 90, "major")
    assert np.array_equal(alone.templates, part.templates)
    with pytest.raises(ValueError, match="people 0"):
        probe_draws(world, 1, 0, 0, 401)


@pytest.mark.parametrize("settings", [FULL_BIOS, SMALL_BIOS], ids=["full", "small"])
def test_a_city_that_gives_its_employer_away_is_scored_as_part_of_it(settings: dict) -> None:
    """A kept paragraph cannot be told otherwise; the two together are a code for the employer."""
    world = make_world(settings | SIMPLE)
    tokenizer = made_tokenizer({"kind": "word"}, world)
    renderer, draws = Renderer(world, tokenizer), probe_draws(world, 1, 0, 0, 200)
    rendering = renderer.tokens(draws, labels=True)
    employer = FIRST_VALUE + world.grammar.items.index("employer")
    ends = np.cumsum(rendering.lengths)
    leaking = 0
    for person in range(200):
        row = slice(ends[person] - rendering.lengths[person], ends[person])
        marked = tokenizer.decode(rendering.tokens[row][rendering.labels[row] == employer].tolist())
        name, city = (
            world.grammar.pools[pool][world.facts["employer"][person]] for pool in ("employers", "working_cities")
        )
        order = draws.order[person].tolist()
        first = order.index(5) < order.index(4)
        assert marked == (f" {city} {name}" if first else f" {name}")
        leaking += first
    assert 70 < leaking < 130


def test_sentences_in_order_are_those_of_the_attributes() -> None:
    world = make_world(SMALL_BIOS | {"sentences": "in_order"})
    for draws in (training_draws(world, 7, 1, 0), probe_draws(world, 7, 1, 0, 9), tokenizer_draws(world, 9)):
        assert (draws.order == np.arange(6)).all()
        assert len({tuple(row) for row in draws.templates.tolist()}) > 1


@pytest.mark.parametrize(("pronouns", "bits"), [(["They"], 0.0), (["He", "She", "They"], math.log2(3))])
def test_pronouns_tell_log2_of_their_number(pronouns: list[str], bits: float) -> None:
    world = make_world(SMALL_BIOS | {"pronouns": pronouns, "N": 3000})
    assert dict(world.account.items).get("gender", 0.0) == pytest.approx(bits)
    texts = texts_by_person(world, training_draws(world, 7, 0, 0)).values()
    told = [{word for word in pronouns if f". {word} " in text} for text in texts]
    assert all(len(words) == 1 for words in told)
    assert set().union(*told) == set(pronouns)
    if bits:
        assert chisquare(np.bincount(world.facts["gender"], minlength=3)).pvalue > RARE


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ({"paragraphs": 2, "sentences": "in_order"}, "datasets.x: paragraphs: 2 with sentences: in_order"),
        ({"paragraphs": 1, "junk": {"people": 5}}, "datasets.x: paragraphs: 1 with junk"),
        ({"junk": {"people": 999_999}}, "999999 junk people, but names .* only 32768"),
        ({"junk": {"people": 5, "share": 1.0}}, "datasets.x.junk.share: 1.0 is not allowed"),
        ({"junk": {"peoples": 5}}, "unknown key 'peoples'; did you mean people"),
        ({"pronouns": ["They"]}, "unknown key 'pronouns'"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_any_job(dataset: dict, says: str) -> None:
    raw = {"scale": "s", "study": ["s"], "scales": {}, "tokenizers": {}, "models": {}, "regimes": {}}
    raw |= {"quantizers": {}, "studies": {}}
    settings = {key: value for key, value in ATOMIC.items() if key != "seed"} | dataset
    with pytest.raises(UserError, match=says):
        check(Config, raw | {"datasets": {"x": settings}}, "config.yaml")
