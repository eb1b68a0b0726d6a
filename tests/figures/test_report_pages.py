"""The pages and captions of the report, from planted tables: what they say, and that they escape what others wrote."""

import json
import re
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import pytest
from docutils.core import publish_parts
from test_claims import CLAIM, seeds, write_claims

from capacity.config.claim import read_claims
from capacity.figures import report_pages as report
from capacity.tables.claims import judge
from capacity.tables.table import capacity_table, write_table

TEMPLATES = Path(__file__).resolve().parents[2] / "report"
STUDIES = {"base": {"question": "Is R_max < 2 & *so on* {{ x }}?", "paper": "It is."}}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with one manifest."""
    folder = tmp_path / "results" / "checkpoints" / "plain-s1"
    folder.mkdir(parents=True)
    manifest = {"schema": 1, "name": "checkpoints/plain-s1", "note": "</script><b>"}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "code": {"digest": "0123", "modules": {"a": "1"}}}))
    return tmp_path / "results"


@pytest.fixture
def claims(tmp_path: Path) -> pd.DataFrame:
    """Two verdicts as they come back from claims.csv."""
    path = write_claims(tmp_path, CLAIM, {**CLAIM, "id": "else", "of": None, "not_run": "no <data>"})
    judged = judge(read_claims(path), capacity_table(seeds(2.0, 2.1, 2.2)), "laptop")
    write_table(judged, tmp_path / "claims.csv")
    return report.read_claims_table(tmp_path / "claims.csv")


def pages(results: Path, claims: Any, rows: list[dict[str, Any]] | None = None) -> dict[str, str]:
    table = capacity_table(rows or seeds(2.0, 2.1, 2.2))
    report.write_pages(table, claims, STUDIES, results, TEMPLATES)
    return {path.name: path.read_text() for path in (results / "report").iterdir()}


def test_pages_are_whole_in_one_file(results: Path, claims: pd.DataFrame):
    for name, text in pages(results, claims).items():
        if name.endswith(".html"):
            assert text.startswith("<!doctype html>")
            assert not re.search(r"(src|href)=", text)
            assert "http" not in text


def test_the_table_names_the_artefacts_of_each_row_and_holds_their_manifests(results: Path, claims: pd.DataFrame):
    text = pages(results, claims)["capacity_table.html"]
    assert text.count('<tr class="variant"') == 3
    assert text.count("checkpoints/plain-s1 variants/plain-s1") == 1
    manifests = json.loads(re.search(r'id="manifests">(.*?)</script>', text, re.S)[1])
    assert manifests["checkpoints/plain-s1"]["note"] == "</script><b>"
    assert manifests["checkpoints/plain-s1"]["code"] == {"digest": "0123"}
    assert "no manifest.json" in manifests["checkpoints/plain-s2"]


def test_too_many_manifests_are_left_out_and_the_page_says_so(results: Path, claims: pd.DataFrame, monkeypatch):
    monkeypatch.setattr(report, "MOST_EMBEDDED_BYTES", 10)
    text = pages(results, claims)["capacity_table.html"]
    assert re.search(r'id="manifests">{}</script>', text)
    assert "too many to stand in this page" in text


def test_the_claims_page_escapes_what_others_wrote(results: Path, claims: pd.DataFrame):
    text = pages(results, claims)["claims.html"]
    assert "no &lt;data&gt;" in text
    assert text.count('class="verdict ') == 2
    assert "The configuration names no file of claims" in pages(results, None)["claims.html"]


def test_a_caption_tells_question_finding_and_claims_as_valid_text(results: Path, claims: pd.DataFrame):
    text = pages(results, claims)["study-base.rst"]
    text = jinja2.Environment().from_string(text).render()  # as the engine does
    html = publish_parts(text, writer="html", settings_overrides={"halt_level": 2})["body"]
    for words in (
        "Is R_max &lt; 2 &amp; *so on* {{ x }}?",
        "It is.",
        "highest R after 1000 exposures under none: 2.10",
        "reproduced",
    ):
        assert words in html
