"""What the pages show a reader: commands, in blocks and within texts, configuration, and what a program prints."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITHIN = re.compile(r"`([^`]+)`")
# A text between backticks that starts with one of these and a space is a command.
PROGRAMS = (
    *("make", "snakemake", "capacity", "python", "pip", "conda", "module", "git", "export", "."),
    *("squeue", "sbatch", "scancel", "kill", "tmux", "lm_eval", "pytest", "ruff", "mypy"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str

    @property
    def name(self) -> str:
        """Page and first line, for messages."""
        return f"{self.page}: {self.text.partition(chr(10))[0]}"

    def commands(self) -> list[str]:
        """Its lines as commands, whole and without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [command for line in lines if (command := normal(line))]


def normal(line: str) -> str:
    """A command without comment, one space between words; quotation marks stay."""
    lexer = shlex.shlex(line, posix=False, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, "#"
    return " ".join(lexer)


def blocks(page: str, text: str) -> list[Block]:
    """All fenced blocks of a page, in its order."""
    return [Block(page, match[1], match[2]) for match in FENCED.finditer(text)]


def within(text: str) -> list[str]:
    """Commands that stand within sentences or tables."""
    found = (" ".join(match[1].split()) for match in WITHIN.finditer(FENCED.sub("", text)))
    return [words for words in found if words.partition(" ")[0] in PROGRAMS and " " in words]


def read(page: str) -> str:
    """The text of a page."""
    return (ROOT / page).read_text()
