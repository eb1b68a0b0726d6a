"""The configuration's fuzzer with new examples each time, and many of them."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "config"


def test_many_changes_of_the_configuration_end_in_a_plan_or_in_lines_of_error() -> None:
    environment = {**os.environ, "FUZZ_EXAMPLES": "600"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_config_fuzz.py"]
    answer = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout[-20_000:]
