"""How long each test file takes: tests/durations.csv, as it was measured last.

    python tests/durations.py        shows it, the longest first
    make test ARGS=--renew-durations measures again; a file that did not run keeps its row

A file with a test of more than ten seconds says why in the last column, which is written by hand and stays.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
FILE = TESTS / "durations.csv"
LONG = 10.0  # seconds of one test, from which on it says why


@dataclass
class Duration:
    """One test file."""

    file: str  # below the checkout
    seconds: float = 0.0  # of all its tests, what they start from included
    engine: float = 0.0  # of which by tests that start from what the engine has built
    tests: int = 0
    longest: float = 0.0  # of one test, what it starts from left out
    longest_test: str = ""
    why: str = ""  # a test of more than ten seconds must take so long


KINDS: dict[str, Any] = {
    "file": str,
    "seconds": float,
    "engine": float,
    "tests": int,
    "longest": float,
    "longest_test": str,
    "why": str,
}


def read(path: Path = FILE) -> dict[str, Duration]:
    """By file."""
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = [Duration(**{name: KINDS[name](text) for name, text in row.items()}) for row in csv.DictReader(file)]
    return {row.file: row for row in rows}


def write(rows: dict[str, Duration], path: Path = FILE) -> None:
    """Of files that are there, by name."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(KINDS)
        for row in sorted(rows.values(), key=lambda row: row.file):
            if (TESTS.parent / row.file).is_file():
                values = (getattr(row, name) for name in KINDS)
                writer.writerow(f"{value:.1f}" if isinstance(value, float) else value for value in values)


@dataclass
class Test:
    """One test that ran."""

    whole: float = 0.0  # seconds
    call: float = 0.0  # of which of the test itself, not of what it starts from
    engine: bool = False  # starts from what the engine has built


def measured(tests: dict[str, Test], before: dict[str, Duration]) -> dict[str, Duration]:
    """New rows of the files that ran, and the old ones of the others. tests: by name."""
    of_file: dict[str, dict[str, Test]] = defaultdict(dict)
    for name, test in tests.items():
        file, _, short = name.partition("::")
        of_file[file][short] = test
    rows = dict(before)
    for file, each in of_file.items():
        longest = max(each, key=lambda name: each[name].call)
        why = before[file].why if file in before else ""
        whole = sum(test.whole for test in each.values())
        built = sum(test.whole for test in each.values() if test.engine)
        rows[file] = Duration(file, whole, built, len(each), each[longest].call, longest, why)
    return rows


def main() -> None:
    """Show them."""
    rows = sorted(read().values(), key=lambda row: -row.seconds)
    for row in rows:
        print(f"{row.seconds:8.1f} s  {row.tests:4d} tests  {row.file}  (one of {row.longest:.1f} s)")
    print(f"{sum(row.seconds for row in rows):8.1f} s  {sum(row.tests for row in rows):4d} tests in {len(rows)} files")


if __name__ == "__main__":
    main()
