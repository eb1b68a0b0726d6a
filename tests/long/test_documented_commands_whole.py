"""Pages with the commands that take minutes: whole audits, plans of thousands of runs, every study of the findings."""

from pathlib import Path

import pytest
from checkout import Checkout
from following import follow, slow_pages
from places import Place


@pytest.mark.parametrize("page", slow_pages())
def test_every_command_of_a_page_works_as_written(page: str, built: Checkout, tmp_path: Path):
    clone = Place.clone(tmp_path / "clone")
    assert "\n".join(follow(page, built, clone, tmp_path, slow=True)) == ""
