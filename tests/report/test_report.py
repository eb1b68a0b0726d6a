"""The report in a real Chromium, on a phone and on a wide screen: it opens from a file, without a network, on results.

The tiny configuration is built and reported by the engine itself; a person's clicks follow. Each fault that the page
must not have is planted once.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from page_faults import faults, opening_faults
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from checkout import Checkout

CLAIMS = """claims:
  - {id: open, result: 1, statement: It holds., published: 2, relation: at least, tolerance: 0.1, statistic: peak,
     of: {study: [base]}}
  - {id: absent, result: 2, statement: It holds in English., published: 2, relation: at least, tolerance: 0.1,
     statistic: peak, of: {study: [unknown]}}
"""
MOST_BYTES = 10_000_000
WIDTHS = {"phone": (400, 800), "screen": (1400, 900)}
LONG = "a_name_as_long_as_names_can_be_in_a_file"  # longer than what a phone has room for beside another word


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The tiny configuration, with claims and a long name, built and reported: our page, and the engine's around it."""
    checkout = Checkout.new(tmp_path_factory.mktemp("report") / "checkout")
    (checkout.path / "claims.yaml").write_text(CLAIMS)
    checkout.edit("config.yaml", lambda text: text.replace("short", LONG) + "claims: claims.yaml\n")
    for words in ((), ("--report", "results/engine.html")):
        answer = checkout.engine(*words, targets=("results/report.html",))
        assert answer.returncode == 0, answer.stdout + checkout.logs()
    return checkout


@pytest.fixture(scope="session")
def report(reported: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, alone in a folder."""
    return Path(shutil.copy(reported.path / "results" / "report.html", tmp_path_factory.mktemp("alone")))


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
def opened(browser: Browser) -> Iterator[Callable[[Path, tuple[int, int]], Page]]:
    """Opens a page at a width and a height; at the end nothing was asked of a network and nothing went wrong."""
    troubles: list[str] = []
    contexts = []

    def complain(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    def open_page(path: Path, size: tuple[int, int]) -> Page:
        contexts.append(browser.new_context(viewport={"width": size[0], "height": size[1]}, offline=True))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("console", complain)
        page.on(
            "request", lambda request: troubles.append(request.url[:80]) if request.url.startswith("http") else None
        )
        page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url[:80]}"))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture(params=WIDTHS.values(), ids=WIDTHS.keys())
def page(opened: Callable[[Path, tuple[int, int]], Page], report: Path, request: pytest.FixtureRequest) -> Page:
    """The opened report, on a phone and on a screen."""
    return opened(report, request.param)


def test_it_is_one_file_of_modest_size(report: Path):
    assert [path.name for path in report.parent.iterdir()] == ["report.html"]
    assert report.stat().st_size < MOST_BYTES


def test_it_opens_on_results_fits_and_shows_nothing_empty(page: Page):
    assert faults(page) == []


def test_it_fits_with_all_manifests_open_and_a_figure_enlarged(page: Page):
    for button in page.locator("tr.variant button").all():
        button.click()
    page.locator("#studies button.figure").first.click()
    image = page.locator("#studies button.figure img").first
    assert image.bounding_box()["width"] == image.evaluate("image => image.naturalWidth")
    assert [fault for fault in faults(page) if "opens without" not in fault] == []


NOWRAP = "document.head.append(Object.assign(document.createElement('style'), {textContent: '%s'}))"
PLANTED = {
    "a wide element": (
        "document.body.append(Object.assign(document.createElement('hr'), {style: 'width: 1500px'}))",
        "hr",
    ),
    "rows in one line": (NOWRAP % "td, tr, p { white-space: nowrap !important; }", "too wide"),
    "figures in their own size": (
        NOWRAP % "button.figure, img { max-width: none !important; max-height: none !important; }",
        "off the window",
    ),
    "a box that cuts": (NOWRAP % "article { height: 3rem; overflow: hidden; }", "cut below"),
    "a section without content": ("document.querySelector('.claims').replaceChildren()", "empty: DIV claims"),
    "a heading alone": (
        "document.querySelectorAll('.study > :not(h3)').forEach((each) => each.remove())",
        "nothing below",
    ),
    "a lost figure": ("document.querySelector('.study img').removeAttribute('src')", "no image"),
    "a table without rows": ("document.querySelector('#table tbody').replaceChildren()", "a table without rows"),
    "a blank column": (
        "document.querySelectorAll('#table td[data-name=P]').forEach((each) => each.replaceChildren())",
        "a column of blanks: P",
    ),
    "the figure last": ("document.body.append(document.querySelector('#results'))", "without a figure"),
    "no verdicts first": (
        "document.querySelector('main').prepend(document.querySelector('#studies'))",
        "without a claim",
    ),
}


@pytest.mark.parametrize(("plant", "found"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_fault_is_found(page: Page, plant: str, found: str):
    page.evaluate(plant)
    assert any(found in fault for fault in faults(page))


@pytest.mark.parametrize("size", WIDTHS.values(), ids=WIDTHS.keys())
def test_a_page_that_opens_on_a_rule_graph_is_found(browser: Browser, reported: Checkout, size: tuple[int, int]):
    """The engine's own report."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto((reported.path / "results" / "engine.html").as_uri())
    page.locator("canvas, svg.marks").first.wait_for()
    assert opening_faults(page) == [f"opens without a {name}" for name in ("verdict", "claim", "figure")]
    page.close()


def test_the_engines_report_holds_the_page(browser: Browser, reported: Checkout):
    page = browser.new_page()
    page.goto((reported.path / "results" / "engine.html").as_uri())
    page.locator("a", has_text="Results").click()
    page.locator("tr", has_text="claims, figures").last.locator("a[iconname=eye]").click()
    page.frame_locator("iframe").locator(".verdict").first.wait_for()
    page.close()


def test_claims_have_their_verdicts_and_what_was_not_run_is_folded_away(page: Page):
    assert page.locator("header .verdict").all_inner_texts() == ["1 inconclusive"]
    assert page.locator("#claims article .verdict").all_inner_texts() == ["inconclusive"]
    assert page.get_by_text("1 seed, 3 are needed").is_visible()
    absent = page.get_by_text("It holds in English.")
    assert not absent.is_visible()
    page.get_by_text("1 further claim that this table says nothing of").click()
    assert absent.is_visible()


def test_a_study_has_question_answer_findings_claims_figure_and_curves(page: Page):
    study = page.locator("#study-base")
    text = study.inner_text()
    for words in ("Does the law hold?", "The paper: It does.", "int8", "It holds."):
        assert words in text
    assert study.locator("img").count() == 2
    assert page.locator("#study-prose img").count() == 2
    study.get_by_role("link", name="It holds.").click()
    assert page.locator("#claim-open").bounding_box()["y"] < WIDTHS["phone"][1]


def test_a_number_leads_to_its_manifest_in_two_clicks(page: Page):
    page.locator("tr.variant button").first.click()
    page.locator("tr.provenance summary", has_text="checkpoints/").click()
    manifest = page.locator("tr.provenance details[open] pre").inner_text()
    assert '"name": "checkpoints/gpt2-1-2-bioD-N6-e2-s1-' in manifest
    assert '"started": "20' in manifest
    page.locator("tr.variant button").first.click()
    assert page.locator("tr.provenance").count() == 0


def test_the_table_can_be_filtered(page: Page):
    page.locator("#filter").fill("int8 prose")
    assert page.locator("tr.variant:visible").count() == 1
    page.locator("#filter").fill("")
    assert page.locator("tr.variant:visible").count() == 6
