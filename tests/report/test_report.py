"""The engine's HTML report in a real Chromium: it opens from a file, without a network, and shows what it promises.

The tiny configuration is built and reported by the engine itself; a person's clicks follow.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from checkout import Checkout

CLAIMS = """claims:
  - {id: open, result: 1, statement: It holds., published: 2, relation: at least, tolerance: 0.1, statistic: peak,
     of: {study: [base]}}
  - {id: absent, result: 2, statement: It holds in English., published: 2, relation: at least, tolerance: 0.1,
     statistic: peak, of: {study: [unknown]}}
"""
MOST_BYTES = 10_000_000
# The engine's own page says these, whatever stands in it.
KNOWN_WARNINGS = ("cdn.tailwindcss.com should not be used in production", "The input spec uses Vega-Lite")


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the tiny configuration, alone in a folder."""
    checkout = Checkout.new(tmp_path_factory.mktemp("report") / "checkout")
    (checkout.path / "claims.yaml").write_text(CLAIMS)
    checkout.edit("config.yaml", lambda text: text + "claims: claims.yaml\n")
    for words in ((), ("--report", "results/report.html")):
        answer = checkout.engine(*words, targets=("report_pages",))
        assert answer.returncode == 0, answer.stdout + checkout.logs()
    alone = tmp_path_factory.mktemp("alone") / "report.html"
    return shutil.move(checkout.path / "results" / "report.html", alone)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium without a window. As root it has no sandbox."""
    path = shutil.which("chromium")
    assert path, "chromium is not installed: run `make test-report`, which installs it"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """The opened report; at the end nothing was asked of a network and nothing went wrong."""
    troubles: list[str] = []
    context = browser.new_context(viewport={"width": 1400, "height": 900}, offline=True)
    page = context.new_page()
    page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    page.on("console", lambda message: troubles.append(message.text) if _is_trouble(message) else None)
    page.on("request", lambda request: troubles.append(request.url[:80]) if request.url.startswith("http") else None)
    page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url[:80]}"))
    page.goto(report.as_uri())
    yield page
    context.close()
    assert troubles == []


def _is_trouble(message: Any) -> bool:
    return message.type in ("error", "warning") and not any(text in message.text for text in KNOWN_WARNINGS)


def view(page: Page, category: str, label: str, then: str = "eye") -> None:
    """Open a category and an item of it: its content (eye) or its description (information-circle)."""
    page.get_by_text(category).click()
    page.locator("tr", has_text=label).last.locator(f"a[iconname={then}]").click()


def test_it_is_one_file_of_modest_size(report: Path):
    assert [path.name for path in report.parent.iterdir()] == ["report.html"]
    assert report.stat().st_size < MOST_BYTES


def test_the_claims_come_first_with_their_verdicts(page: Page):
    categories = page.get_by_text("RESULTS").locator("xpath=following::a").all_inner_texts()
    assert next(text for text in categories if text[:1].isdigit()) == "1. Claims"
    view(page, "1. Claims", "what the paper says")
    content = page.frame_locator("iframe")
    verdicts = content.locator(".verdict")
    verdicts.first.wait_for()
    assert verdicts.all_inner_texts() == ["inconclusive", "not run"]
    assert content.get_by_text("1 seed, 3 are needed").is_visible()


@pytest.mark.parametrize("figure", ["capacity", "figure1", "study-base", "study-prose"])
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_each_figure_is_seen_in_both_formats(page: Page, figure: str, kind: str):
    page.get_by_text("2. Figures").click()
    page.get_by_text(kind, exact=True).click()
    label = page.get_by_text(figure.removeprefix("study-"), exact=True)
    page.locator("tr", has=label).locator("a[iconname=eye]").click()
    image = page.locator(f"img[src*='filename={figure}.{kind}']")
    image.wait_for()
    assert image.evaluate("image => image.complete && image.naturalWidth") > 500


def test_a_study_is_described_by_question_finding_and_claim(page: Page):
    view(page, "2. Figures", "base", then="information-circle")
    page.get_by_text("Does the law hold?").wait_for()
    text = page.inner_text("body")
    assert "The paper: It does." in text
    assert "highest R after 2 exposures under int8" in text
    assert "It holds. inconclusive" in text


def test_a_number_leads_to_its_manifest_in_two_clicks(page: Page):
    view(page, "3. Capacity table", "every variant")
    content = page.frame_locator("iframe")
    content.locator("tr.variant button").first.click()
    content.locator("tr.provenance summary", has_text="checkpoints/").click()
    manifest = content.locator("tr.provenance details[open] pre").inner_text()
    assert '"name": "checkpoints/gpt2-1-2-bioD-N6-e2-s1-' in manifest
    assert '"started": "20' in manifest
    content.locator("tr.variant button").first.click()
    assert content.locator("tr.provenance").count() == 0


def test_the_table_can_be_filtered(page: Page):
    view(page, "3. Capacity table", "every variant")
    content = page.frame_locator("iframe")
    content.locator("#filter").fill("int8 prose")
    assert content.locator("tr.variant:visible").count() == 1
    content.locator("#filter").fill("")
    assert content.locator("tr.variant:visible").count() == 6


def test_run_times_are_there(page: Page):
    page.get_by_text("Statistics").click()
    chart = page.locator("canvas, svg.marks").first
    chart.wait_for()
    assert chart.bounding_box()["width"] > 200
