"""Each engine command that a page or a comment shows is one: what it names as a target is a target to the engine."""

import re
import shlex
from pathlib import Path

import pytest
from snakemake.cli import parse_args

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "results" / "reference" / "laptop" / "README.md",
    ROOT / "config.yaml",
    *sorted((ROOT / "scales").glob("*.yaml")),
    ROOT / "slurm" / "config.yaml",
    ROOT / "Snakefile",
    ROOT / "scripts" / "capacity" / "jobs" / "slurm.py",
]
# In a block or a comment to the end of the line, or of lines that go on; within a text between backticks.
SHOWN = re.compile(r"^(?:# )?(snakemake (?:[^`\n]*\\\n)*[^`\n]*)$|`(snakemake [^`]*)`", re.MULTILINE)


def shown(text: str) -> list[str]:
    """Engine commands in a page, whole; one that is cut short by dots is an outline."""
    found = [block or inline for block, inline in SHOWN.findall(text)]
    return [command.replace("\\\n", " ") for command in found if "..." not in command]


COMMANDS = [(page.relative_to(ROOT).as_posix(), command) for page in PAGES for command in shown(page.read_text())]


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_documented_engine_command_parses_to_the_target_meant(monkeypatch, page: str, command: str):
    monkeypatch.chdir(ROOT)
    words = shlex.split(command, comments=True)[1:]
    _, args = parse_args(words)
    assert list(args.targets) == [word for word in words if word.startswith("results/")]
    assert all("=" in item for item in args.config or []), args.config
    assert all((ROOT / file).is_file() for file in args.configfile), args.configfile


def test_the_commands_are_found_that_are_known_to_be_there():
    pages = [page for page, _ in COMMANDS]
    assert pages.count("README.md") >= 2
    assert pages.count("docs/cluster.md") >= 4
    assert "scales/paper.yaml" in pages
    assert shown("```\nsnakemake a \\\n  b   # c\n```\nas `snakemake d` does, or snakemake e") == [
        "snakemake a    b   # c",
        "snakemake d",
    ]
