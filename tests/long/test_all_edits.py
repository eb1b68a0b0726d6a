"""Every row of the table of edits, executed."""

import json
import os
from pathlib import Path

import pytest
from checkout import Checkout
from edits import EDITS, Edit

OUTCOMES = os.environ.get("EDIT_OUTCOMES")  # a file that gets one JSON line a row, for the table in the docs


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_an_edit_runs_exactly_the_jobs_it_makes_necessary(checkout: Checkout, edit: Edit):
    edit.make(checkout)
    ran = checkout.build()
    if OUTCOMES:
        with open(OUTCOMES, "a") as file:
            file.write(json.dumps({"edit": edit.name, "wanted": sorted(edit.must_run), "ran": sorted(ran)}) + "\n")
    assert ran == edit.must_run
    assert not ran or checkout.planned() == set()


@pytest.mark.parametrize("edit", [edit for edit in EDITS if edit.undone], ids=lambda edit: edit.name)
def test_undoing_an_edit_costs_at_most_the_fixed_paths(checkout: Checkout, edit: Edit, tmp_path: Path):
    """With what the engine remembers, and without."""
    before = checkout.table()
    original = checkout.copy(tmp_path / "original")
    edit.make(checkout)
    checkout.build()
    edited = checkout.copy(tmp_path / "edited")
    edited.forget()
    for each in (checkout, edited):
        each.take_sources(original)
        assert each.build() <= {("publish_table", ""), ("publish_figures", "")}
        assert each.table() == before
