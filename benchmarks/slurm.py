"""What a SLURM job costs beside its work, with and without job arrays; the figures of docs/cluster.md.

usage, while `tests/slurm/cluster up` is up and the machine is idle: python benchmarks/slurm.py [--jobs 2 24 200]

Jobs draw six people each, under half a second of work. All times are SLURM's and the manifests', none of this program.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "slurm"))

from engine import Engine, new_checkout, num_submissions, with_datasets

SINGLE = ["--slurm-array-jobs", "none"]
LOOK = 20.0  # seconds between looks at the controller, which forgets a finished job after five minutes
TIMES = ("Submit", "Start", "End")


def work_began(checkout: Path) -> dict[str, float]:
    """SLURM job or task to the time when its script began to work, in seconds since 1970."""
    times = {}
    for path in (checkout / "results" / "datasets").glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        job = manifest["environment"]["variables"]["SLURM_JOB_ID"]
        times[job] = datetime.fromisoformat(manifest["started"]).timestamp()
    return times


def job_times() -> dict[str, dict[str, float]]:
    """SLURM job or task to when it was submitted, got its place and ended, in seconds since 1970."""
    environment = {**os.environ, "SLURM_TIME_FORMAT": "%s"}
    command = ["scontrol", "--oneliner", "show", "job"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    jobs = {}
    for line in said.splitlines():
        if job := re.match(r"JobId=(\d+)", line):
            jobs[job[1]] = {key: float(at[1]) for key in TIMES if (at := re.search(rf" {key}Time=(\d+)", line))}
    return jobs


def measure(num_jobs: int, words: list[str]) -> str:
    """A row of the table: so many jobs in one run of the engine."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = with_datasets(new_checkout(Path(folder) / "checkout"), num_jobs)
        before = num_submissions()
        engine = Engine(checkout, "--until", "make_dataset", *words)
        seen = job_times()
        while engine.process.poll() is None:
            seen.update(job_times())
            time.sleep(LOOK if num_jobs > 100 else 1)
        engine.succeed()
        seen.update(job_times())
        submissions, began = num_submissions() - before, work_began(checkout.path)
    assert len(began) == num_jobs
    jobs = [{"Work": work, **seen[job]} for job, work in began.items()]

    def median(start: str, stop: str) -> str:
        return f"{statistics.median(job[stop] - job[start] for job in jobs):.0f} s"

    whole = max(job["End"] for job in jobs) - min(job["Submit"] for job in jobs)
    core_seconds = whole * min(os.cpu_count() or 1, num_jobs) / num_jobs
    kind = "single" if words == SINGLE else "array"
    cells = median("Submit", "Work"), median("Start", "Work"), median("Start", "End"), f"{core_seconds:.1f} s"
    return " | ".join([f"| {num_jobs}", kind, str(submissions), *cells]) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[2, 24, 200], help="so many in one run")
    columns = "submission to work", "start to work", "life of a job", "core seconds a job"
    print(" | ".join(["| jobs", "submitted as", "submissions", *columns]) + " |")
    print("|---" * 7 + "|")
    for number in parser.parse_args().jobs:
        for words in ([], SINGLE):
            print(measure(number, words), flush=True)
