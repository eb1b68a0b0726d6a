"""Promises of the shipped value pools and sentence templates in scripts/capacity/world/value_lists."""

import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Regex, pre_tokenizers

POOLS = Path(__file__).resolve().parents[2] / "scripts" / "capacity" / "world" / "value_lists"

POOL_SIZES = {  # as in arXiv 2404.05405 (bioS)
    "first_names": 400,
    "middle_names": 400,
    "last_names": 1000,
    "cities": 200,
    "universities": 300,
    "majors": 100,
    "employers": 263,
}
TEMPLATE_COUNTS = {  # as many as in the generator that its authors released
    "birth_date": 46,
    "birth_city": 49,
    "university": 49,
    "major": 52,
    "employer": 48,
    "working_city": 47,
}
STATES = re.compile(
    "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]"
)
GENDERED = {"he", "him", "himself", "his", "she", "her", "hers", "herself"}
DATES = ["January 1, 1900", "May 28, 1987", "September 15, 2099"]
VALUE_SHAPE = re.compile(r"[A-Za-z0-9]+([ -][A-Za-z0-9]+)*")
CITY_SHAPE = re.compile(r"[A-Za-z]+([ -][A-Za-z]+)*, ([A-Z]{2})")

# The splits before any merge: GPT-2's, and the one of Llama 3 and GPT-4.
PRE_TOKENIZERS = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    "llama3": pre_tokenizers.Split(
        Regex(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        "isolated",
    ),
}


def entries(stem: str) -> list[str]:
    """Lines of a pool file, named without its suffix and relative to the pools folder."""
    return (POOLS / f"{stem}.txt").read_text(encoding="ascii").removesuffix("\n").split("\n")


def employer_rows() -> list[tuple[str, str]]:
    """(employer, headquarters city) of every line; ValueError where a line has not exactly one "; "."""
    rows = []
    for line in entries("employers"):
        employer, city = line.split("; ")
        rows.append((employer, city))
    return rows


def values_of(attribute: str) -> list[str]:
    """Every value that can fill the slot of an attribute's templates (three dates stand for the 67,200)."""
    if attribute == "birth_date":
        return DATES
    if attribute == "employer":
        return [employer for employer, _ in employer_rows()]
    if attribute == "working_city":
        return [city for _, city in employer_rows()]
    return entries({"birth_city": "cities", "university": "universities", "major": "majors"}[attribute])


def pieces(pre_tokenizer: pre_tokenizers.PreTokenizer, text: str) -> list[str]:
    """The pieces that a tokenizer never merges across."""
    return [piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)] if text else []


ALL_FILES = {**POOL_SIZES, **{f"templates/{name}": count for name, count in TEMPLATE_COUNTS.items()}}
ALL_TEMPLATES = [(name, template) for name in TEMPLATE_COUNTS for template in entries(f"templates/{name}")]


def test_the_folder_holds_exactly_the_promised_files() -> None:
    found = {path.relative_to(POOLS).with_suffix("").as_posix() for path in POOLS.rglob("*.txt")}
    assert found == set(ALL_FILES)


@pytest.mark.parametrize(("stem", "size"), ALL_FILES.items())
def test_every_file_has_the_published_number_of_distinct_lines(stem: str, size: int) -> None:
    lines = entries(stem)
    assert len(lines) == size
    assert [line for line, count in Counter(lines).items() if count > 1] == []
    assert [line for line in lines if line != line.strip() or "  " in line or not line] == []
    assert (POOLS / f"{stem}.txt").read_bytes().endswith(b"\n")
    assert b"\r" not in (POOLS / f"{stem}.txt").read_bytes()


@pytest.mark.parametrize("stem", ["first_names", "middle_names", "last_names", "universities", "majors"])
def test_values_are_plain_words_that_end_in_a_letter_or_digit(stem: str) -> None:
    assert [value for value in entries(stem) if not VALUE_SHAPE.fullmatch(value)] == []


@pytest.mark.parametrize("stem", ["first_names", "middle_names", "last_names"])
def test_a_part_of_a_name_is_one_word(stem: str) -> None:
    assert [value for value in entries(stem) if not re.fullmatch(r"[A-Z][A-Za-z]+", value)] == []


def test_every_city_reads_city_comma_state() -> None:
    for city in entries("cities") + [city for _, city in employer_rows()]:
        match = CITY_SHAPE.fullmatch(city)
        assert match is not None, city
        assert STATES.fullmatch(match[2]), city


def test_every_employer_has_one_plain_name_and_one_city() -> None:
    names = [employer for employer, _ in employer_rows()]
    assert [name for name in names if not VALUE_SHAPE.fullmatch(name)] == []
    assert len(set(names)) == len(names)


def test_the_working_city_is_spread_as_in_the_paper() -> None:
    """The paper's list has 133 cities, New York at 36 of 263, and 6.31 bits under uniform employers."""
    counts = Counter(city for _, city in employer_rows())
    total = counts.total()
    entropy_bits = -sum(n / total * math.log2(n / total) for n in counts.values())
    assert counts.most_common(1) == [("New York, NY", 36)]
    assert 120 <= len(counts) <= 140
    assert abs(entropy_bits - 6.313) < 0.05


@pytest.mark.parametrize("stem", ["last_names", "cities", "universities", "majors", "employers"])
def test_no_value_is_the_beginning_of_another(stem: str) -> None:
    """A value is scored without an end mark: "Intuit" beside "Intuitive" would cost too few bits."""
    values = sorted(line.split("; ")[0] for line in entries(stem))
    assert [pair for pair in pairwise(values) if pair[1].startswith(pair[0])] == []


@pytest.mark.parametrize("stem", POOL_SIZES)
def test_the_first_sixteen_entries_are_single_words(stem: str) -> None:
    heads = [re.split(r", |; ", line)[0] for line in entries(stem)[:16]]
    assert [head for head in heads if " " in head or "-" in head] == []


@pytest.mark.parametrize(("name", "template"), ALL_TEMPLATES)
def test_a_template_is_one_sentence_with_both_slots(name: str, template: str) -> None:
    assert template.startswith("{subject} ")
    assert template.count("{subject}") == template.count("{value}") == 1
    assert re.search(r"(?<=[a-z}]) \{value\}(?= [a-z]|, [a-z]|\.$)", template)
    assert not re.search(r"\b(a|an) \{value\}", template), "the article would depend on the value"
    filler = template.replace("{subject}", "").replace("{value}", "")
    assert re.fullmatch(r"[A-Za-z ,-]+\.", filler)
    assert not set(re.findall(r"[a-z]+", filler)) & GENDERED


def test_the_words_before_the_value_tell_that_a_value_of_this_attribute_comes_next() -> None:
    """Otherwise ("studied" before a major, "studied at" before a university) a model that knows every fact
    would still pay bits for the template on the tokens of the value."""
    owners: dict[tuple[str, ...], set[str]] = {}
    for name, template in ALL_TEMPLATES:
        owners.setdefault(tuple(template.split(" {value}")[0].split()), set()).add(name)
    assert {words: names for words, names in owners.items() if len(names) > 1} == {}
    assert [pair for pair in pairwise(sorted(owners)) if pair[1][: len(pair[0])] == pair[0]] == []


@pytest.mark.parametrize("split", PRE_TOKENIZERS)
@pytest.mark.parametrize("name", TEMPLATE_COUNTS)
def test_a_value_tokenised_alone_equals_the_value_inside_every_sentence(name: str, split: str) -> None:
    pre_tokenizer = PRE_TOKENIZERS[split]
    templates, values = entries(f"templates/{name}"), values_of(name)
    pairs = [(template, values[-1]) for template in templates] + [(templates[0], value) for value in values]
    for template, value in pairs:
        before, after = template.replace("{subject}", "She").split(" {value}")
        parts = [" " + before, " " + value, after]
        apart = [piece for part in parts for piece in pieces(pre_tokenizer, part)]
        assert pieces(pre_tokenizer, "".join(parts)) == apart
