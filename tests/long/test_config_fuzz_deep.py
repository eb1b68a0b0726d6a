"""The configuration's fuzzer with more examples: FUZZ_NEW=1 FUZZ_EXAMPLES=1000 draws as many new ones."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # where the configuration finds claims.yaml
FUZZER = "tests/config/test_config_fuzz.py"


def test_many_changes_of_the_configuration_end_in_a_plan_or_in_lines_of_error() -> None:
    environment = {"FUZZ_EXAMPLES": "120", **os.environ}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", FUZZER]
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout[-20_000:]
