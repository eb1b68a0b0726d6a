"""How files and options become values: numbers mean what they seem to, mistakes are told at once, each by its file."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from capacity.cli.arguments import config_parser, read_config
from capacity.config.load import load_config, parse_overrides
from capacity.config.yaml_files import read_yaml
from capacity.errors import UserError
from capacity.plan.grid import resolve

ROOT = Path(__file__).resolve().parents[2]


def complaint(*files: Path, words: tuple[str, ...] = ()) -> list[str]:
    """The lines that a configuration's mistakes give."""
    with pytest.raises(UserError) as caught:
        resolve(load_config(list(files), parse_overrides(words)))
    return str(caught.value).split("\n")


def laid_over(folder: Path, text: str) -> list[str]:
    """The lines that a file gives which is laid over the shipped configuration."""
    path = folder / "change.yaml"
    path.write_text(text, encoding="utf-8")
    return complaint(ROOT / "config.yaml", path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("074", 74), ("0o17", 15), ("0x1F", 31), ("-3", -3), ("1:00", "1:00"), ("190:20:30", "190:20:30"),
        ("1_000", "1_000"), ("2026-01-01", "2026-01-01"), ("yes", "yes"), ("off", "off"), ("true", True), ("~", None),
        ("", None), ("1.", 1.0), (".5", 0.5), ("1e3", 1000.0), ("'1'", "1"), ("=", "="),
    ],
)  # fmt: skip
def test_a_plain_value_is_what_it_seems_to_be(tmp_path: Path, text: str, value: Any) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"key: {text}\n")
    read = read_yaml(path)["key"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x: &x {a: 1}\ny:\n  <<: *x\n", ["line 3", "merge keys (<<) are not read"]),
        ("x: &x [*x]\n", ["line 1", "stands for what holds it"]),
        ("x: !!binary aGk=\n", ["line 1", "!!binary", "plain value"]),
        ("x: !!set {a}\n", ["!!set"]),
        ("x: !!timestamp 2026-01-01\n", ["!!timestamp"]),
        ("x: !!python/object:a.B {}\n", ["!!python/object"]),
        ("x: !!int a\n", ["'a'", "!!int"]),
        ('x: "a\\0b"\n', ["control character '\\x00'"]),
        ('x: "\\uD800"\n', ["not valid YAML"]),
        ("? [1, 2]\n: 3\n", ["a key that is a list"]),
        ("x: " + "[" * 150 + "]" * 150, ["nested more than 100 deep"]),
        ("x: " + "9" * 2000, ["2000 digits"]),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{key}: &{key} [{', '.join(['*' + old] * 10)}]\n" for old, key in zip("abcdef", "bcdefg", strict=True)
        ), ["more than 300,000 values"]),
    ],
)  # fmt: skip
def test_what_no_plain_file_needs_is_refused_in_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_an_alias_is_the_value_that_it_stands_for(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: &a [1, 2]\nb: *a\n")
    assert read_yaml(path) == {"a": [1, 2], "b": [1, 2]}


def special(folder: Path, kind: str) -> Path:
    """A place in the file system that no one should read to its end."""
    path = folder / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(os.path.relpath(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    return path


SPECIAL = ("fifo", "socket", "device", "folder")


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_configuration_that_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UserError, match="no regular file"):
        read_yaml(special(tmp_path, kind))


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("key", ["file", "value_lists", "claims", "folder", "template_folder"])
def test_a_file_that_a_key_names_must_be_regular(tmp_path: Path, kind: str, key: str) -> None:
    place = special(tmp_path, kind)
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "birth_date.txt").symlink_to(place)
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").symlink_to(place)
    change = {
        "file": f"study: [own-facts]\ndatasets: {{countries: {{file: {place}}}}}",
        "value_lists": f"study: [biographies]\ndatasets: {{biographies: {{value_lists: {{majors: {place}}}}}}}",
        "template_folder": f"study: [biographies]\ndatasets: {{biographies: {{template_folder: {folder}}}}}",
        "folder": f"tokenizers: {{word: {{kind: pretrained, folder: {tokenizer}}}}}",
        "claims": f"claims: {place}",
    }[key]
    if key == "value_lists":
        pools = "{first_names: 40, middle_names: 40, last_names: 40, employers: 32}"
        raw = yaml.safe_load((ROOT / "config.yaml").read_text())
        raw["datasets"]["biographies"] |= {"pools": yaml.safe_load(pools), "value_lists": {"majors": str(place)}}
        path = tmp_path / "whole.yaml"
        path.write_text(yaml.safe_dump(raw | {"study": ["biographies"]}))
        lines = complaint(path)
    else:
        lines = laid_over(tmp_path, change)
    assert len(lines) == 1
    assert "no regular file" in lines[0] or "has no tokenizer.json" in lines[0]


def test_every_mistake_is_told_a_line_each_with_the_file_that_made_it(tmp_path: Path) -> None:
    lines = laid_over(
        tmp_path,
        "regimes: {long: {lr: fast, exposure: 3}, short: {batch: 0}}\n"
        "datasets: {atomic: {N: many}, extra: {kind: bioD}}\nquantisers: {}\n",
    )
    change = tmp_path / "change.yaml"
    assert all(line.startswith(f"{change}: ") for line in lines), lines
    for word in ("regimes.long.lr: 'fast'", "regimes.long: unknown key 'exposure'", "regimes.short.batch: 0",
                 "datasets.atomic.N: 'many'", "datasets.extra.K", "unknown key 'quantisers'"):  # fmt: skip
        assert sum(word in line for line in lines) == 1, (word, lines)


def test_a_fault_is_blamed_on_the_file_or_option_that_says_it(tmp_path: Path) -> None:
    base = tmp_path / "config.yaml"
    raw = yaml.safe_load((ROOT / "config.yaml").read_text())
    raw["regimes"]["short"]["batch"] = -1
    base.write_text(yaml.safe_dump(raw))
    change = tmp_path / "scale.yaml"
    change.write_text("regimes: {long: {batch: -2}}\n")
    lines = complaint(base, change, words=("display={title: 3}",))
    assert sorted(line.partition(" is not allowed")[0] for line in lines) == [
        "--config: display.title: 3", f"{base}: regimes.short.batch: -1", f"{change}: regimes.long.batch: -2",
    ]  # fmt: skip


def test_no_more_than_twenty_mistakes_are_told(tmp_path: Path) -> None:
    lines = laid_over(tmp_path, "models: {" + ", ".join(f"m{i}: {{tied: 3}}" for i in range(30)) + "}\n")
    assert len(lines) == 21
    assert lines[-1] == "and 10 more mistakes"


def test_a_hundred_thousand_mistakes_are_counted_in_seconds(tmp_path: Path) -> None:
    began = time.process_time()
    lines = laid_over(tmp_path, f"regimes: {{short: {{lr: [{', '.join(['null'] * 100_000)}]}}}}\n")
    assert lines[-1] == "and 99,980 more mistakes"
    assert time.process_time() - began < 60  # 500 s where each looks through all of the list


def test_what_a_key_may_be_is_told_in_one_line(tmp_path: Path) -> None:
    lines = laid_over(tmp_path, "scales: {laptop: {compile: 3}}\n")
    assert len(lines) == 1
    assert "valid boolean, or input should be 'auto'" in lines[0]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("hf", "{model_type: mamba, x: .nan}", ["nan is not allowed", "finite"]),
        ("hf", "{model_type: mamba, x: [1, {y: .inf}]}", ["inf is not allowed"]),
        ("hf", "{model_type: mamba, 1: 2}", ["models.own.hf.1: 1 is not allowed", "valid string"]),
        ("hf", "{model_type: mamba, x: 99999999999999999999}", ["below 2^63"]),
        ("hf", "{model_type: ../../x}", ["needs model_type"]),
        ("hf", "{model_type: mamba, num_hidden_layers: 100000000}", ["100000000 layers", "at most 1000"]),
        ("hf", f"{{model_type: mamba, x: {'[' * 30}{']' * 30}}}", ["nested more than 20"]),
        ("settings", "{x: .nan}", ["nan is not allowed"]),
    ],
)
def test_what_a_specification_cannot_hold_is_refused(tmp_path: Path, key: str, value: str, words: list[str]) -> None:
    other = "python: 'a:b', " if key == "settings" else ""
    line = " ".join(laid_over(tmp_path, f"models: {{own: {{{other}{key}: {value}}}}}\n"))
    for word in ["models.own", *words]:
        assert word in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("studies: {base-law: {seeds: [18446744073709551616]}}", ["studies.base-law.seeds.0", "less than 4294967296"]),
        ("datasets: {atomic: {K: 251}}", ["datasets.atomic.K: 251", "250"]),
        ("datasets: {atomic: {K: 250, D: 100000, T: 100000}}", ["K: 250", "25,000,000 different texts", "5,000,000"]),
        ("datasets: {atomic: {C: 1000, L: 1000}}", ["4,000,000 letters a person", "100,000"]),
        ("datasets: {atomic: {L: 1000, T: 100000}}", ["L: 1000 letters of T: 100000", "4000 digits"]),
        ("datasets: {biographies: {templates: 257}}", ["datasets.biographies.templates: 257", "256"]),
        ("datasets: {atomic: {L: 1000000000, T: 1000000000}}", ["datasets.atomic.L", "1000"]),
        ("datasets: {atomic: {names: [401, 4, 4], wording: sentence}}", ["401 first names", "400 ship"]),
        ("datasets: {atomic: {N: 10000000000000000000000}}", ["datasets.atomic.N", "1000000000"]),
        ("models: {gpt2-2-2: {architecture: gpt2-100000-2}}", ["gpt2-100000-2", "1000 layers"]),
        ("models: {gpt2-2-2: {architecture: gpt2-1000-1000, head_dim: 1000}}",
         ["models.gpt2-2-2", "1.2e+16 parameters"]),
        ("studies: {base-law: {vary: {regime.warmup_steps: [" + ", ".join(map(str, range(20000))) + "]}}}",
         ["240,000 of them of base-law", "at most 100,000"]),
        ("studies: {base-law: {vary: {dataset.junk: [.nan]}}}", ["vary.dataset.junk", "nan is not allowed"]),
    ],
)  # fmt: skip
def test_what_is_too_large_to_make_is_refused_with_its_bound(tmp_path: Path, text: str, words: list[str]) -> None:
    line = " ".join(laid_over(tmp_path, f"study: [base-law]\n{text}\n"))
    for word in words:
        assert word in line, line


def test_the_largest_seed_and_number_of_attributes_are_made(tmp_path: Path) -> None:
    from worlds import make_world

    settings = {
        "kind": "bioD", "N": 3, "K": 250, "C": 1, "D": 2, "L": 1, "T": 2, "names": [2, 2, 2], "wording": "atomic",
        "seed": 2**32 - 1,
    }  # fmt: skip
    assert len(make_world(settings).grammar.attributes) == 250


def test_a_study_of_grids_alone_needs_nothing_of_its_own(tmp_path: Path) -> None:
    whole = "datasets: [atomic], tokenizers: [word], models: [gpt2-2-2], regimes: [short], seeds: [1]"
    change = tmp_path / "change.yaml"
    change.write_text(f"study: [own]\nstudies: {{own: {{question: q, paper: p, grids: [{{{whole}}}, {{{whole}}}]}}}}\n")
    grid = resolve(load_config([ROOT / "config.yaml", change]))
    assert {row["model"] for row in grid.table.settings["rows"]} == {"gpt2-2-2"}
    change.write_text(change.read_text().replace("models: [gpt2-2-2], ", "", 1))
    lines = complaint(ROOT / "config.yaml", change)
    assert lines == [f"{change}: studies.own: models: missing; name at least one, here or in each of grids"]


@pytest.mark.parametrize("word", ["foo", "a.b=1", "=1", "1a=2", ""])
def test_an_option_that_is_no_key_and_value_is_one_line(word: str) -> None:
    with pytest.raises(UserError, match="not KEY=VALUE") as caught:
        parse_overrides([word])
    assert "\n" not in str(caught.value)


def test_a_message_is_one_line_whatever_a_value_holds() -> None:
    assert str(UserError("file: a\nb\x1b[31m\udcff: no such file")) == "file: a\\nb\\x1b[31m\\udcff: no such file"


@pytest.mark.parametrize("words", [["--config", "foo"], ["--configfile", "missing.yaml"], ["--config", "a.b=1"]])
def test_commands_for_people_end_in_one_line(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    answer = subprocess.run(
        [sys.executable, "-m", "capacity.cli", "plan", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stderr.startswith("error: ")


def test_documentation_is_the_same_where_python_dedents_docstrings() -> None:
    from pydantic import BaseModel

    from capacity.cli import document_config

    class Indented(BaseModel):
        key: int

    class Dedented(Indented):
        pass

    Indented.__doc__ = "First.\n\n    Second,\n    third.\n    "
    Dedented.__doc__ = "First.\n\nSecond,\nthird.\n"
    text = document_config._section("Model", Indented)
    assert text == document_config._section("Model", Dedented)
    assert "\nSecond,\nthird.\n" in text


def test_a_question_mark_that_the_engine_reads_otherwise_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("studies:\n  x: {question: why?, paper: p.}\n")
    with pytest.raises(UserError, match=r"a\.yaml, line 2: .*'why\?' between braces or brackets; put quotes around it"):
        read_yaml(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text('studies:\n  x: {question: "why?", paper: p.}\n  y:\n    question: why?\n')
    assert read_yaml(tmp_path / "a.yaml")["studies"]["y"] == {"question": "why?"}


def test_patterns_are_told_in_words(tmp_path: Path) -> None:
    for text, words in (
        ("models: {g4.x: {architecture: gpt2-2-2, head_dim: 8}}", "'g4.x' is not allowed: a name has letters of ASCII"),
        ("studies: {sizes: {vary: {quantizer.bits: [4, 8]}}}", "of quantizers name several in `quantizers`"),
    ):
        change = tmp_path / "change.yaml"
        change.write_text(text)
        with pytest.raises(UserError, match=re.escape(words)):
            load_config([ROOT / "config.yaml", change])


def test_studies_that_are_named_one_by_one_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    args = config_parser(None).parse_args(["--study", "sizes", "--study", "base-law,experts"])
    assert read_config(args).study == ["sizes", "base-law", "experts"]
