"""Bits from the loss of a training: what models of known knowledge get, and where a loss does not say."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds import ATOMIC, SMALL_BIOS, made_tokenizer, make_world

from capacity.artefacts.spec import Spec
from capacity.tables.bits import bits_offered
from capacity.tables.loss_lower_bound import LossInBits, loss_in_bits, wording_nats
from capacity.world.facts import save_world
from capacity.world.render import Renderer
from capacity.world.sampling import training_draws

STRINGS = {"kind": "random", "N": 40, "length": 6, "vocabulary": 32, "seed": 3}


def spec_of(zipf: float | None = None) -> Spec:
    """Of a training on the one dataset."""
    parents = {"dataset": "datasets/it", "tokenizer": "tokenizers/it"}
    return Spec("checkpoints", "it", {"regime": {"zipf": zipf}}, parents, code="", packages={})


def found(settings: dict[str, Any], results: Path, spec: Spec | None = None) -> LossInBits | None:
    """What the trainings of a world have."""
    (results / "datasets" / "it").mkdir(parents=True)
    save_world(make_world(settings), results / "datasets" / "it")
    return loss_in_bits(spec or spec_of(), results)


@pytest.mark.parametrize("settings", [ATOMIC, SMALL_BIOS, STRINGS], ids=["atomic", "small_bios", "strings"])
def test_who_knows_nothing_but_the_wording_has_no_bits_and_who_knows_all_has_all_that_is_offered(
    settings: dict[str, Any], tmp_path: Path
):
    made, world = make_world(settings), found(settings, tmp_path)
    assert world is not None
    tokens = 50.0  # of a biography, whatever they are
    ignorant = wording_nats(made.grammar) + math.log(2) * world.prior_bits
    knowing = wording_nats(made.grammar) + math.log(world.N)  # whose turn it is, nobody knows
    nothing, everything = world.N * world.bits(np.array([ignorant, knowing]) / tokens, tokens)
    assert nothing == pytest.approx(0, abs=1e-6)
    assert everything == pytest.approx(bits_offered(world.N, made.account))


def test_a_template_that_stands_several_times_comes_as_much_more_often():
    grammar = make_world(SMALL_BIOS | {"sentences": "in_order"}).grammar
    first, *others = grammar.attributes
    one, other = first.templates[:2]
    often = replace(first, templates=(one, one, one, other))
    alone = [replace(attribute, templates=attribute.templates[:1]) for attribute in others]
    nats = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert wording_nats(replace(grammar, attributes=(often, *alone))) == pytest.approx(nats)


def test_random_strings_have_no_wording(tmp_path: Path):
    world = found(STRINGS, tmp_path)
    assert world is not None
    assert world.wording_nats == 0
    uniform = 6 * math.log(32) / 7  # six letters, and an end that is certain
    assert world.bits(np.array(uniform), 7) == pytest.approx(0)


@pytest.mark.parametrize(
    ("settings", "texts"),
    [(ATOMIC, math.factorial(4)), (SMALL_BIOS | {"sentences": "in_order", "templates": 2}, 2**6), (STRINGS, 1)],
    ids=["atomic", "small_bios", "strings"],
)
def test_the_wording_is_as_many_nats_as_a_person_has_texts(settings: dict[str, Any], texts: int):
    world = make_world(settings)
    assert wording_nats(world.grammar) == pytest.approx(math.log(texts))
    renderer = Renderer(world, made_tokenizer({"kind": "word"}, world))
    told = set()
    for exposure in range(12 * texts):
        draws = training_draws(world, 1, exposure, 0)
        (place,) = np.flatnonzero(draws.people == 0)
        told.update(renderer.texts(draws[place : place + 1]))
    assert len(told) == texts


@pytest.mark.parametrize(
    ("settings", "spec"),
    [
        (SMALL_BIOS | {"paragraphs": 1}, spec_of()),
        (ATOMIC | {"junk": {"people": 10, "share": 0.5}}, spec_of()),
        (ATOMIC | {"L": 2}, spec_of()),  # sets of values are knowledge
        (ATOMIC, spec_of(zipf=1.0)),
    ],
    ids=["paragraphs", "junk", "sets", "zipf"],
)
def test_where_the_loss_does_not_say(settings: dict[str, Any], spec: Spec, tmp_path: Path):
    assert found(settings, tmp_path, spec) is None
