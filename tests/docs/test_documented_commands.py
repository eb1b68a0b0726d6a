"""Every command that a page shows is run, or named with the test that runs it; configuration that it shows resolves."""

import itertools
import re
import shlex
from pathlib import Path

import pytest
from checkout import Checkout
from declared import PRINTED, STUDY, WAYS, Elsewhere, way_of
from following import commands, configuration, follow, printed, slow_pages
from pages import PAGES, ROOT, blocks, read
from places import NETS, Place
from snakemake.cli import parse_args

from capacity.config.experiment import Config
from capacity.config.load import check, merge
from capacity.config.yaml_files import read_yaml
from capacity.plan.grid import resolve

ENGINE_TOO = [
    *("results/reference/laptop/README.md", "config.yaml", "slurm/config.yaml", "Snakefile"),
    *("scripts/capacity/jobs/slurm.py", "scales/paper.yaml", "scales/workstation.yaml"),
]
# In a block or a comment to the end of the line, or of lines that go on; within a text between backticks.
SHOWN = re.compile(r"^(?:# )?(snakemake (?:[^`\n]*\\\n)*[^`\n]*)$|`(snakemake [^`]*)`", re.MULTILINE)

FOLDERS = ("scripts", "tests", "docs", "rules", "scales", "envs", "examples", "slurm", "report", "profiles")


def undeclared(page: str, text: str) -> list[str]:
    """Commands of a page of which nobody has said how they are run."""
    return [command for command in commands(page, text) if way_of(command) is None]


@pytest.mark.parametrize("page", PAGES)
def test_of_every_command_it_is_said_how_it_is_run(page: str):
    assert undeclared(page, read(page)) == [], "say in tests/docs/declared.py how these are run"


def test_a_new_command_in_a_block_or_a_text_needs_a_run():
    planted = "As `make nonsense STUDY=x` says:\n\n```\nmake table   # the table\nmake sense \\\n  NOW=1\n```\n"
    assert undeclared("README.md", planted) == ["make sense NOW=1", "make nonsense STUDY=x"]


def test_what_is_declared_is_shown_and_the_other_tests_are_there():
    shown = {command for page in PAGES for command in commands(page, read(page))}
    assert set(WAYS) - shown == set()
    for way in WAYS.values():
        if isinstance(way, Elsewhere):
            file, _, function = way.test.partition("::")
            assert f"def {function or 'test_'}" in (ROOT / file).read_text(), way.test


def test_studies_that_findings_rest_on_are_in_the_configuration():
    studies = read_yaml(ROOT / "config.yaml")["studies"]
    studies |= read_yaml(ROOT / "scales" / "desktop.yaml")["studies"]
    named = {match[2] for page in PAGES for match in STUDY.finditer(read(page))} - {"my-question"}
    assert len(named) > 10
    assert named - set(studies) == set()


def test_what_make_runs_lies_where_it_says():
    named = re.findall(r"(?:tests|scripts|envs|benchmarks)/[\w/]+\.\w+", (ROOT / "Makefile").read_text())
    assert [path for path in named if not (ROOT / path).is_file()] == []


def lost_paths(text: str) -> list[str]:
    """Places of this repository that a page names, in a text or as a link, and that are not there."""
    named = re.findall(
        r"(?:`|\]\()((?:\.\./)?(?:scripts|tests|docs|rules|scales|envs|examples|slurm)/[\w./-]*)(?:`|\))", text
    )
    return [path for path in named if not (ROOT / path.removeprefix("../")).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_places_that_a_page_names_are_there(page: str):
    assert lost_paths(read(page)) == []


def test_a_place_that_is_lost_is_found():
    assert lost_paths("`scripts/plan.py`, [how](docs/nothing.md), `scripts/capacity/`") == [
        "scripts/plan.py",
        "docs/nothing.md",
    ]


def test_the_first_page_is_short_and_leads_to_every_other():
    text = read("README.md")
    assert len(text.splitlines()) <= 150
    assert 2 <= text.count("\n| ", text.index("<!-- claims"), text.index("<!-- end of claims")) <= 11
    assert [page for page in PAGES if page not in ("README.md", "docs/edits.md") and f"]({page})" not in text] == []


@pytest.mark.parametrize("page", [page for page in PAGES if "```yaml" in read(page)])
def test_configuration_that_a_page_shows_resolves_over_the_shipped_one(page: str, tmp_path: Path, monkeypatch):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "mine.py").write_text(NETS)
    monkeypatch.setattr("capacity.models.factories.REPOSITORY", tmp_path)
    config = read_yaml(ROOT / "config.yaml")
    for part in configuration(page, read(page)):
        config = merge(config, part)
        models = list(part.get("models", {}))
        studies = list(part.get("studies", {}))
        shipped = {"study": ["base-law"], "studies": {"base-law": {"models": models} if models else {}}}
        asked = {"study": studies} if studies else shipped
        assert set(resolve(check(Config, merge(config, asked), page)).studies) == set(asked["study"])


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The shipped files, nothing built."""
    return Place.clone(tmp_path_factory.mktemp("docs") / "clone")


FIRST = "README.md"


@pytest.mark.parametrize("page", [page for page in PAGES if page == FIRST or page not in slow_pages()])
def test_a_page_read_from_top_to_bottom_works_as_written(page: str, built: Checkout, clone: Place, tmp_path: Path):
    assert "\n".join(follow(page, built, clone, tmp_path, slow=False)) == ""


def test_what_a_page_says_a_command_prints_is_what_it_prints(clone: Place):
    shown = [block for page in PAGES for block in blocks(page, read(page)) if printed(block)]
    assert len(shown) == len(PRINTED)
    for block in shown:
        code, said = clone.type(printed(block) or "")
        assert code == 0
        for line in block.text.splitlines():
            assert line.removesuffix("...") in said


def shown_to_the_engine(text: str) -> list[str]:
    """Engine commands in a page or a comment, whole; one that is cut short by dots is an outline."""
    found = [block or inline for block, inline in SHOWN.findall(text)]
    return [command.replace("\\\n", " ") for command in found if "..." not in command]


@pytest.mark.parametrize(
    ("page", "command"), [(page, found) for page in [*PAGES, *ENGINE_TOO] for found in shown_to_the_engine(read(page))]
)
def test_a_documented_engine_command_parses_to_the_target_meant(monkeypatch, page: str, command: str):
    monkeypatch.chdir(ROOT)
    words = shlex.split(command, comments=True)[1:]
    _, args = parse_args(words)
    said = [word for before, word in itertools.pairwise(["", *words]) if before != "--cores"]
    assert list(args.targets) == [word for word in said if word == "all" or word.startswith("results/")]
    assert all("=" in item for item in args.config or []), args.config
    assert all((ROOT / file).is_file() or file.name == "my.yaml" for file in args.configfile), args.configfile


def test_the_engine_commands_are_found_that_are_known_to_be_there():
    pages = [page for page in [*PAGES, *ENGINE_TOO] for _ in shown_to_the_engine(read(page))]
    assert pages.count("README.md") >= 1
    assert pages.count("docs/experiments.md") >= 1
    assert pages.count("docs/cluster.md") >= 4
    assert "scales/paper.yaml" in pages
    assert shown_to_the_engine("```\nsnakemake a \\\n  b   # c\n```\nas `snakemake d` does, or snakemake e") == [
        "snakemake a    b   # c",
        "snakemake d",
    ]
