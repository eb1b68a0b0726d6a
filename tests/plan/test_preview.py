"""Promises of the preview: it marks just what is scored, adds up to the bits on offer, and makes few people."""

import re
from pathlib import Path
from typing import Any

import pytest
from worlds import ATOMIC, FULL_BIOS, SMALL_BIOS, TOKENIZERS, made_tokenizer, make_world, settings_of, world_of

from capacity.plan.preview import SAMPLE, account_lines, labelled_texts, sample_world, size_lines
from capacity.plan.table_notes import table_notes
from capacity.tables.bits import bits_offered
from capacity.world.dependence import repeated_columns
from capacity.world.render import Renderer
from capacity.world.sampling import training_draws


@pytest.mark.parametrize("tokenizer_name", TOKENIZERS)
def test_marks_stand_around_items_and_the_text_is_the_trainings(tokenizer_name: str) -> None:
    world = world_of(SMALL_BIOS)
    tokenizer = made_tokenizer(TOKENIZERS[tokenizer_name], world)
    draws = training_draws(world, world.seed, 0, 0)[:5]
    texts = labelled_texts(world, tokenizer, 5, colour=False)
    for text, plain in zip(texts, Renderer(world, tokenizer).texts(draws), strict=True):
        assert re.sub(r"\[\w+: (.*?)\]", r"\1", text) == plain
        items = ["name", *(item for item, _ in world.account.items)]
        assert sorted(re.findall(r"\[(\w+): ", text)) == sorted(items)
    coloured = labelled_texts(world, tokenizer, 5, colour=True)
    assert [re.sub(r"\x1b\[\d+m", "", text) for text in coloured] == Renderer(world, tokenizer).texts(draws)


def test_junk_is_shown_without_marks() -> None:
    world = make_world(ATOMIC | {"junk": {"people": 9, "share": 0.5}, "tag": True})
    texts = labelled_texts(world, made_tokenizer({"kind": "word"}, world), 2, colour=False)
    assert [text.startswith("(junk)") for text in texts] == [False, False, True, True]
    assert "TAG" in texts[0]
    assert "TAG" not in texts[2]
    assert "[" not in texts[2]


@pytest.mark.parametrize("settings", [ATOMIC | {"D": 16}, SMALL_BIOS], ids=["bioD", "bioS"])
def test_the_account_adds_up_to_what_is_offered(settings: dict) -> None:
    world = make_world(settings)
    line = next(line for line in account_lines(world, world.N) if line.startswith("the dataset"))
    assert float(line.split()[2]) == pytest.approx(bits_offered(world.N, world.account), rel=1e-3)


def test_of_a_large_world_only_a_sample_is_made_and_all_are_counted() -> None:
    settings = FULL_BIOS | {"N": 10_000_000}
    world = sample_world(settings_of(settings))
    assert world.N == SAMPLE
    line = next(line for line in account_lines(world, settings["N"]) if line.startswith("the dataset"))
    assert float(line.split()[2]) == pytest.approx(515.9e6, rel=1e-3)  # arXiv 2404.05405, 10M people
    small = make_world(FULL_BIOS)
    assert all((world.facts[column][:800] == codes).all() for column, codes in small.facts.items())
    tokenizer = made_tokenizer({"kind": "word"}, world)
    lines = size_lines(world, Renderer(world, tokenizer), settings["N"], {"long": 10})
    tokens = int(re.search(r"exposures are ([\d,]+) tokens", lines[-1])[1].replace(",", ""))
    assert 5e9 < tokens < 9e9


def records(tmp_path: Path, text: str) -> dict[str, Any]:
    (tmp_path / "t.csv").write_text(text)
    header, *rows = text.splitlines()
    spec = {"kind": "records", "file": str(tmp_path / "t.csv"), "entity": "e", "missing": "error", "seed": 1}
    return {**spec, "attributes": header.split(",")[1:], "N": len(rows), "account": "uniform"}


def test_a_column_that_follows_from_another_is_named(tmp_path: Path) -> None:
    rows = [f"n{i},{'xyz'[i % 3]},{'abc'[i % 3]},{'st'[i % 3 // 2]},{'uv'[i % 2]},k{i}" for i in range(24)]
    world = make_world(records(tmp_path, "e,one,same,coarse,free,key\n" + "\n".join(rows) + "\n"))
    notes = [line for line in account_lines(world, world.N) if line.startswith("note:")]
    assert [re.findall(r"note: (\w+) follows from (\w+),", line) for line in notes] == [
        [("same", "one")],
        [("coarse", "one")],
    ]


def test_a_copy_is_named_though_no_value_stands_twice(tmp_path: Path) -> None:
    rows = [f"n{i},k{i},k{i},n{i},k{i + 1}" for i in range(24)]
    world = make_world(records(tmp_path, "e,one,copy,name_again,other\n" + "\n".join(rows) + "\n"))
    assert repeated_columns(world) == [("copy", "one"), ("name_again", "e")]


def test_what_frequencies_tell_is_named_and_left_out_by_their_account(tmp_path: Path) -> None:
    spec = records(tmp_path, "e,rare,even\n" + "".join(f"n{i},{i // 99},{i % 4}\n" for i in range(100)))
    note = (
        "how frequent values are tells 0.919 of 3.000 bits, 0.919 of them in rare; account: frequencies leaves them out"
    )
    assert table_notes(make_world(spec)) == [note]
    assert table_notes(make_world({**spec, "account": "frequencies"})) == []


def test_cells_that_may_mean_none_and_texts_that_look_alike_are_named(tmp_path: Path) -> None:
    cells = ["NA", "nan", "Berlin", "berlin", "a\u200bb", "ab"]
    spec = records(tmp_path, "e,city,n\n" + "".join(f"e{i},{cells[i % 6]},{i % 2}\n" for i in range(24)))
    named = [note for note in table_notes(make_world(spec)) if "follows" not in note]
    assert named == [
        "8 cells of city are NA, nan, values like others; leave them empty if they mean none",
        "city: 'Berlin' and 'berlin' are two values; write them alike if they are one",
    ]


@pytest.mark.parametrize(("one", "other"), [("1", "1.0"), ("2.50", "2.5"), ("7", "+7"), ("3", "03")])
def test_a_number_that_is_written_in_two_ways_is_named(tmp_path: Path, one: str, other: str) -> None:
    cells = [one, other, "12", "1.2"]
    spec = records(tmp_path, "e,size\n" + "".join(f"e{i},{cells[i % 4]}\n" for i in range(24)))
    assert table_notes(make_world(spec)) == [
        f"size: {one!r} and {other!r} are two values; write them alike if they are one"
    ]


def test_what_controls_a_terminal_is_written_out(tmp_path: Path) -> None:
    world = make_world(records(tmp_path, "e,ci\x1b[31mty\nP1,a\x1b]0;x\x07\nP2,b\u202ec\n"))
    tokenizer = made_tokenizer({"kind": "word"}, world)
    shown = [*labelled_texts(world, tokenizer, 4, colour=False), *account_lines(world, world.N)]
    assert "\\x1b[31m" in "".join(shown)
    assert all(line.isprintable() for line in shown), shown
