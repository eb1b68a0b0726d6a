"""Promises of mixtures: junk is made from numbers, shares no name, keeps its share, and moves no exposure."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import TINY
from scipy.stats import chisquare
from trainings import made_batches
from worlds import ATOMIC, SMALL_BIOS, TOKENIZERS, KnowsAll, ids_of, made_tokenizer, make_world

from capacity.config.dataset import BioD
from capacity.config.experiment import Config
from capacity.config.load import check, read_yaml
from capacity.errors import UserError
from capacity.plan.grid import Grid, resolve
from capacity.probe.score import score_junk
from capacity.probe.spec import ProbeDraws
from capacity.tables.bits import item_bits
from capacity.tables.scores import score_matrices
from capacity.training.batches import IGNORED, TrainingBatches
from capacity.training.mixture import GROUP, Mixture
from capacity.world.facts import World
from capacity.world.junk import JunkPeople, junk_draws, junk_probe_draws
from capacity.world.options import TAG
from capacity.world.pieces import EOS_ID
from capacity.world.render import Renderer
from capacity.world.sampling import BLOCK, probe_draws

RARE = 1e-4
SPECS = {"atomic": ATOMIC, "small_bios": SMALL_BIOS}
ROWS = {"packing": "rows", "context": None, "batch": 16, "exposures": 2}
WINDOWS = {"packing": "windows", "context": 40, "batch": 8, "exposures": 2}
REGIMES = pytest.mark.parametrize("regime", [ROWS, WINDOWS], ids=["rows", "windows"])


def world_with(name: str, people: int = 5000, share: float = 0.875, **options: Any) -> World:
    return make_world(SPECS[name] | {"junk": {"people": people, "share": share}} | options)


def batches_of(world: World, regime: dict[str, Any]) -> TrainingBatches:
    return made_batches(world, made_tokenizer({"kind": "word"}, world), regime, 5)


def all_units(batches: TrainingBatches) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a whole training, one row a unit."""
    inputs, targets = batches.steps(0, batches.num_steps)
    units = batches.mixture.num_units
    return tuple(array.reshape(-1, batches.context)[:units] for array in (inputs, targets))


def names_told(world: World | JunkPeople, people: np.ndarray) -> set[tuple[int, ...]]:
    columns = [world.codes(slot.column, people) for slot in world.grammar.name]
    return set(zip(*(codes.tolist() for codes in columns), strict=True))


@pytest.mark.parametrize("name", SPECS)
def test_junk_people_have_names_of_their_own_and_uniform_facts(name: str) -> None:
    world = world_with(name)
    junk, people = JunkPeople(world), np.arange(5000)
    useful = names_told(world, np.arange(world.N))
    names = names_told(junk, people)
    assert len(names) == 5000
    assert not names & useful
    for column, size in junk.grammar.column_sizes.items():
        counts = np.bincount(junk.codes(column, people), minlength=size)
        assert len(counts) == size
        assert chisquare(counts).pvalue > RARE, column


def test_all_names_that_are_left_can_be_junk_and_not_one_more() -> None:
    world = world_with("atomic", people=32**3 - 750)
    assert len(names_told(JunkPeople(world), np.arange(32**3 - 750)) | names_told(world, np.arange(750))) == 32**3
    with pytest.raises(UserError, match=r"junk.people: 32019 besides N: 750.* 32768 full names; use at most 32018"):
        JunkPeople(world_with("atomic", people=32**3 - 749))
    with pytest.raises(UserError, match="32019 junk people, but names"):
        check(BioD, {key: ATOMIC[key] for key in ATOMIC if key != "seed"} | {"junk": {"people": 32019}}, "x")


def test_a_junk_person_is_the_same_whoever_asks_and_costs_no_memory() -> None:
    """A hundred million junk people of the paper's pools: any of them alone, nothing made for the others."""
    settings = SMALL_BIOS | {
        "pools": SMALL_BIOS["pools"] | {"first_names": 400, "middle_names": 400, "last_names": 1000}
    }
    world = make_world(settings | {"junk": {"people": 100_000_000, "share": 0.875}})
    tracemalloc.start()
    junk, some = JunkPeople(world), np.array([99_999_999, 0, 12_345_678])
    for column in junk.grammar.column_sizes:
        together = junk.codes(column, some).tolist()
        assert together == [int(JunkPeople(world).codes(column, some[i : i + 1])[0]) for i in range(3)]
    junk_draws(junk, 5, 0, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6


def test_adding_junk_or_a_tag_changes_no_useful_person_and_no_wording() -> None:
    plain, mixed = make_world(SMALL_BIOS), world_with("small_bios", tag=True)
    assert all(np.array_equal(plain.facts[column], mixed.facts[column]) for column in plain.facts)
    plain_rows = batches_like(plain, ROWS)
    mixed_rows = batches_like(mixed, ROWS)
    texts = [batches.renderer.texts(batches._biographies(0, 800)) for batches in (plain_rows, mixed_rows)]
    assert [TAG + text for text in texts[0]] == texts[1]


def batches_like(world: World, regime: dict[str, Any]) -> TrainingBatches:
    return made_batches(world, made_tokenizer(TOKENIZERS["word"], world), regime, 5)


@REGIMES
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("share", [0.875, 0.3])
def test_the_share_is_exact_to_one_unit_and_the_useful_units_are_those_of_a_clean_training(
    regime: dict[str, Any], name: str, share: float
) -> None:
    mixed = batches_like(world_with(name, share=share), regime)
    clean = batches_like(make_world(SPECS[name]), regime)
    inputs, targets = all_units(mixed)
    useful, start, junk_start = mixed.mixture.split(0, mixed.mixture.num_units)
    assert (start, junk_start) == (0, 0)
    assert abs(len(useful) * (1 - share) - useful.sum()) <= 1
    assert useful.sum() == clean.num_useful_units
    clean_inputs, clean_targets = (
        array.reshape(-1, clean.context)[: clean.num_useful_units] for array in clean.steps(0, clean.num_steps)
    )
    assert np.array_equal(inputs[useful], clean_inputs)
    assert np.array_equal(targets[useful], clean_targets)
    assert (targets[~useful] != IGNORED).any(axis=1).all()


@REGIMES
def test_a_step_of_a_mixture_alone_equals_the_step_among_others(regime: dict[str, Any]) -> None:
    world = world_with("small_bios")
    whole = batches_like(world, regime)
    inputs, targets = whole.steps(0, whole.num_steps)
    for step in (0, 1, whole.num_steps // 2, whole.num_steps - 1):
        alone = batches_like(world, regime).steps(step, 1)
        assert np.array_equal(alone[0][0], inputs[step])
        assert np.array_equal(alone[1][0], targets[step])


def test_junk_rows_are_the_junk_peoples_biographies_without_a_tag() -> None:
    world = world_with("small_bios", tag=True)
    batches = batches_like(world, ROWS)
    tokenizer = made_tokenizer({"kind": "word"}, world)
    inputs, _ = all_units(batches)
    useful, _, _ = batches.mixture.split(0, batches.mixture.num_units)
    tag = tokenizer.token_to_id(TAG)
    assert (inputs[useful, 1] == tag).all()
    assert not (inputs[~useful] == tag).any()
    texts = batches.junk.renderer.texts(junk_draws(batches.junk.world, 5, 0)[:20])
    assert [ids_of(tokenizer, text) for text in texts] == [
        [token for token in row[1:] if token != EOS_ID] for row in inputs[~useful][:20].tolist()
    ]
    assert batches.vocab_size == batches_like(make_world(SMALL_BIOS), ROWS).vocab_size + 1


def test_junk_windows_are_pure_and_run_on_like_text() -> None:
    world = world_with("small_bios", people=7)
    batches = batches_like(world, WINDOWS)
    inputs, targets = all_units(batches)
    useful, _, _ = batches.mixture.split(0, batches.mixture.num_units)
    junk_inputs, junk_targets = inputs[~useful], targets[~useful]
    stream = np.concatenate([[EOS_ID], junk_targets[:9].ravel()])
    assert np.array_equal(junk_inputs[:9].ravel(), stream[:-1])
    tokenizer = made_tokenizer({"kind": "word"}, world)
    told = [tokenizer.decode(part[1:].tolist()) for part in np.split(stream, np.flatnonzero(stream == EOS_ID))[1:-1]]
    assert len(told) >= 3
    columns = [slot.column for slot in world.grammar.name]
    codes = zip(*(batches.junk.world.codes(column, np.arange(7)).tolist() for column in columns), strict=True)
    names = {
        "".join(f" {world.grammar.pools[f'{column}s'][code]}" for column, code in zip(columns, person, strict=True))
        for person in codes
    }
    assert all(any(text.startswith(name) for name in names) and text.endswith(".") for text in told)


# --- junk within windows


def mixed_windows(
    name: str = "small_bios", exposures: int = 4, share: float = 0.875, **options: Any
) -> TrainingBatches:
    world = world_with(name, share=share, **options)
    settings = world.settings.plain()
    mixed = make_world(settings | {"junk": settings["junk"] | {"windows": "mixed"}})
    return batches_like(mixed, WINDOWS | {"exposures": exposures})


def told_in(stream: np.ndarray) -> list[list[int]]:
    """The tokens of each biography of a stream that ends with EOS, without it."""
    return [part[:-1].tolist() for part in np.split(stream, np.flatnonzero(stream == EOS_ID) + 1)[:-1]]


def tell_of_its_people(told: list[list[int]], world: World) -> list[bool]:
    """Whether each biography begins with the name of one of the world's people."""
    tokenizer, parts = made_tokenizer({"kind": "word"}, world), world.grammar.name
    texts = [
        "".join(world.grammar.read(slot, code) for slot, code in zip(parts, codes, strict=True))
        for codes in names_told(world, np.arange(world.N))
    ]
    names = {tuple(ids_of(tokenizer, text)) for text in texts}
    sizes = {len(name) for name in names}
    return [any(tuple(tokens[:size]) in names for size in sizes) for tokens in told]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("share", [0.875, 0.3])
def test_mixed_windows_tell_the_useful_people_as_a_clean_training_does_with_junk_in_between(
    name: str, share: float
) -> None:
    """Useful biographies are those of the clean training, in order and none left out; the others are junk's."""
    batches, clean = mixed_windows(name, share=share), batches_like(make_world(SPECS[name]), WINDOWS | {"exposures": 4})
    targets = batches.steps(0, batches.num_steps)[1]
    told = told_in(targets[targets != IGNORED])
    useful = tell_of_its_people(told, batches.world)
    clean_targets = clean.steps(0, clean.num_steps)[1]
    assert [text for text, mine in zip(told, useful, strict=True) if mine] == told_in(
        clean_targets[clean_targets != IGNORED]
    )
    assert sum(useful) == 4 * batches.world.N
    junk = [text for text, mine in zip(told, useful, strict=True) if not mine]
    assert junk == told_in(batches.junk.tokens(0, len(junk)))
    of_junk = sum(len(text) + 1 for text in junk)
    assert abs(of_junk - (clean_targets != IGNORED).sum() * share / (1 - share)) <= batches.renderer.max_length


def test_mixed_windows_are_one_stream_of_which_every_token_is_a_target_once() -> None:
    batches = mixed_windows()
    inputs, targets = (array.ravel() for array in batches.steps(0, batches.num_steps))
    scored = targets != IGNORED
    assert scored.sum() == np.flatnonzero(scored)[-1] + 1
    assert inputs[scored].tolist() == [EOS_ID, *targets[scored][:-1].tolist()]
    assert (batches.num_steps - 1) * 8 * 40 < scored.sum() <= batches.num_steps * 8 * 40
    assert (inputs[~scored] == EOS_ID).all()


def test_useful_people_are_spread_evenly_and_at_random_within_windows() -> None:
    """An eighth of every group of biographies, in no pattern; with a tag before them and before nobody else."""
    batches = mixed_windows(exposures=40, tag=True)
    targets = batches.steps(0, batches.num_steps)[1]
    told = told_in(targets[targets != IGNORED])
    tag = made_tokenizer({"kind": "word"}, batches.world).token_to_id(TAG)
    useful = np.array([text[0] == tag for text in told])
    assert useful.sum() == 40 * batches.world.N
    assert all(tag not in text[1:] for text in told)
    whole = len(useful) // GROUP
    counts = useful[: whole * GROUP].reshape(whole, GROUP).sum(axis=1)
    assert abs(counts - useful.mean() * GROUP).max() <= 1
    assert whole >= 3
    gaps = np.diff(np.flatnonzero(useful))
    assert (gaps == 1).mean() == pytest.approx(1 / 8, abs=0.02)
    of_junk = sum(len(text) + 1 for text, mine in zip(told, useful, strict=True) if not mine)
    assert abs(of_junk - 0.875 * sum(len(text) + 1 for text in told)) <= batches.context


@pytest.mark.parametrize("name", SPECS)
def test_a_step_of_mixed_windows_alone_equals_the_step_among_others(name: str) -> None:
    whole = mixed_windows(name)
    inputs, targets = whole.steps(0, whole.num_steps)
    for step in (0, 1, whole.num_steps // 2, whole.num_steps - 1):
        alone = mixed_windows(name).steps(step, 1)
        assert np.array_equal(alone[0][0], inputs[step])
        assert np.array_equal(alone[1][0], targets[step])


def test_mixed_windows_go_on_over_more_junk_than_one_block_of_it() -> None:
    """Junk is drawn 65,536 biographies at a time; the share and any step hold beyond."""
    batches = mixed_windows("atomic", exposures=14)
    junk = batches._stream.num_biographies - batches.num_biographies
    assert junk == 7 * 14 * 750 > BLOCK  # atomic biographies have one length
    last = batches.steps(batches.num_steps - 3, 3)
    assert np.array_equal(mixed_windows("atomic", exposures=14).steps(batches.num_steps - 2, 1)[1][0], last[1][1])


def test_how_windows_are_mixed_changes_no_probe_and_is_pure_unless_asked() -> None:
    pure, mixed = world_with("small_bios"), mixed_windows().world
    for draws in (
        lambda world: probe_draws(world, 7, 0, 0, 400),
        lambda world: junk_probe_draws(JunkPeople(world), 7, 0, 0, 400),
    ):
        assert np.array_equal(draws(pure).templates, draws(mixed).templates)
        assert np.array_equal(draws(pure).order, draws(mixed).order)
    said = make_world(pure.settings.plain() | {"junk": pure.settings.plain()["junk"] | {"windows": "pure"}})
    steps = [batches_like(world, WINDOWS).steps(0, 3)[1] for world in (pure, said, mixed)]
    assert np.array_equal(steps[0], steps[1])
    assert not np.array_equal(steps[0], steps[2])


def test_mixed_windows_without_windows_are_refused_in_one_line_before_any_job() -> None:
    def grid(regime: str, **junk: Any) -> Grid:
        raw = read_yaml(TINY)
        raw["datasets"]["people"]["junk"] = {"people": 20, **junk}
        raw["studies"]["prose"]["regimes"] = [regime]
        return resolve(check(Config, {**raw, "study": ["prose"]}, "planted"))

    def ids(regime: str, **junk: Any) -> set[str]:
        return {spec.id for spec in grid(regime, **junk).specs.values()}

    with pytest.raises(UserError, match=r"^datasets.people.junk.windows: mixed with regimes.long.packing: rows; a row"):
        ids("long", windows="mixed")
    assert ids("cut", windows="pure") == ids("cut")
    assert not ids("cut", windows="mixed") & ids("cut")


def test_repetitive_junk_tells_each_junk_person_about_equally_often() -> None:
    draws = junk_draws(JunkPeople(world_with("atomic", people=50)), 5, 0)
    assert chisquare(np.bincount(draws.people, minlength=50)).pvalue > RARE


def test_lengths_of_junk_are_those_of_its_texts_and_bounds_hold() -> None:
    world = world_with("small_bios", tag=True)
    tokenizer = made_tokenizer({"kind": "word"}, world)
    renderer = Renderer(world, tokenizer).for_junk(JunkPeople(world))
    draws = junk_draws(JunkPeople(world), 5, 0, 2000)
    lengths = renderer.lengths(draws)
    assert lengths[:50].tolist() == [len(ids_of(tokenizer, text)) for text in renderer.texts(draws[:50])]
    assert renderer.min_length <= lengths.min() <= lengths.max() <= renderer.max_length
    assert renderer.mean_length == pytest.approx(lengths.mean(), rel=0.01)


@pytest.mark.parametrize("people", [30, 5000])
def test_junk_people_are_scored_apart_as_many_as_there_are_useful_ones_at_most(people: int) -> None:
    world = world_with("small_bios", people=people, tag=True)
    renderer, account = Renderer(world, made_tokenizer({"kind": "word"}, world)), world.account
    some = min(people, world.N)
    offered = account.name_prior_bits + sum(bits for _, bits in account.items)
    scores = score_junk(KnowsAll(renderer.vocab_size), renderer, world, ProbeDraws(draws=2, seed=7)).to_pandas()
    assert len(scores) == some * (1 + len(account.items))
    stored = item_bits(score_matrices(scores, account)["nats"], account).sum(axis=1)
    assert stored == pytest.approx(np.full(some, offered))
    draws = junk_probe_draws(JunkPeople(world), 7, 0, 0, some)
    assert names_told(JunkPeople(world), draws.people).isdisjoint(names_told(world, np.arange(world.N)))
    assert (np.argmax(draws.order == 4, axis=1) < np.argmax(draws.order == 5, axis=1)).all()  # employer before city
    assert np.array_equal(junk_probe_draws(JunkPeople(world), 7, 0, 5, 9).templates, draws.templates[5:9])


@given(
    num_useful=st.integers(1, 30_000),
    share=st.floats(0.05, 0.95),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_any_range_of_a_mixture_agrees_with_the_whole(num_useful: int, share: float, data: st.DataObject) -> None:
    mixture = Mixture.of_share(num_useful, share, 3)
    whole, _, _ = mixture.split(0, mixture.num_units)
    assert whole.sum() == num_useful
    start = data.draw(st.integers(0, mixture.num_units - 1))
    stop = data.draw(st.integers(start + 1, mixture.num_units))
    useful, before, junk_before = Mixture.of_share(num_useful, share, 3).split(start, stop)
    assert np.array_equal(useful, whole[start:stop])
    assert (before, junk_before) == (whole[:start].sum(), (~whole[:start]).sum())


def test_useful_units_are_spread_evenly_and_at_random() -> None:
    mixture = Mixture.of_share(GROUP, 0.875, 3)
    useful, _, _ = mixture.split(0, mixture.num_units)
    assert [int(part.sum()) for part in np.split(useful, 8)] == [GROUP // 8] * 8
    gaps = np.diff(np.flatnonzero(useful))
    assert gaps.mean() == pytest.approx(8, rel=0.02)
    assert (gaps == 1).mean() == pytest.approx(1 / 8, abs=0.03)
