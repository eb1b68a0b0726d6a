"""What a contributor types before each commit passes on what is committed."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_make_check_passes():
    answer = subprocess.run(["make", "check"], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
