"""The gate: three turns have all long tests, durations say why a test is long, `make quick` takes what is near."""

import subprocess
import sys
from pathlib import Path

import durations
import pytest
from edits import EDITS
from quick import chosen
from turns import TURNS, in_turn

ROOT = Path(__file__).resolve().parents[1]
GROUPS = {
    "long/test_kill.py::kills": [f"kill{number}" for number in range(3)],
    "long/test_all_edits.py::edits ['publish_table']": ["edited by hand"],
    "long/test_all_edits.py::edits []": ["none", "comment", "whitespace", "touch"],
    "long/test_audit_whole.py::audit": ["audit"],
}


def test_three_turns_together_have_every_test_and_each_has_an_edit_of_every_class():
    turns = [in_turn(GROUPS, turn) for turn in range(TURNS)]
    assert set().union(*turns) == {name for names in GROUPS.values() for name in names}
    for names in turns:
        assert len(names & set(GROUPS["long/test_kill.py::kills"])) == 1
        assert "edited by hand" in names
        assert names & set(GROUPS["long/test_all_edits.py::edits []"])
    assert [("audit" in names) for names in turns].count(True) == 1


def collected(*words: str) -> list[str]:
    """Names of the long tests that pytest would run."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-q",
        "-m",
        "long",
        "-p",
        "no:cacheprovider",
        *words,
    ]
    answer = subprocess.run([*command, "tests"], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout
    return [line for line in answer.stdout.splitlines() if line.startswith("tests/")]


@pytest.mark.long
def test_the_turns_that_pytest_takes_cover_all_long_tests_and_are_the_same_each_time():
    """In counts of files: as many in the three turns as in all, but for edits, whose small classes stand in each."""
    counts = [dict(line.split(": ") for line in collected("--turn", str(turn))) for turn in range(TURNS)]
    whole = dict(line.split(": ") for line in collected())
    for file, number in whole.items():
        together = sum(int(count.get(file, 0)) for count in counts)
        assert together == int(number) if "edits" not in file else together >= int(number), file
    again = dict(line.split(": ") for line in collected("--turn", str(TURNS)))
    assert again == counts[0]


def test_every_edit_is_planned_each_time_whatever_turn_it_is_built_in():
    text = (ROOT / "tests" / "workflow" / "test_edits.py").read_text()
    assert 'parametrize("edit", EDITS' in text
    assert len({edit.name for edit in EDITS}) == len(EDITS)


def test_a_file_with_a_test_of_more_than_ten_seconds_says_why():
    rows = durations.read().values()
    assert [row.file for row in rows if row.longest > durations.LONG and not row.why] == []


def test_durations_that_are_measured_again_keep_reasons_and_other_files():
    old = durations.Duration("tests/test_gate.py", 1.0, 0.0, 1, 1.0, "test_a", "it must")
    other = durations.Duration("tests/test_api.py", 2.0, 0.0, 1, 2.0, "test_b", "")
    tests = {
        "tests/test_gate.py::test_a": durations.Test(3.0, 3.0),
        "tests/test_gate.py::test_c": durations.Test(4.0, 4.0, engine=True),
    }
    rows = durations.measured(tests, {row.file: row for row in (old, other)})
    new = durations.Duration("tests/test_gate.py", 7.0, 4.0, 2, 4.0, "test_c", "it must")
    assert rows == {"tests/test_gate.py": new, "tests/test_api.py": other}


def test_durations_are_read_as_they_were_written(tmp_path: Path):
    row = durations.Duration("tests/test_gate.py", 7.0, 4.0, 2, 4.0, 'test_c[a,"b"]', "it must")
    durations.write({row.file: row, "gone": durations.Duration("tests/gone.py")}, tmp_path / "durations.csv")
    assert durations.read(tmp_path / "durations.csv") == {row.file: row}


def test_quick_takes_changed_tests_then_what_mirrors_the_change_then_what_lies_above():
    tests = ["tests/world/test_w.py", "tests/plan/test_p.py", "tests/tables/test_t.py", "tests/figures/test_f.py"]
    changes = ["scripts/capacity/tables/bits.py", "tests/plan/test_p.py"]
    assert chosen(changes, tests, {}) == (
        ["tests/plan/test_p.py", "tests/tables/test_t.py", "tests/figures/test_f.py"],
        [],
    )


def test_quick_says_what_its_minute_leaves_out():
    seconds = {"tests/tables/test_a.py": 20.0, "tests/tables/test_b.py": 50.0}
    run, left = chosen(["scripts/capacity/tables/bits.py"], list(seconds), seconds, limit=60.0)
    assert (run, left) == (["tests/tables/test_a.py"], ["tests/tables/test_b.py"])


def test_quick_has_nothing_to_run_where_nothing_differs():
    assert chosen([], ["tests/tables/test_a.py", "tests/test_api.py"], {}) == ([], [])
