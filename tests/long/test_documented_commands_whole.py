"""Pages with the commands that take minutes: whole audits, plans of thousands of runs, every study of the findings."""

from pathlib import Path

import pytest
from checkout import Checkout
from declared import Run, way_of
from following import commands, follow
from pages import PAGES, read
from places import Place

WAYS = {page: [way_of(command) for command in commands(page, read(page))] for page in PAGES}
SLOW = [page for page, ways in WAYS.items() if any(isinstance(way, Run) and way.slow for way in ways)]


@pytest.mark.parametrize("page", SLOW)
def test_every_command_of_a_page_works_as_written(page: str, built: Checkout, tmp_path: Path):
    clone = Place.clone(tmp_path / "clone")
    assert "\n".join(follow(page, built, clone, tmp_path, slow=True)) == ""
