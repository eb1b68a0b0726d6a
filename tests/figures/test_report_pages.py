"""The pages and captions of the report, from planted tables: what they say, and that they escape what others wrote."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import pytest
from checkout import Checkout
from docutils.core import publish_parts
from test_claims import CLAIM, seeds, write_claims

from capacity.config.claim import read_claims
from capacity.figures import report_pages as report
from capacity.tables.claims import judge
from capacity.tables.table import capacity_table, write_table

TEMPLATES = Path(__file__).resolve().parents[2] / "report"
STUDIES = {"base": {"question": "Is R_max < 2 & *so on* {{ x }}?", "paper": "It is."}}
# What somebody else's configuration may say: each would run where it reached a page as it is.
HOSTILE = {
    "ends the script": "</script><script>planted()</script>",
    "an image": "<img src=x onerror=planted()>",
    "ends a comment": "--><svg onload=planted()>",
    "ends a string": "\"]};planted();//' `planted` ${planted()}",
    "raw markup": ".. raw:: html\n\n   <img src=x onerror=planted()>\n",
    "a link that runs": "See javascript:planted() and `this <javascript:planted()>`_ or |planted|_",
    "a template": "{{ 7 * 191111111111 }}{% raw %}{# planted #}{{ files }}",
    "a directive": ".. include:: /etc/hostname\n.. image:: javascript:planted()",
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with one manifest."""
    folder = tmp_path / "results" / "checkpoints" / "plain-s1"
    folder.mkdir(parents=True)
    manifest = {"schema": 2, "name": "checkpoints/plain-s1", "note": "</script><b>"}
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


class Elements(HTMLParser):
    """What a browser would make of a page: elements with their attributes, scripts apart."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts:
            self.scripts[-1] += data

    def active(self) -> list[Any]:
        """Elements that could run what they carry."""
        return [
            (tag, attributes)
            for tag, attributes in self.found
            if any(name.startswith("on") or "javascript:" in str(value) for name, value in attributes.items())
            or any("planted" in str(value) for value in attributes.values())
        ]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_a_configuration_says_is_text_in_every_caption_and_page(
    results: Path, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(STUDIES, "base", {"question": text, "paper": text})
    path = write_claims(tmp_path, {**CLAIM, "statement": text}, {**CLAIM, "id": "else", "of": None, "not_run": text})
    judged = judge(read_claims(path), capacity_table(seeds(2.0, 2.1, 2.2)), "laptop")
    write_table(judged, tmp_path / "claims.csv")
    written = pages(results, report.read_claims_table(tmp_path / "claims.csv"))
    links = "\n\n.. _Workflow: javascript:show_panel('workflow')\n"  # the engine adds such lines
    caption = jinja2.Environment().from_string(written["study-base.rst"] + links).render(files=["/leaked"])
    html = publish_parts(caption, writer="html", settings_overrides={"halt_level": 2})["body"]
    for page in (html, written["claims.html"], written["capacity_table.html"]):
        elements = Elements(page)
        assert [tag for tag, _ in elements.found if tag in ("img", "svg", "object", "iframe")] == []
        assert elements.active() == []
        assert not any("planted" in script for script in elements.scripts)
    shown = re.sub(r"<[^>]*>", "", html).replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    assert " ".join(text.split()) in " ".join(shown.replace("&amp;", "&").split())


def test_no_markup_of_a_study_reaches_the_engines_report(checkout: Checkout):
    """The real report of the tiny configuration, whose study asks in all these manners."""
    for name, text in (("Does the law hold?", " ".join(HOSTILE.values())), ("And in English?", HOSTILE["raw markup"])):
        checkout.replace("config.yaml", f"question: {name}", f"question: {json.dumps(text)}")
    for words in (("--quiet", "rules"), ("--report", "results/report.html")):
        answer = checkout.engine(*words, targets=("report_pages",))
        assert answer.returncode == 0, answer.stdout + checkout.logs()
    page = (checkout.path / "results" / "report.html").read_text()
    elements = Elements(page)
    assert elements.active() == []
    assert [tag for tag, _ in elements.found if tag in ("img", "svg", "object", "iframe")] == []
    assert len(elements.scripts) == page.count("</script>")
    assert str(7 * 191111111111) not in re.sub(r"[0-9a-zA-Z+/=]{200,}", "", page.partition('id="results"')[2])
    results = next(script for script in elements.scripts if script.lstrip().startswith("var results"))
    for text in ("<img", "<svg", "</script", "/etc/hostname\\n", "/leaked"):
        assert text not in results
    assert "&lt;img src=x onerror=planted()&gt;" in results
