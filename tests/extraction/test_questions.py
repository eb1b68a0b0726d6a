"""Questions: nobody who is held out is in the text of fine-tuning, and a tokenizer reads names and values as before."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import ATOMIC, SENTENCE, SMALL_BIOS, TOKENIZERS, ids_of, made_tokenizer, world_of

from capacity.errors import UserError
from capacity.extraction.people import split_sizes
from capacity.extraction.questions import (
    GROUPS,
    answers,
    asked_attributes,
    check_reads,
    extended,
    full_names,
    groups_of,
    read_asked,
    read_texts,
    rows_of,
    texts,
    write_questions,
)
from capacity.extraction.spec import QuestionSettings
from capacity.extraction.wordings import wordings_of
from capacity.world.facts import World
from capacity.world.render import Renderer

COUNTRIES = {
    "kind": "records", "N": 60, "file": "examples/countries.csv", "entity": "country", "missing": "error",
    "attributes": ["capital", "currency", "continent", "code"], "phrases": {}, "account": "uniform", "seed": 1,
}  # fmt: skip
KINDS = {
    "atomic": ATOMIC, "sentence": {**SENTENCE, "N": 60}, "bioS": SMALL_BIOS,
    "bioS-simple": {**SMALL_BIOS, "paragraphs": 1}, "records": COUNTRIES,
}  # fmt: skip
SPEC = QuestionSettings(asked=0.5, choosing=0.2, wordings={}, seed=7)


@pytest.fixture(params=[(kind, tokenizer) for kind in KINDS for tokenizer in TOKENIZERS], ids="-".join)
def pair(request):
    """A world and its tokenizer."""
    kind, tokenizer = request.param
    vocabulary = {"kind": "bpe", "vocabulary": 1200} if tokenizer == "bpe" else TOKENIZERS[tokenizer]
    world = world_of(KINDS[kind])
    return world, made_tokenizer(vocabulary, world)


def written(world: World, tokenizer: Any, folder: Path, **changes: Any) -> Any:
    return write_questions(world, tokenizer, SPEC.model_copy(update=changes), folder)


def test_no_held_out_person_is_in_the_text_of_fine_tuning_under_any_wording(pair: Any, tmp_path: Path):
    world, tokenizer = pair
    written(world, tokenizer, tmp_path)
    tables = [read_texts(tmp_path, group) for group in GROUPS]
    people = [set(table["person"].to_pylist()) for table in tables]
    assert sum(map(len, people)) == len(set.union(*people)) == world.N
    read = "\n".join(
        p + a for p, a in zip(tables[0]["prompt"].to_pylist(), tables[0]["answer"].to_pylist(), strict=True)
    )
    names = full_names(world, np.arange(world.N))
    for person, name in enumerate(names):
        whole = f"{name} " if not world.grammar.name[-1].after else name
        inside = whole in read or f"{name}?" in read or f"{name}." in read
        assert inside == (person in people[0]), name
    kinds = {tuple(row.values()) for row in tables[0].select(["attribute", "wording"]).to_pylist()}
    assert len(kinds) == sum(map(len, json.loads((tmp_path / "wordings.json").read_text()).values()))


def test_every_question_holds_its_person_and_every_answer_is_the_fact(pair: Any, tmp_path: Path):
    world, tokenizer = pair
    known = written(world, tokenizer, tmp_path)
    renderer = Renderer(world, tokenizer)
    for group in GROUPS:
        table = read_texts(tmp_path, group)
        for row in table.slice(0, 40).to_pylist():
            person = np.array([row["person"]])
            assert full_names(world, person)[0] in row["prompt"]
            assert answers(world, row["attribute"], person) == [row["answer"]]
            assert ids_of(known, row["answer"]) == ids_of(tokenizer, row["answer"])
            assert max(ids_of(known, row["answer"])) < renderer.vocab_size


def test_biographies_read_with_the_tokenizer_of_questions_as_with_their_own(pair: Any, tmp_path: Path):
    world, tokenizer = pair
    known = written(world, tokenizer, tmp_path)
    pieces = world.grammar.pieces()
    assert [ids_of(known, text) for text in pieces] == [ids_of(tokenizer, text) for text in pieces]
    assert rows_of(known) > Renderer(world, tokenizer).vocab_size
    prompts = read_texts(tmp_path, "held_out")["prompt"].to_pylist()[:50]
    assert known.decode_batch([ids_of(known, text) for text in prompts]) == prompts


@given(st.integers(2, 5000), st.floats(0.01, 0.99), st.floats(0, 0.9))
def test_groups_share_out_all_people(N: int, asked: float, choosing: float):
    sizes = split_sizes(N, asked, choosing)
    assert sizes.asked + sizes.choosing + sizes.held_out == N
    assert min(sizes.asked, sizes.choosing, sizes.held_out) >= 0
    assert abs(sizes.asked - N * asked) <= 0.5


def test_another_seed_asks_other_people_and_the_same_one_the_same():
    world = world_of(ATOMIC)
    one, again, other = (groups_of(world, SPEC.model_copy(update={"seed": seed}))[0] for seed in (1, 1, 2))
    assert (one == again).all()
    assert len(np.intersect1d(one, other)) < 0.7 * len(one)


def test_every_attribute_is_asked_and_what_follows_from_another_is_not():
    for kind, settings in KINDS.items():
        world = world_of(settings)
        items = [attribute.name for attribute in world.grammar.attributes if attribute.is_item]
        assert list(asked_attributes(world, {})) == items, kind
    assert "working_city" not in asked_attributes(world_of(SMALL_BIOS), {})
    assert wordings_of({"kind": "random"}, {}) == {}


def test_no_question_is_longer_than_the_lengths_say(pair: Any, tmp_path: Path):
    world, tokenizer = pair
    known = written(world, tokenizer, tmp_path)
    lengths = read_asked(tmp_path, known).lengths
    for column, most in (("prompt", lengths.prompt), ("answer", lengths.answer)):
        found = [len(ids_of(known, t)) for group in GROUPS for t in read_texts(tmp_path, group)[column].to_pylist()]
        assert max(found) <= most
    assert lengths.positions == 1 + lengths.prompt + lengths.answer


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_the_lengths_are_those_of_the_longest_question_where_everybody_lives_in_the_world(
    tokenizer: str, tmp_path: Path
):
    pools = {**SMALL_BIOS["pools"], "first_names": 3, "middle_names": 3, "last_names": 3, "majors": 1, "cities": 1}
    pools |= {"months": 1, "days": 1, "years": 1, "universities": 1, "employers": 1}
    world = world_of({**SMALL_BIOS, "N": 27, "pools": pools})
    known = written(world, made_tokenizer(TOKENIZERS[tokenizer], world), tmp_path)
    lengths = read_asked(tmp_path, known).lengths
    for column, most in (("prompt", lengths.prompt), ("answer", lengths.answer)):
        found = [len(ids_of(known, t)) for group in GROUPS for t in read_texts(tmp_path, group)[column].to_pylist()]
        assert max(found) == most


def test_own_wordings_take_the_place_of_those_that_ship(tmp_path: Path):
    world = world_of(SMALL_BIOS)
    own = {"major": ["{name} majored in"]}
    written(world, made_tokenizer({"kind": "word"}, world), tmp_path, wordings=own)
    table = read_texts(tmp_path, "asked").to_pylist()
    majors = [row["prompt"] for row in table if row["attribute"] == "major"]
    assert all(prompt.endswith(" majored in") for prompt in majors)
    assert len(majors) == len({row["person"] for row in table})


def test_a_tokenizer_that_reads_a_name_otherwise_in_a_question_is_refused():
    world = world_of(SMALL_BIOS)
    tokenizer = made_tokenizer({"kind": "word"}, world)
    people = np.arange(5)
    wordings = {"major": ["({name}) majored in"]}
    with pytest.raises(ValueError, match="not enough values"):
        texts(world, wordings, people)  # the configuration asks for a blank in front of the name
    table = texts(world, {"major": ["{name}x majored in"]}, people)
    known = extended(tokenizer, [f"{name}x majored in" for name in full_names(world, people)])
    with pytest.raises(UserError, match="otherwise than a biography"):
        check_reads(tokenizer, known, table, full_names(world, people))
