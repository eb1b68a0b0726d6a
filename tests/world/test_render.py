"""Promises of the renderer: the text route's ids, labels on just the items, lengths that hold."""

import itertools
import re
from dataclasses import replace
from itertools import groupby
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import (
    ATOMIC,
    FULL_POOLS,
    PAIRS,
    SENTENCE,
    SMALL_BIOS,
    SPECS,
    TOKENIZERS,
    ids_of,
    made_tokenizer,
    make_world,
    setting,
    world_of,
)

from capacity.errors import UserError
from capacity.tokenizers import tokenization
from capacity.world import render
from capacity.world.facts import World
from capacity.world.render import Renderer
from capacity.world.sampling import Draws, name_only_draws, probe_draws, training_draws

EACH_PAIR = pytest.mark.parametrize(("world_name", "tokenizer_name"), PAIRS)


def some_draws(world: World) -> list[Draws]:
    """A little of everything that can be drawn."""
    draws = [training_draws(world, 7, 2, 0)[:150], probe_draws(world, 7, 0, 10, 160)]
    return draws + [name_only_draws(world, 7, 0, 0, 30, attribute.name) for attribute in world.grammar.attributes]


def split(flat: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    return np.split(flat, np.cumsum(lengths)[:-1])


@EACH_PAIR
def test_the_fast_route_gives_the_text_routes_ids(world_name: str, tokenizer_name: str) -> None:
    world, tokenizer, renderer = setting(world_name, tokenizer_name)
    for draws in some_draws(world):
        rendering = renderer.tokens(draws, labels=False)
        by_text = [encoding.ids for encoding in tokenizer.encode_batch(renderer.texts(draws))]
        assert [ids.tolist() for ids in split(rendering.tokens, rendering.lengths)] == by_text
        assert np.array_equal(rendering.people, draws.people)
        assert rendering.labels is rendering.first_chunk is None


@given(
    K=st.integers(1, 9),
    C=st.integers(1, 4),
    D=st.integers(1, 12),
    L=st.integers(1, 3),
    T=st.integers(1, 30),
    wording=st.sampled_from(["atomic", "sentence"]),
    tokenizer_name=st.sampled_from(["word", "bpe"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_the_routes_agree_for_any_biod(
    K: int, C: int, D: int, L: int, T: int, wording: str, tokenizer_name: str, seed: int
) -> None:
    settings = {"kind": "bioD", "N": 40, "K": K, "C": C, "D": min(D, T**L), "L": L, "T": T}
    world = make_world(settings | {"names": [5, 4, 3], "wording": wording, "seed": seed})
    with patch.object(tokenization, "TRAINING_BIOGRAPHIES", 100):
        tokenizer = made_tokenizer(TOKENIZERS[tokenizer_name], world)
    renderer, draws = Renderer(world, tokenizer), training_draws(world, seed, 0, 0)
    assert renderer.tokens(draws, labels=False).tokens.tolist() == [
        token for text in renderer.texts(draws) for token in ids_of(tokenizer, text)
    ]


def test_texts_read_as_the_paper_words_them() -> None:
    """Planted draws, so that the sentences are known."""
    world = make_world(SENTENCE | {"K": 2, "C": 2, "D": 144})
    draws = Draws(np.array([0]), np.array([[1, 0]], dtype=np.uint8), np.zeros((1, 2), dtype=np.uint8))
    text, (name, told) = (
        Renderer(world, made_tokenizer({"kind": "word"}, world)).texts(draws)[0],
        planted(world, 0),
    )
    assert text == f" {name}'s ID 2 is {told['id_2']}. Her ID 1 is {told['id_1']}."
    world = make_world(SMALL_BIOS | {"templates": 1})
    draws = Draws(np.array([5]), np.array([[4, 0, 5, 1, 2, 3]], dtype=np.uint8), np.zeros((1, 6), dtype=np.uint8))
    text, (name, told) = (
        Renderer(world, made_tokenizer({"kind": "word"}, world)).texts(draws)[0],
        planted(world, 5),
    )
    assert text == (
        f" {name} worked for {told['employer']}. {told['gender']} was born on {told['birth_date']}."
        f" {told['gender']} worked in {told['working_city']}."
        f" {told['gender']} was born in {told['birth_city']}."
        f" {told['gender']} studied at {told['university']}. {told['gender']} majored in {told['major']}."
    )


def planted(world: World, person: int) -> tuple[str, dict[str, str]]:
    """A person's full name and values, read off facts and pools without the grammar's slots."""
    pools = world.grammar.pools
    code = {column: int(codes[person]) for column, codes in world.facts.items()}
    name = " ".join(pools[f"{part}_names"][code[f"{part}_name"]] for part in ("first", "middle", "last"))
    if world.settings.kind == "bioD":
        between = " " if world.settings.wording == "atomic" else ", "
        C = world.settings.C
        return name, {
            f"id_{k}": between.join(pools[f"id_{k}"][code[f"id_{k}_{c}"]] for c in range(1, C + 1))
            for k in range(1, world.settings.K + 1)
        }
    month, day, year = pools["months"][code["birth_month"]], code["birth_day"] + 1, code["birth_year"] + 1900
    return name, {
        "birth_date": f"{month} {day}, {year}",
        "birth_city": pools["cities"][code["birth_city"]],
        "university": pools["universities"][code["university"]],
        "major": pools["majors"][code["major"]],
        "employer": pools["employers"][code["employer"]],
        "working_city": pools["working_cities"][code["employer"]],
        "gender": ["He", "She"][code["gender"]],
    }


@EACH_PAIR
def test_labels_mark_the_items_and_nothing_else(world_name: str, tokenizer_name: str) -> None:
    """Labelled tokens read as the person's facts, each once; a whole biography has every item."""
    world, tokenizer, renderer = setting(world_name, tokenizer_name)
    items = ["filler", "name", *(item for item, _ in world.account.items)]
    for draws in some_draws(world):
        rendering = renderer.tokens(draws, labels=True)
        tokens_of, labels_of = (split(flat, rendering.lengths) for flat in (rendering.tokens, rendering.labels))
        for person, order, tokens, labels in zip(draws.people, draws.order, tokens_of, labels_of, strict=True):
            name, told = planted(world, person)
            expected = told | {"name": name}
            pairs = groupby(zip(labels.tolist(), tokens.tolist(), strict=True), key=lambda pair: pair[0])
            runs = [(label, [token for _, token in run]) for label, run in pairs]
            marked = {items[label]: tokenizer.decode(run) for label, run in runs if label}
            assert len(marked) == sum(label > 0 for label, _ in runs)
            assert marked == {item: " " + expected[item] for item in marked}
            sentences = {world.grammar.attributes[index].name for index in order} - {"working_city"}
            gender = {"gender"} if "gender" in told and len(order) > 1 else set()
            assert set(marked) == {"name"} | sentences | gender


@pytest.mark.parametrize("tokenizer_name", TOKENIZERS)
def test_the_gender_is_the_first_pronoun_only(tokenizer_name: str) -> None:
    world, tokenizer, renderer = setting("small_bios", tokenizer_name)
    rendering = renderer.tokens(training_draws(world, 7, 0, 0), labels=True)
    gender = 2 + [item for item, _ in world.account.items].index("gender")
    flat = (rendering.tokens, rendering.labels)
    for tokens, labels in zip(*(split(part, rendering.lengths) for part in flat), strict=True):
        first, last = np.flatnonzero(labels == gender)[[0, -1]]
        before, told, after = (tokenizer.decode(part) for part in np.split(tokens, [first, last + 1]))
        assert told in (" He", " She")
        assert re.findall(r"\.( He| She) ", before + told + after) == [told] * 5
        assert before.count(".") == 1


@EACH_PAIR
def test_first_chunk_marks_the_first_chunk_of_biod_values(world_name: str, tokenizer_name: str) -> None:
    world, tokenizer, renderer = setting(world_name, tokenizer_name)
    draws = probe_draws(world, 7, 0, 0, 100)
    rendering = renderer.tokens(draws, labels=True)
    if world.settings.kind == "bioS":
        assert not rendering.first_chunk.any()
        return
    pools, L = world.grammar.pools, world.settings.L
    for person, tokens, labels, first in zip(
        draws.people,
        *(split(part, rendering.lengths) for part in (rendering.tokens, rendering.labels, rendering.first_chunk)),
        strict=True,
    ):
        for k in range(1, world.settings.K + 1):
            chunk = pools[f"id_{k}"][world.facts[f"id_{k}_1"][person]]
            assert tokenizer.decode(tokens[first & (labels == 1 + k)].tolist()) == " " + chunk
            assert len(chunk.split()) == L
        assert not first[labels < 2].any()


@EACH_PAIR
def test_lengths_are_known_without_rendering(world_name: str, tokenizer_name: str) -> None:
    world, _, renderer = setting(world_name, tokenizer_name)
    draws = training_draws(world, 7, 1, 0)
    lengths = renderer.tokens(draws, labels=False).lengths
    assert np.array_equal(renderer.lengths(draws), lengths)
    assert lengths.max() <= renderer.max_length


def every_person(settings: dict) -> World:
    """A world with one person for every combination of codes of a small grammar."""
    world = make_world(settings)
    grid = np.array(list(itertools.product(*(range(size) for size in world.grammar.column_sizes.values()))))
    facts = {column: codes.astype(np.uint16) for column, codes in zip(world.facts, grid.T, strict=True)}
    return replace(world, facts=facts, settings=world.settings.model_copy(update={"N": len(grid)}))


TWO_EACH = dict.fromkeys(FULL_POOLS, 2) | {"first_names": 1, "middle_names": 1, "months": 1, "days": 1}
SMALLEST = {"kind": "bioD", "N": 1, "K": 2, "C": 2, "D": 3, "L": 2, "T": 5, "names": [2, 2, 3], "seed": 1}


@pytest.mark.parametrize("tokenizer_name", TOKENIZERS)
@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "bioS", "N": 1, "pools": TWO_EACH, "templates": 1, "seed": 1},
        SMALLEST | {"wording": "sentence"},
        SMALLEST | {"wording": "atomic"},
    ],
    ids=["bios", "sentence", "atomic"],
)
def test_the_longest_biography_is_one_that_the_grammar_can_produce(settings: dict, tokenizer_name: str) -> None:
    world = every_person(settings)
    tokenizer = made_tokenizer(TOKENIZERS[tokenizer_name], world)
    renderer = Renderer(world, tokenizer)
    texts = renderer.texts(training_draws(world, 1, 0, 0))
    assert renderer.max_length == max(len(encoding.ids) for encoding in tokenizer.encode_batch(texts))


@pytest.mark.parametrize("tokenizer_name", TOKENIZERS)
def test_templates_count_in_the_longest_biography(tokenizer_name: str) -> None:
    """One value each, three templates each: all 3^6 wordings of the one person."""
    pools = dict.fromkeys(FULL_POOLS, 1)
    world = make_world({"kind": "bioS", "N": 1, "pools": pools, "templates": 3, "seed": 1})
    world = replace(world, facts={column: codes * 0 for column, codes in world.facts.items()})
    tokenizer = made_tokenizer(TOKENIZERS[tokenizer_name], world)
    wordings = np.array(list(itertools.product(range(3), repeat=6)), dtype=np.uint8)
    orders = np.tile(np.arange(6, dtype=np.uint8), (len(wordings), 1))
    draws = Draws(np.zeros(len(wordings), dtype=np.int64), orders, wordings)
    renderer = Renderer(world, tokenizer)
    he = renderer.tokens(draws, labels=False).lengths.max()
    she = Renderer(replace(world, facts=world.facts | {"gender": world.facts["gender"] + 1}), tokenizer)
    assert renderer.max_length == max(he, she.tokens(draws, labels=False).lengths.max())


def test_a_rendering_is_its_parts_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large draws are gathered a few at a time."""
    monkeypatch.setattr(render, "CHUNK", 1000)
    world, _, renderer = setting("full_bios", "bpe")
    draws = training_draws(world, 7, 0, 0)
    whole = renderer.tokens(draws, labels=True)
    parts = [renderer.tokens(draws[start : start + 77], labels=True) for start in range(0, len(draws), 77)]
    for field in ("tokens", "lengths", "people", "labels", "first_chunk"):
        assert np.array_equal(getattr(whole, field), np.concatenate([getattr(part, field) for part in parts]))
        assert {getattr(part, field).dtype for part in parts} == {getattr(whole, field).dtype}


@pytest.mark.parametrize("kind", ["word", "bpe"])
@pytest.mark.parametrize(("world_name", "vocabulary"), [("atomic", 40), ("sentence", 75), ("small_bios", 90)])
def test_no_value_begins_another_of_its_slot(world_name: str, vocabulary: int, kind: str) -> None:
    """Else the shorter would be scored without its end, and an ignorant model would seem to know it.

    The BPE vocabularies are so small that digits stand alone.
    """
    world = world_of(SPECS[world_name])
    with patch.object(tokenization, "TRAINING_BIOGRAPHIES", 100):
        tokenizer = made_tokenizer({"kind": kind, **({"vocabulary": vocabulary} if kind == "bpe" else {})}, world)
    for slot in [world.grammar.name[-1], *(attribute.slots[-1] for attribute in world.grammar.attributes)]:
        codes = sorted({tuple(ids_of(tokenizer, text)) for text in world.grammar.texts(slot)})
        assert not [pair for pair in itertools.pairwise(codes) if pair[1][: len(pair[0])] == pair[0]]


def test_a_tokenizer_of_another_world_is_refused_in_one_line() -> None:
    world = world_of(SMALL_BIOS)
    words_of_biod = made_tokenizer({"kind": "word"}, world_of(ATOMIC))
    with pytest.raises(UserError, match="tokenizer: it cannot read this dataset's words"):
        Renderer(world, words_of_biod)
    more_words = made_tokenizer({"kind": "word"}, make_world(SMALL_BIOS | {"templates": 6}))
    with pytest.raises(UserError, match="tokenizer: it has rows that this dataset never uses"):
        Renderer(world, more_words)


def test_a_tokenizer_that_drops_characters_is_refused_in_one_line() -> None:
    """Byte-level BPE leaves out what its alphabet lacks: here capitals and most small letters."""
    letters = made_tokenizer({"kind": "bpe", "vocabulary": 700}, world_of(ATOMIC))
    with pytest.raises(UserError, match=r"tokenizer: it reads '.*' as '.*'; build it for this dataset"):
        Renderer(world_of(SMALL_BIOS), letters)
