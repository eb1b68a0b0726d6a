"""Free text in a table of one's own, which the account does not measure, is said by the preview, a plan and a run."""

import random
from pathlib import Path

import pytest
from test_records import grid_with
from worlds import make_world

from capacity.plan.gaps import gap_messages
from capacity.plan.preview import account_lines
from capacity.plan.survey import hold_against

TEXT = "the river carried seven wooden boats past an old mill while nobody watched from its broken bridge"
NAMES = ["Abigail", "Jean-Paul", "Maria del Carmen", "Wolfgang Amadeus"]
SURNAMES = ["Featherstonehaugh", "Fernandez Lopez", "de la Fontaine", "Mozart"]


def sentences(count: int, words: int = 11) -> list[str]:
    drawn = random.Random(1)
    return [" ".join(drawn.choices(TEXT.split(), k=words)) + f" {i}." for i in range(count)]


def spec_with(folder: Path, values: list[str], N: int = 300) -> dict[str, object]:
    rows = [f"entity {i},{values[i % len(values)]},{'abc'[i % 3]}\n" for i in range(N)]
    (folder / "own.csv").write_text("e,what,kind\n" + "".join(rows))
    file = str(folder / "own.csv")
    spec = {"kind": "records", "file": file, "entity": "e", "missing": "error", "seed": 1, "account": "uniform"}
    return {**spec, "attributes": ["what", "kind"], "N": N}


def in_preview(folder: Path, values: list[str]) -> list[str]:
    lines = account_lines(make_world(spec_with(folder, values)), 300)
    return [line for line in lines if "is free text" in line]


def in_plan(folder: Path, values: list[str]) -> list[str]:
    grid = grid_with({"file": spec_with(folder, values)["file"], "entity": "e"})
    lines = gap_messages(hold_against(grid, folder / "results"), folder / "results")
    return [line for line in lines if "is free text" in line]


def test_a_column_of_sentences_is_said_by_preview_and_plan_with_its_bits_and_a_remedy(tmp_path: Path) -> None:
    for lines in (in_preview(tmp_path, sentences(300)), in_plan(tmp_path, sentences(300))):
        assert len(lines) == 1
        assert "what is free text: 300 different values in 300 rows" in lines[0]
        assert "counts 8.2 bits a value" in lines[0]
        assert "leave it out by attributes" in lines[0]


@pytest.mark.parametrize(
    "values",
    [
        [f"{first} {last} {i}" for i in range(20) for first in NAMES for last in SURNAMES],  # people
        [f"GTX-{i:07d}" for i in range(300)],  # short codes
        [f"https://a.org/{i}" for i in range(300)],  # short addresses
        sentences(20),  # long, and each of them often
        [f"{i}.{i % 7}" for i in range(300)],
    ],
    ids=["names", "codes", "addresses", "few sentences", "numbers"],
)
def test_names_short_codes_and_a_few_sentences_are_no_free_text(tmp_path: Path, values: list[str]) -> None:
    assert in_preview(tmp_path, values) == []
    assert in_plan(tmp_path, values) == []


def test_the_countries_that_ship_have_no_free_text(tmp_path: Path) -> None:
    grid = grid_with({"file": "examples/countries.csv"})
    assert not [line for line in gap_messages(hold_against(grid, tmp_path), tmp_path) if "free text" in line]
