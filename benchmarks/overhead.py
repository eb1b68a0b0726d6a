"""What the main job costs outside optimizer steps, by stage, in core seconds.

Builds the default configuration from nothing in a copy of the working tree and asks every job's manifest. The engine's
line is what the jobs do not account for: the engine itself, and the ends of processes. Takes as long as `make table`.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS_A_RUN, SECONDS_FOR_ALL = 8, 60  # what was planned


def copy_tree(folder: Path) -> None:
    """The files of the working tree that git tracks or would track."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def build(folder: Path) -> tuple[float, float]:
    """Run the workflow; wall seconds and core seconds of the engine and its jobs."""
    started = time.monotonic()
    command = [sys.executable, "-m", "snakemake", "--cores", "all", "--quiet", "all"]
    subprocess.run(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Build, and print a row a stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    jobs: dict[str, list[dict]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        copy_tree(folder)
        wall, total = build(folder)
        for path in sorted((folder / "results" / "specs").glob("*.json")):
            spec = json.loads(path.read_text())
            manifest = folder / "results" / spec["stage"] / spec["id"] / "manifest.json"
            jobs[spec["stage"]].append(json.loads(manifest.read_text()))
    steps = sum(job["metrics"]["seconds"]["steps_cpu"] for job in jobs["checkpoints"])
    print(f"{wall:.0f} s of wall time, {total:.0f} core s, {steps:.0f} of them in optimizer steps\n")
    print(f"{'stage':14s} {'jobs':>5s} {'outside steps':>14s} {'a job':>8s}")
    engine = total
    for stage, made in jobs.items():
        seconds = sum(job["cpu_seconds"] for job in made)
        engine -= seconds
        outside = seconds - (steps if stage == "checkpoints" else 0)
        print(f"{stage:14s} {len(made):5d} {outside:14.1f} {outside / len(made):8.2f}")
    print(f"{'engine':14s} {'':5s} {engine:14.1f}")
    planned = SECONDS_A_RUN * len(jobs["checkpoints"]) + SECONDS_FOR_ALL
    print(f"{'all':14s} {'':5s} {total - steps:14.1f}   planned: {planned}")


if __name__ == "__main__":
    main()
