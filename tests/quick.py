"""`make quick`: in under a minute, the tests of what a working tree changes against main, none that starts the engine.

The test files that it changes come first, then the folders that mirror what it changes in the library, then those of
the layers above, until the minute is full; what it leaves out is said. tests/durations.csv tells how long each takes.
"""

import os
import subprocess
import sys
from pathlib import Path

import durations
from test_layers import LAYERS

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 60.0  # of all test processes together, beside their start
PROCESSES = 2
MAIN = ("main", "origin/main", "HEAD")  # what a tree is compared with: the first that there is


def git(*words: str) -> list[str]:
    """Lines of an answer; none where git refuses."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


def changed() -> list[str]:
    """Files that differ from where the branch left main, and new ones."""
    base = next(found[0] for name in MAIN if (found := git("merge-base", "HEAD", name)))
    return sorted({*git("diff", "--name-only", base), *git("ls-files", "--others", "--exclude-standard")})


def rank(test: str, changes: list[str]) -> int | None:
    """How near a test file is to the changes: 0 is one of them, 1 mirrors a changed folder, 2 and more lie above it.

    Those that lie in no folder are about everything: they stand with what is changed, and so do documents.
    """
    if test in changes:
        return 0
    folder = Path(test).parts[1] if len(Path(test).parts) > 2 else ""
    touched = {Path(path).parts[2].removesuffix(".py") for path in changes if path.startswith("scripts/capacity/")}
    touched |= {Path(path).parts[1] for path in changes if path.startswith("tests/") and len(Path(path).parts) > 2}
    if folder in touched or (folder == "" and changes):
        return 1
    lowest = min((LAYERS.index(each) for each in touched if each in LAYERS), default=len(LAYERS))
    if folder in LAYERS and LAYERS.index(folder) > lowest:
        return 1 + LAYERS.index(folder) - lowest
    return None


def chosen(
    changes: list[str], tests: list[str], seconds: dict[str, float], limit: float = SECONDS
) -> tuple[list[str], list[str]]:
    """Test files for a change, and those that the minute leaves out: the nearest first, of these the shortest."""
    ranks = {test: place for test in tests if (place := rank(test, changes)) is not None}
    run, left, spent = [], [], 0.0
    for test in sorted(ranks, key=lambda test: (ranks[test], seconds.get(test, 0.0))):
        if spent + seconds.get(test, 0.0) > limit:
            left.append(test)
        else:
            run.append(test)
            spent += seconds.get(test, 0.0)
    return run, left


def main() -> None:
    """Choose, say what, become pytest."""
    known = {name: row.seconds - row.engine for name, row in durations.read().items()}
    there = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    elsewhere = ("tests/long/", "tests/slurm/", "tests/report/")
    changes = changed()
    run, left = chosen(changes, [test for test in there if not test.startswith(elsewhere)], known)
    if not run:
        print("nothing differs from main: there is nothing to test; `make test` runs all")
        return
    about = sum(known.get(test, 0.0) for test in run)
    print(f"{len(changes)} files differ from main: {len(run)} test files, {about:.0f} s in {PROCESSES} processes")
    if left:
        print(f"left to `make test`, for the minute's sake: {' '.join(left)}")
    sys.stdout.flush()
    words = ["-n", str(PROCESSES), "--dist", "worksteal", "-m", "not long and not engine", *run, *sys.argv[1:]]
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *words])


if __name__ == "__main__":
    main()
