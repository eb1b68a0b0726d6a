"""What a SLURM job costs beside its work, with and without job arrays; the figures of docs/cluster.md.

usage, while `tests/slurm/cluster up` is up and the machine is idle: python tests/slurm/overhead.py
"""

import json
import os
import re
import statistics
import subprocess
import tempfile
from datetime import datetime
from pathlib import Path

from engine import Engine, new_checkout

SINGLE = ["--slurm-array-jobs", "none"]


def started(checkout: Path) -> dict[str, float]:
    """SLURM job or task to the time when its script began to work, in seconds since 1970."""
    times = {}
    for path in (checkout / "results" / "datasets").glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        job = manifest["environment"]["variables"]["SLURM_JOB_ID"]
        times[job] = datetime.fromisoformat(manifest["started"]).timestamp()
    return times


def measure(num_jobs: int, words: list[str]) -> str:
    """A row of the table: so many jobs that draw six people each."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = new_checkout(Path(folder) / "checkout")
        text = (checkout.path / "config.yaml").read_text().replace("study: [base, prose]", "study: [base]")
        seeds = f"seeds: {list(range(num_jobs))}"
        (checkout.path / "config.yaml").write_text(text.replace("seeds: [1]", seeds, 1))
        engine = Engine(checkout, "--until", "make_dataset", *words)
        engine.succeed(600)
        calls = len(re.findall("Submitted array job|has been submitted", engine.said()))
        waits, lives, ends, submissions = [], [], [], []
        environment = {**os.environ, "SLURM_TIME_FORMAT": "%s"}
        for job, start in started(checkout.path).items():
            command = ["scontrol", "--oneliner", "show", "job", job]
            said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            (said,) = [line for line in said.splitlines() if line.startswith(f"JobId={job} ")]
            submitted, began, end = (
                float(re.search(rf" {key}Time=(\d+)", said)[1])  # type: ignore[index]
                for key in ("Submit", "Start", "End")
            )
            waits.append(start - submitted)
            lives.append(end - began)
            submissions.append(submitted)
            ends.append(end)
    cores = os.cpu_count() or 1
    core_seconds = (max(ends) - min(submissions)) * min(cores, num_jobs) / num_jobs
    kind = "single" if words == SINGLE else "array"
    return (
        f"| {num_jobs} | {kind} | {calls} | {statistics.median(waits):.0f} s | {statistics.median(lives):.0f} s "
        f"| {core_seconds:.1f} s |"
    )


if __name__ == "__main__":
    print("| jobs | submitted as | calls of sbatch | submission to work | life of a job | core seconds a job |")
    print("|---|---|---|---|---|---|")
    for number in (2, 24):
        for words in (SINGLE, []):
            print(measure(number, words), flush=True)
