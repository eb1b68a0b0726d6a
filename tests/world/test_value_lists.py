"""Promises of the user's own value lists and templates: read whole, counted by content, bad lines named."""

import itertools
import math
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import TINY, of_stage
from test_quantize_checkpoint import make
from worlds import FULL_BIOS, SMALL_BIOS, TOKENIZERS, made_tokenizer, make_world

from capacity.config.experiment import Config
from capacity.config.load import check, read_yaml
from capacity.errors import UserError
from capacity.plan import world_specs
from capacity.plan.estimates import vocabulary
from capacity.plan.grid import resolve
from capacity.tokenizers.spec import WordVocabulary
from capacity.tokenizers.tokenization import build_tokenizer
from capacity.world.facts import check_names, load_world
from capacity.world.full_names import read_twice
from capacity.world.kinds import read_world
from capacity.world.pools import FOLDER
from capacity.world.render import Renderer
from capacity.world.sampling import training_draws


def own_spec(folder: Path, **lists: str) -> dict[str, Any]:
    """A small bioS spec with lists of its own, written as text files."""
    for name, text in lists.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return {**SMALL_BIOS, "value_lists": {name: str(folder / f"{name}.txt") for name in lists}}


def test_own_lists_replace_the_shipped_ones(tmp_path: Path) -> None:
    settings = own_spec(
        tmp_path, cities="Ürümqi\nSão Paulo\nNew York, NY\n", employers="Acme; Bern\nUmbrella; Basel, BS\n"
    )
    world = make_world(settings)
    assert world.grammar.pools["cities"] == ("Ürümqi", "São Paulo", "New York, NY")
    assert (world.grammar.pools["employers"], world.grammar.pools["working_cities"]) == (
        ("Acme", "Umbrella"),
        ("Bern", "Basel, BS"),
    )
    assert dict(world.account.items)["birth_city"] == pytest.approx(math.log2(3))
    for tokenizer in TOKENIZERS.values():
        renderer = Renderer(world, made_tokenizer(tokenizer, world))
        texts = renderer.texts(training_draws(world, 1, 0, 0))
        assert all(re.search("Acme|Umbrella", text) for text in texts)


def test_the_mark_that_some_editors_put_at_the_start_is_no_part_of_the_first_value(tmp_path: Path) -> None:
    assert make_world(own_spec(tmp_path, cities="\ufeffAalen\nUlm\n")).grammar.pools["cities"] == ("Aalen", "Ulm")


def test_an_employer_of_two_cities_is_refused(tmp_path: Path) -> None:
    """It would be counted as two, of which a model has to know one."""
    with pytest.raises(UserError, match=r"value_lists.employers: 'Acme' stands twice"):
        make_world(own_spec(tmp_path, employers="Acme; Bern\nUmbrella; Basel\nAcme; Ulm\n"))


def test_the_shipped_lists_given_as_files_make_the_shipped_world() -> None:
    """A round trip: every list through configuration, employers as `name; city`."""
    shipped = {
        name: f"scripts/capacity/world/value_lists/{name}.txt"
        for name in ("first_names", "cities", "employers", "majors")
    }
    settings = {**FULL_BIOS, "value_lists": shipped, "template_folder": "scripts/capacity/world/value_lists/templates"}
    world, plain = make_world(settings), make_world(FULL_BIOS)
    assert world.grammar == plain.grammar
    assert all(np.array_equal(world.facts[column], codes) for column, codes in plain.facts.items())


def test_official_lists_make_a_round_trip_through_the_configuration(tmp_path: Path) -> None:
    """All seven lists in plain text, employers as `name; city`, read back from the world that a job made of them."""
    names = ("first_names", "middle_names", "last_names", "cities", "universities", "majors", "employers")
    lists = {name: tmp_path / f"{name}.txt" for name in names}
    for number, (name, path) in enumerate(lists.items()):
        lines = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join(lines[number + 3 :: 7]) + "\n", encoding="utf-8")  # not what ships
    raw = read_yaml(TINY)
    given = {name: str(path) for name, path in lists.items()}
    raw["datasets"]["people"] = {"kind": "bioS", "N": 500, "value_lists": given}
    spec = of_stage(resolve(check(Config, {**raw, "study": ["prose"]}, "planted")), "datasets")
    make(tmp_path, "make_dataset.py", spec)
    world = load_world(tmp_path / spec.name)
    words = build_tokenizer(WordVocabulary(kind="word"), world).get_vocab_size()
    assert vocabulary(read_world(spec.settings), WordVocabulary(kind="word")) == words
    pools = {name: list(values) for name, values in world.grammar.pools.items()}
    pools["employers"] = [
        f"{name}; {city}" for name, city in zip(pools["employers"], pools["working_cities"], strict=True)
    ]
    for name, path in lists.items():
        assert "\n".join(pools[name]) + "\n" == path.read_text(encoding="utf-8")
    sizes = {name: len(pools[name]) for name in names}
    bits = dict(world.account.items)
    assert world.account.name_prior_bits == pytest.approx(math.log2(math.prod(sizes[name] for name in names[:3])))
    assert [bits["birth_city"], bits["university"], bits["major"], bits["employer"]] == pytest.approx(
        [math.log2(sizes[name]) for name in names[3:]]
    )
    for text in Renderer(world, made_tokenizer({"kind": "word"}, world)).texts(training_draws(world, 1, 0, 0)[:50]):
        assert any(f" {row.split(';')[0]}" in text and row.split("; ")[1] in text for row in pools["employers"])


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        ({"cities": "Bern\n\nBasel\n"}, "value_lists.cities: .*line 2: '' is empty"),
        ({"cities": "Bern\nBasel \n"}, "line 2: 'Basel ' is empty or has stray blanks"),
        ({"cities": "Bern\nBasel\nBern\n"}, "line 3: 'Bern' stands in line 1 too"),
        ({"cities": ""}, "is empty; give one a line"),
        ({"cities": "Bern\nOak\u2028dale\n"}, "line 2: 'Oak.u2028dale' is empty or has stray blanks"),
        ({"cities": "Bern\nOak\x0cdale\n"}, "line 2: 'Oak.x0cdale' is empty or has stray blanks"),
        ({"employers": "Acme, Bern\n"}, "'Acme, Bern'; write each as `name; city`"),
        ({"first_names": "Ann\n", "middle_names": "Lee\n"}, r"N: 400 people, but the name pools \[1, 1, 30\]"),
    ],
)
def test_a_list_that_cannot_be_used_is_named_with_its_line(tmp_path: Path, lists: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_world(own_spec(tmp_path, **lists))


def test_a_list_that_is_not_there_or_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "cities.txt").write_bytes("Zürich\n".encode("latin-1"))
    for file, says in ((tmp_path / "cities.txt", "not UTF-8"), (tmp_path / "none.txt", "No such file")):
        with pytest.raises(UserError, match=says):
            make_world({**SMALL_BIOS, "value_lists": {"cities": str(file)}})


def test_own_templates_are_read_and_a_bad_one_is_named(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "templates", tmp_path / "templates")
    (tmp_path / "templates" / "major.txt").write_text("{subject} loved {value} dearly.\n")
    world = make_world({**SMALL_BIOS, "template_folder": str(tmp_path / "templates")})
    assert world.grammar.attributes[3].templates == ((" loved", " dearly."),)
    (tmp_path / "templates" / "major.txt").write_text("{subject} loved {thing}.\n")
    with pytest.raises(UserError, match=r"major\.txt, line 1"):
        make_world({**SMALL_BIOS, "template_folder": str(tmp_path / "templates")})


def test_values_that_begin_another_are_counted(tmp_path: Path) -> None:
    world = make_world(own_spec(tmp_path, cities="York\nYork Town\nYorkshire\nBern\n"))
    assert world.grammar.num_beginnings() == {"cities": 1}
    assert make_world(FULL_BIOS).grammar.num_beginnings() == {}


def test_a_configuration_with_own_lists_counts_them_by_content_and_refuses_both(tmp_path: Path) -> None:
    def ids(dataset: dict[str, Any]) -> set[str]:
        raw = read_yaml(TINY)
        raw["datasets"]["people"] = {"kind": "bioS", "N": 5, **dataset}
        return {spec.id for spec in resolve(check(Config, raw, "planted")).specs.values()}

    settings = own_spec(tmp_path, cities="Bern\nBasel\n", first_names="Ann\nBob\n")
    dataset = {"value_lists": settings["value_lists"]}
    before = ids(dataset)
    own_spec(tmp_path, cities="Bern\nGenf\n")
    assert ids(dataset) != before
    with pytest.raises(UserError, match=r"value_lists\.cities: pools.cities is given too"):
        ids({**dataset, "pools": {"cities": 5}})
    with pytest.raises(UserError, match=r"N: 900 people, but the name pools \[2, 1, 1\]"):
        ids({"N": 900, "pools": {"last_names": 1, "middle_names": 1}, **dataset})


def test_more_full_names_than_a_bijection_can_number_are_refused(tmp_path: Path) -> None:
    grammar = make_world(SMALL_BIOS).grammar
    long = replace(grammar, pools={**grammar.pools, **dict.fromkeys(("first_names", "last_names"), range(2**31))})
    middle = len(grammar.pools["middle_names"])
    with pytest.raises(UserError, match=f"give {middle * 2**62} full names; use shorter lists, {2**62} at most"):
        check_names(long, 5)


def test_names_that_are_two_people_are_refused_and_others_are_not(tmp_path: Path) -> None:
    def plan(**lists: str) -> None:
        raw = read_yaml(TINY)
        own = own_spec(tmp_path, **lists)["value_lists"]
        raw["datasets"]["people"] = {"kind": "bioS", "N": 4, "value_lists": own}
        resolve(check(Config, raw, "planted"))

    names = {"first_names": "Mary\nMary Ann\n", "last_names": "Fox\nvan den Berg\n"}
    with pytest.raises(UserError, match="value_lists: 'Mary Ann Lee Fox' is two full names of these lists"):
        plan(**names, middle_names="Lee\nAnn Lee\n")
    plan(**names, middle_names="Lee\nAnn\n")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.text("ab ", min_size=1, max_size=5), min_size=1, max_size=4), min_size=2, max_size=3))
def test_a_name_is_found_twice_where_two_choices_of_parts_give_it(parts: list[list[str]]) -> None:
    parts = [sorted({" ".join(value.split()) for value in values} - {""}) or ["a"] for values in parts]
    counts = Counter(" ".join(choice) for choice in itertools.product(*parts))
    twice = {name for name, count in counts.items() if count > 1}
    found = read_twice(parts)
    assert found in twice if twice else found is None


def test_a_value_with_the_token_that_ends_texts_is_refused_before_any_job(tmp_path: Path) -> None:
    raw = read_yaml(TINY)
    lists = own_spec(tmp_path, cities="Bern\nBa<|endoftext|>sel\n")["value_lists"]
    raw["datasets"]["people"] = {"kind": "bioS", "N": 4, "value_lists": lists}
    with pytest.raises(UserError, match=r"value_lists.cities: 'Ba<\|endoftext\|>sel' holds <\|endoftext\|>"):
        resolve(check(Config, raw, "planted"))


def test_lists_are_read_once_for_all_runs_and_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "cities.txt"
    file.write_text("Bern\nBasel\nGenf\nChur\n")
    raw = read_yaml(TINY)
    raw["datasets"]["people"]["value_lists"] = {"cities": str(file)}
    raw["datasets"]["people"]["pools"].pop("cities")
    raw["studies"]["prose"]["seeds"] = [1, 2, 3]
    read: list[int] = []
    look = world_specs.make_grammar
    monkeypatch.setattr(world_specs, "make_grammar", lambda world: read.append(world.seed) or look(world))
    config = check(Config, {**raw, "study": ["prose"]}, "planted")
    digests = [of_stage(resolve(config), "datasets").settings["files"][str(file)]]
    assert len(read) == 1
    file.write_text("Bern\nBasel\nGenf\nZug\nThun\n")
    digests.append(of_stage(resolve(config), "datasets").settings["files"][str(file)])
    assert len(read) == 2
    assert len(set(digests)) == 2
