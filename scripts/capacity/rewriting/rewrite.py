"""From a world's facts to texts: asked in batches, each kept as soon as it is whole, every text checked."""

import contextlib
import csv
import io
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from capacity.errors import UserError
from capacity.jobs.progress import LOG_SECONDS, duration
from capacity.rewriting.check import MISSING, WRONG, Checked, Checker
from capacity.rewriting.endpoint import EndpointClient
from capacity.rewriting.language_model import LanguageModel
from capacity.rewriting.paraphrase import ParaphrasingGrammar
from capacity.rewriting.spec import (
    EndpointRewriter,
    GrammarRewriter,
    ModelRewriter,
    RewriterSettings,
    RewritingSettings,
)
from capacity.world.facts import World
from capacity.world.grammar import EOS_TOKEN
from capacity.world.rewritings import Rewritings

BATCH = 64  # texts, where the rewriter does not say
PATIENCE = 64  # texts in a row without a fact of their person, after which the rewriting ends
SURVIVAL = "survival.csv"
KEPT = "texts.jsonl"  # a line a batch: what was written, so that a job goes on where it stopped

Ask = tuple[int, int]  # person, number of the text


class Rewriter(Protocol):
    """Writes a text for each ask; another one at every attempt."""

    def write(self, asks: list[Ask], attempt: int) -> list[str]:
        """The texts, in order."""


REWRITERS: dict[type[RewriterSettings], Callable[[Any, World, int], Rewriter]] = {
    GrammarRewriter: ParaphrasingGrammar,
    ModelRewriter: LanguageModel,
    EndpointRewriter: EndpointClient,
}


def rewrite_world(world: World, settings: RewritingSettings, resume: Path) -> tuple[World, dict[str, Any]]:
    """The world with `rewritings` texts a person, and counts of what was asked, missing and wrong.

    resume: a folder for the batches that are done. Raises UserError for a rewriter that mentions no fact.
    """
    writing = Writing(world, settings)
    resume.mkdir(parents=True, exist_ok=True)
    done = _read(resume / KEPT)
    _write(writing, done, resume / KEPT)
    texts = [text for entry in done for text in entry["texts"]]
    checks = [writing.check(row, text) for row, text in enumerate(texts)]
    rewritings = Rewritings.of(texts, [each.marks for each in checks], writing.W)
    metrics = _counts(checks, done, writing)
    return replace(world, rewritings=rewritings), metrics


def _write(writing: "Writing", done: list[dict[str, Any]], path: Path) -> None:
    """Write the batches that are missing, each kept as soon as it is whole and one mentions a fact.

    Raises UserError where so many texts in a row mention no fact; they are not kept, so that others are asked for then.
    """
    started, first = time.monotonic(), len(done)
    due = started
    waiting: list[dict[str, Any]] = []  # batches that mention no fact, since the last that does
    with open(path, "a", encoding="utf-8") as file:
        for batch in range(len(done), writing.num_batches):
            waiting.append(writing.batch(batch))
            if waiting[-1].pop("factless"):
                _check_factless(waiting, writing.total)
                continue
            file.writelines(json.dumps(entry) + "\n" for entry in waiting)
            file.flush()
            done += waiting
            waiting = []
            if time.monotonic() >= due:
                due = time.monotonic() + LOG_SECONDS
                left = (time.monotonic() - started) / (batch + 1 - first) * (writing.num_batches - batch - 1)
                print(f"batch {batch + 1:,} of {writing.num_batches:,}  {duration(left)} left", flush=True)
    done += waiting


def _check_factless(entries: list[dict[str, Any]], total: int) -> None:
    texts = [text for entry in entries for text in entry["texts"]]
    if len(texts) >= min(PATIENCE, total):
        raise UserError(
            f"rewriter: none of {len(texts)} texts mentions a single fact of its person; the first begins "
            f"{texts[0].strip()[:80]!r}; use another model"
        )


class Writing:
    """One spec's batches; any of them can be written on its own."""

    def __init__(self, world: World, settings: RewritingSettings):
        self.W, self.tries, how = settings.rewritings, settings.tries, settings.rewriter
        self.total = world.N * self.W
        self.size = how.batch if isinstance(how, ModelRewriter) else BATCH
        self.num_batches = -(-self.total // self.size)
        self.rewriter = REWRITERS[type(how)](how, world, settings.seed)
        self.checker = Checker(world.grammar)
        self.facts = world.facts

    def batch(self, number: int) -> dict[str, Any]:
        """batch: its number; texts; asked: how many were written; first: flaws at first; factless: none has one."""
        rows = list(range(number * self.size, min((number + 1) * self.size, self.total)))
        texts, checks = self._write(rows, 0)
        first, asked = _tally(checks), len(rows)
        for attempt in range(1, self.tries):
            flawed = [place for place, each in enumerate(checks) if each.flaws]
            if not flawed:
                break
            asked += len(flawed)
            again = self._write([rows[place] for place in flawed], attempt)
            for place, text, check in zip(flawed, *again, strict=True):
                if check.num_mentioned > checks[place].num_mentioned:
                    texts[place], checks[place] = text, check
        factless = not any(each.marks for each in checks)
        return {"batch": number, "texts": texts, "asked": asked, "first": first, "factless": factless}

    def check(self, row: int, text: str) -> Checked:
        """A text against the facts of the person whose it is."""
        return self.checker.check(text, {column: int(codes[row // self.W]) for column, codes in self.facts.items()})

    def _write(self, rows: list[int], attempt: int) -> tuple[list[str], list[Checked]]:
        written = self.rewriter.write([divmod(row, self.W) for row in rows], attempt)
        texts = [_one_line(text) for text in written]
        return texts, [self.check(row, text) for row, text in zip(rows, texts, strict=True)]


def _one_line(text: str) -> str:
    """A text as it is kept: up to its end where it says so, blanks made one, half characters replaced."""
    whole = text.split(EOS_TOKEN)[0].encode("utf-8", errors="replace").decode("utf-8")
    return " " + " ".join(whole.split())


def _tally(checks: list[Checked]) -> dict[str, int]:
    """How many texts have which flaw, by "item: missing" or "item: wrong", and how many have any."""
    counts = Counter(f"{item}: {flaw}" for each in checks for item, flaw in each.flaws.items())
    return {"flawed": sum(bool(each.flaws) for each in checks), **dict(sorted(counts.items()))}


def _counts(checks: list[Checked], done: list[dict[str, Any]], writing: Writing) -> dict[str, Any]:
    first: Counter[str] = Counter()
    for entry in done:
        first.update(entry["first"])
    unmentioned = 0
    for start in range(0, len(checks), writing.W):
        mentioned = {label for each in checks[start : start + writing.W] for label, _, _ in each.marks}
        unmentioned += len(writing.checker.items) - len(mentioned)
    return {
        "texts": len(checks),
        "asked": sum(entry["asked"] for entry in done),
        "flaws_at_first": dict(sorted(first.items())),
        "flaws_kept": _tally(checks),
        "facts_never_told": unmentioned,
    }


def survival_text(counts: dict[str, Any], items: list[str]) -> str:
    """survival.csv: in how many texts each item is right, missing or wrong; `all`, in how many nothing is amiss.

    counts: as of `rewrite_world`. `which` is "first" for what was written first, "kept" for what is learned from.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["which", "item", "texts", "right", MISSING, WRONG])
    for which, flaws in (("first", counts["flaws_at_first"]), ("kept", counts["flaws_kept"])):
        for item in items:
            missing, wrong = (flaws.get(f"{item}: {flaw}", 0) for flaw in (MISSING, WRONG))
            writer.writerow([which, item, counts["texts"], counts["texts"] - missing - wrong, missing, wrong])
        writer.writerow([which, "all", counts["texts"], counts["texts"] - flaws["flawed"], "", ""])
    return text.getvalue()


def _read(path: Path) -> list[dict[str, Any]]:
    """The batches that were written whole, in order from the first; all else, as a killed job leaves it, is cut off."""
    if not path.is_file():
        return []
    lines, entries = path.read_bytes().split(b"\n"), list[dict[str, Any]]()
    with contextlib.suppress(ValueError):  # a line that two processes wrote into
        for line in lines[:-1]:
            entry = json.loads(line)
            if entry.get("batch") != len(entries):
                break
            entries.append(entry)
    whole = b"".join(line + b"\n" for line in lines[: len(entries)])
    if len(whole) < path.stat().st_size:
        path.write_bytes(whole)
    return entries
