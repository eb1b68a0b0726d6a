"""The report from planted tables: what it says, and that it escapes what others wrote."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from checkout import Checkout
from markupsafe import escape
from test_claims import CLAIM, seeds, write_claims

from capacity.config.claim import read_claims
from capacity.figures import report_page as report
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


def page_of(results: Path, claims: Any, rows: list[dict[str, Any]] | None = None) -> str:
    """The report of some rows, the figures of which are any image."""
    (results / "figures").mkdir(exist_ok=True)
    for name in ("capacity", "figure1", "study-base"):
        (results / "figures" / f"{name}.png").write_bytes(b"an image")
    table = capacity_table(rows or seeds(2.0, 2.1, 2.2))
    report.write_report(table, claims, STUDIES, results, TEMPLATES, results / "report.html")
    return (results / "report.html").read_text()


def test_the_page_is_whole_in_one_file(results: Path, claims: pd.DataFrame):
    page = page_of(results, claims)
    assert page.startswith("<!doctype html>")
    assert all(re.match("data:|#", address) for address in re.findall(r'(?:src|href)="([^"]*)', page))
    assert "http" not in page


def test_the_table_names_the_artefacts_of_each_row_and_holds_their_manifests(results: Path, claims: pd.DataFrame):
    text = page_of(results, claims)
    assert text.count('<tr class="variant"') == 3
    assert text.count("checkpoints/plain-s1 variants/plain-s1") == 1
    manifests = json.loads(re.search(r'id="manifests">(.*?)</script>', text, re.S)[1])
    assert manifests["checkpoints/plain-s1"]["note"] == "</script><b>"
    assert manifests["checkpoints/plain-s1"]["code"] == {"digest": "0123"}
    assert "is missing" in manifests["checkpoints/plain-s2"]


def test_too_many_manifests_are_left_out_and_the_page_says_so(results: Path, claims: pd.DataFrame, monkeypatch):
    monkeypatch.setattr(report, "MOST_EMBEDDED_BYTES", 10)
    text = page_of(results, claims)
    assert re.search(r'id="manifests">{}</script>', text)
    assert "too many to stand in this page" in text


def test_claims_of_the_studies_come_before_the_others_and_what_others_wrote_is_escaped(
    results: Path, claims: pd.DataFrame
):
    text = page_of(results, claims)
    told, further = text.split("1 further claim that")
    assert told.count("<article id=") == 1
    assert further.count("no &lt;data&gt;") == 1
    assert text.index('class="verdict') < text.index("<img") < text.index("<article") < text.index('id="studies"')


def test_nothing_is_said_of_claims_where_there_are_none(results: Path):
    assert not re.search("[cC]laim", page_of(results, None).partition("<body>")[2].partition("<script")[0])


def test_a_study_has_question_answer_finding_and_claims(results: Path, claims: pd.DataFrame):
    study = page_of(results, claims).partition('id="study-base"')[2].partition("</section>")[0]
    text = html.unescape(re.sub(r"<[^>]*>", "", study))
    for words in ("Is R_max < 2 & *so on* {{ x }}?", "The paper: It is.", "1000", "2.10", "reproduced"):
        assert words in text
    assert "curves" not in text  # none of these trainings is here


def test_a_rate_that_was_not_chosen_is_no_finding():
    """The better training is rounded worse."""
    rows = [row | {"scheme": "int8", "bits_per_weight": 8} for row in seeds(1.5, 1.5, lr=0.1)]
    rows += seeds(1.9, 1.9, lr=0.1) + seeds(2.0, 2.0, lr=0.2)
    rows += [row | {"scheme": "int8", "bits_per_weight": 8} for row in seeds(0.5, 0.5, lr=0.2)]
    found = {each["scheme"]: each["R"] for each in report.findings(capacity_table(rows))}
    assert found == {"none": "2.00", "int8": "0.50"}


def test_columns_in_which_all_rows_agree_are_said_once(results: Path):
    text = page_of(results, None)
    head = text.partition('id="table"')[2].partition("</thead>")[0]
    assert "<th>seed</th>" in head
    assert "<th>study</th>" not in head
    assert "study base" in head


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
def test_what_a_configuration_says_is_text(results: Path, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(STUDIES, "base", {"question": text, "paper": text})
    path = write_claims(tmp_path, {**CLAIM, "statement": text}, {**CLAIM, "id": "else", "of": None, "not_run": text})
    judged = judge(read_claims(path), capacity_table(seeds(2.0, 2.1, 2.2)), "laptop")
    write_table(judged, tmp_path / "claims.csv")
    page = page_of(results, report.read_claims_table(tmp_path / "claims.csv"))
    elements = Elements(page)
    assert {attributes["src"][:15] for tag, attributes in elements.found if tag == "img"} == {"data:image/png;"}
    assert [tag for tag, _ in elements.found if tag in ("svg", "object", "iframe")] == []
    assert elements.active() == []
    assert not any("planted" in script for script in elements.scripts)
    assert page.count(str(escape(text))) >= 4


def test_no_markup_of_a_study_reaches_the_engines_report(checkout: Checkout):
    """Which holds the page; the real one of the tiny configuration, whose study asks in all these manners."""
    for name, text in (("Does the law hold?", " ".join(HOSTILE.values())), ("And in English?", HOSTILE["raw markup"])):
        checkout.replace("config.yaml", f"question: {name}", f"question: {json.dumps(text)}")
    for words in (("--quiet", "rules"), ("--report", "results/engine.html")):
        answer = checkout.engine(*words, targets=("results/report.html",))
        assert answer.returncode == 0, answer.stdout + checkout.logs()
    page = (checkout.path / "results" / "engine.html").read_text()
    elements = Elements(page)
    assert elements.active() == []
    assert len(elements.scripts) == page.count("</script>")
    assert "planted" not in page
    assert "planted" in (checkout.path / "results" / "report.html").read_text()
