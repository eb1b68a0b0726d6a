"""The lineage of a cell: the right row, all that it follows from and nothing else, and whether each byte is as made."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from checkout import Checkout
from edits import RUNS
from planted import tiny_grid
from test_audit import checkout, flip_bit  # noqa: F401 - a fixture

from capacity.audit.folder import read_folder
from capacity.audit.lineage import Lineage, as_text, draw, find_cell, lineage_of
from capacity.audit.run import published_places
from capacity.errors import UserError

FLOW = ["datasets", "tokenizers", "checkpoints", "variants", "probes"]


def lineage(of: Checkout, wanted: str) -> Lineage:
    results = of.path / "results"
    cell = find_cell(results / "capacity_table.csv", wanted)
    return lineage_of(cell, read_folder(results, published_places(tiny_grid())))


def test_a_cell_follows_from_one_artefact_of_each_stage_and_the_outside_files_of_its_world(built: Checkout):
    for wanted in ("7:R", "study=prose,scheme=int8:R"):
        found = lineage(built, wanted)
        assert [artefact.stage for artefact in found.artefacts] == FLOW
        assert all(artefact.id in found.cell.row.values() for artefact in found.artefacts)
        assert found.cell.row["study"] == "prose"
        assert any(file.endswith("majors.txt") for file in found.outside)
        assert found.damaged == set()
    assert lineage(built, "2:P").outside == {}


def test_answers_are_behind_what_was_asked_alone(built: Checkout):
    """Another study's probe stands for the answers here."""
    results = built.path / "results"
    folder = read_folder(results, published_places(tiny_grid()))
    cell, other = (find_cell(results / "capacity_table.csv", wanted) for wanted in ("2:R", "study=prose,scheme=int8:R"))
    row = {**cell.row, "answers_id": other.row["probe_id"], "extractable": "0.5"}
    for column, is_behind in {"R": False, "extractable": True}.items():
        found = lineage_of(replace(cell, column=column, row=row), folder)
        assert (other.row["probe_id"] in {artefact.id for artefact in found.artefacts}) == is_behind


def test_the_text_names_every_artefact_and_what_is_damaged(checkout: Checkout):  # noqa: F811
    flip_bit(checkout)
    found = lineage(checkout, "study=base,exposures=2,scheme=none:R")
    text = as_text(found)
    assert text.startswith(f"capacity_table.csv, line 2, column R: {found.cell.value}\n")
    assert all(artefact.name in text for artefact in [*found.artefacts, found.table])
    damaged = [line for line in text.splitlines() if line.endswith("DAMAGED")]
    assert len(damaged) == 1
    assert damaged[0].startswith(f"checkpoints/{RUNS['long'][2]}-")
    assert text.endswith("6 artefacts, 1 damaged")


def test_what_is_missing_is_named_and_nothing_is_called_whole(checkout: Checkout, tmp_path: Path):  # noqa: F811
    whole = lineage(checkout, "2:R")
    training = next(artefact for artefact in whole.artefacts if artefact.stage == "checkpoints")
    shutil.rmtree(training.folder)
    shutil.rmtree(checkout.path / "results" / "probes" / whole.cell.row["probe_id"])
    found = lineage(checkout, "2:R")
    assert found.missing == [training.name, f"probes/{whole.cell.row['probe_id']}"]
    assert not found.is_whole
    text = as_text(found)
    assert f"\n{training.name}   MISSING\n" in text
    assert text.endswith("6 artefacts, 2 missing, 1 damaged"), "the table cannot be verified without its scores"
    draw(found, tmp_path / "drawn.svg")
    assert "checkpoints, missing" in (tmp_path / "drawn.svg").read_text()


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_picture_is_drawn_and_holds_the_number(built: Checkout, tmp_path: Path, suffix: str):
    found = lineage(built, "3:R")
    draw(found, tmp_path / f"picture.{suffix}")
    assert (tmp_path / f"picture.{suffix}").stat().st_size > 5000
    if suffix == "svg":
        assert f"R = {found.cell.value}" in (tmp_path / "picture.svg").read_text()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("3:Q", "no column 'Q'"),
        ("99:R", "rows stand in lines 2 to 7"),
        ("1:R", "no line 1"),
        ("²:R", "'²' is no column; say LINE:COLUMN"),
        ("9" * 5000 + ":R", "is no column; say LINE:COLUMN"),
        ("scheme=int8:R", "3 rows fit (lines 3, 5, 7), which differ in study, run, dataset, kind, N, "),
        ("shceme=int8:R", "'shceme' is no column"),
        ("scheme=int9:R", "0 rows fit"),
        ("", "no column ''"),
    ],
)
def test_a_cell_that_is_not_one_is_one_line(built: Checkout, wanted: str, words: str):
    with pytest.raises(UserError) as error:
        lineage(built, wanted)
    assert words in str(error.value)


def test_a_cell_of_an_edited_table_has_no_lineage(checkout: Checkout):  # noqa: F811
    path = checkout.path / "results" / "capacity_table.csv"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(UserError, match="is not a copy of an artefact"):
        lineage(checkout, "2:R")
