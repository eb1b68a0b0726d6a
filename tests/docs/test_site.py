"""The website is built of the pages as they are, and a link that leads nowhere stops it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pages import PAGES, ROOT

MKDOCS = Path(os.environ.get("MKDOCS", ROOT / ".venv-docs" / "bin" / "mkdocs"))

pytestmark = pytest.mark.skipif(not MKDOCS.is_file(), reason="make test sets .venv-docs up; or set MKDOCS")


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """The website of the repository in a folder; not quiet, which would leave warnings uncounted."""
    words = [MKDOCS, "build", "--config-file", folder / "mkdocs.yml", "--site-dir", site]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_every_page_is_in_the_site_and_its_links_lead_somewhere(tmp_path: Path):
    answer = build(ROOT, tmp_path)
    assert answer.returncode == 0, answer.stdout
    for page in PAGES[1:]:
        assert (tmp_path / page.removesuffix(".md") / "index.html").is_file()
    first = (tmp_path / "index.html").read_text()
    assert "<th>the paper says</th>" in first
    assert (tmp_path / "results" / "reference" / "figure1.png").is_file()


@pytest.mark.parametrize("link", ["nothing.md", "config.md#nothing", "../scripts/nothing.py"])
def test_a_link_that_leads_nowhere_stops_it(tmp_path: Path, link: str):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "mkdocs.yml", "config.yaml", "claims.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    with (tmp_path / "docs" / "models.md").open("a") as page:
        page.write(f"\n[planted]({link})\n")
    answer = build(tmp_path, tmp_path / "site")
    assert answer.returncode == 1
    assert link in answer.stdout
