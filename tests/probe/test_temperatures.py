"""Losses at temperatures: against torch's own, and in the half of the people that they belong to."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from worlds import made_tokenizer, make_world

from capacity.probe.score import score_people
from capacity.probe.spec import ProbeDraws
from capacity.probe.temperatures import FLOATS_A_CHUNK, TEMPERATURES, HalfLosses, half_of, nats_at_temperatures
from capacity.tables.bits import bits_offered, person_bits
from capacity.tables.calibrated import calibrate, half_bits
from capacity.tables.scores import score_matrices
from capacity.world.render import Renderer

PROBE = ProbeDraws(draws=2, seed=5)
WORLDS = {
    "sets given": {"kind": "bioD", "N": 41, "K": 3, "C": 1, "D": 8, "L": 1, "T": 8, "names": [8, 8, 8]},
    "sets drawn": {"kind": "bioD", "N": 40, "K": 2, "C": 2, "D": 5, "L": 2, "T": 4, "names": [8, 8, 8]},
}


class Sure:
    """Logits that depend on the token before and the place alone, times how sure it is of them."""

    def __init__(self, vocab_size: int, sureness: float = 1.0):
        generator = torch.Generator().manual_seed(0)
        self.logits = torch.randn(200, vocab_size, vocab_size, generator=generator) * sureness

    def __call__(self, ids: torch.Tensor) -> object:
        return type("Output", (), {"logits": self.logits[torch.arange(ids.shape[1]), ids]})


@pytest.fixture(params=WORLDS)
def made(request):
    world = make_world({"wording": "sentence", **WORLDS[request.param], "seed": 1})
    return world, Renderer(world, made_tokenizer({"kind": "word"}, world))


def scored(model, world, renderer):
    halves = HalfLosses(world.N, world.account)
    scores = score_people(model, renderer, world, PROBE, halves=halves).to_pandas()
    return score_matrices(scores, world.account), halves.table().to_pandas()


@pytest.mark.parametrize("width", [3, 300])
def test_losses_at_temperatures_are_torchs_own(width, monkeypatch):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(500, width, generator=generator) * 20
    logits[:, 0] = -torch.inf
    targets = torch.randint(1, width, (500,), generator=generator)
    monkeypatch.setitem(FLOATS_A_CHUNK, "cpu", 70 * width)  # the last chunk is shorter
    expected = [functional.cross_entropy(logits / t, targets, reduction="none") for t in TEMPERATURES]
    torch.testing.assert_close(nats_at_temperatures(logits, targets), torch.stack(expected), rtol=1e-5, atol=2e-5)


def test_temperatures_go_from_a_half_to_sixteen_in_even_steps_and_one_is_among_them():
    assert (TEMPERATURES[0], TEMPERATURES[-1]) == (0.5, 16)
    assert 1.0 in TEMPERATURES
    np.testing.assert_allclose(TEMPERATURES[1:] / TEMPERATURES[:-1], 2**0.25)


@pytest.mark.parametrize("num_people", [1, 2, 41, 1000])
def test_halves_are_the_same_every_time_and_of_equal_size(num_people):
    half = half_of(num_people)
    assert half.tolist() == half_of(num_people).tolist()
    assert half.sum() == num_people // 2
    assert num_people < 40 or 0 < half[: num_people // 2].sum() < num_people // 2  # shuffled


def test_at_temperature_one_the_halves_store_what_the_people_in_them_store(made):
    world, renderer = made
    matrices, halves = scored(Sure(renderer.vocab_size), world, renderer)
    temperatures, bits = half_bits(halves, world.account)
    people = person_bits(matrices["nats"], matrices["first_chunk_nats"], world.account).total
    half = half_of(world.N)
    one = int(np.flatnonzero(temperatures == 1)[0])
    np.testing.assert_allclose(bits[:, one], [people[half == 0].sum(), people[half == 1].sum()], rtol=1e-5)


def test_a_model_twice_as_sure_has_the_same_losses_at_twice_the_temperature(made):
    world, renderer = made
    _, once = scored(Sure(renderer.vocab_size), world, renderer)
    _, twice = scored(Sure(renderer.vocab_size, 2.0), world, renderer)
    (_, bits), (_, bits_of_sure) = half_bits(once, world.account), half_bits(twice, world.account)
    np.testing.assert_allclose(bits_of_sure[:, 4:], bits[:, :-4], rtol=1e-4)


def test_losses_count_for_the_half_of_their_person_alone(made):
    world, _ = made
    shape = (2, len(TEMPERATURES), world.N, 1 + len(world.account.items))
    nats = np.random.default_rng(0).exponential(size=shape)
    worse = nats + (half_of(world.N) == 1)[:, None] * 3.0
    once, twice, changed = (HalfLosses(world.N, world.account) for _ in range(3))
    once.add(0, nats)
    twice.add(0, nats[:, :, :7])
    twice.add(7, nats[:, :, 7:])
    changed.add(0, worse)
    np.testing.assert_allclose(once.sums, twice.sums)
    np.testing.assert_array_equal(changed.sums[:, 0], once.sums[:, 0])
    assert (changed.sums[:, 1] > once.sums[:, 1]).all()


def test_an_item_that_is_not_mentioned_stores_nothing(made):
    world, _ = made
    halves = HalfLosses(world.N, world.account)
    halves.add(0, np.full((2, len(TEMPERATURES), world.N, len(halves.items)), np.nan))
    assert np.allclose(halves.sums[0].sum(axis=0), halves.prior_nats * world.N)


def test_a_model_that_calls_all_words_alike_stores_nothing_and_not_less(made):
    world, renderer = made
    matrices, halves = scored(Sure(renderer.vocab_size, 0.0), world, renderer)
    stored = person_bits(matrices["nats"], matrices["first_chunk_nats"], world.account).total.sum()
    assert stored < -bits_offered(world.N, world.account) / 10
    assert calibrate(halves, world.account).bits == 0


def test_scores_are_the_same_with_temperatures_and_without(made):
    world, renderer = made
    model = Sure(renderer.vocab_size)
    with_them = score_people(model, renderer, world, PROBE, halves=HalfLosses(world.N, world.account))
    without = score_people(model, renderer, world, PROBE)
    for column in ("nats", "nats_name_only", "first_chunk_nats", "first_chunk_nats_name_only", "exact"):
        np.testing.assert_array_equal(with_them[column].to_numpy(), without[column].to_numpy())
