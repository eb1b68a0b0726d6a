"""What the main job costs outside optimizer steps, by stage, in core seconds.

Builds the default configuration from nothing in a copy of the working tree and asks every job's manifest. The engine's
line is what the jobs do not account for: the engine itself, and the ends of processes. Takes as long as `make table`.

Then what being watched costs: the live view's looks at a run of many jobs, and the files that a training shows itself
in, in processor time against the time between two of them. `--live` prints that alone, in seconds.
"""

import argparse
import io
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from rich.console import Console

from capacity.jobs import training_files
from capacity.jobs.run_file import RunFile, RunJob
from capacity.watch import view
from capacity.watch.state import RunState

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


def seconds_each(work: Callable[[], object], times: int = 50) -> float:
    """Processor time of one call."""
    started = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - started) / times


def print_live(jobs: int, running: int) -> None:
    """What one look of the view takes, and one writing of a training's files, as shares of a core."""
    position = {"step": 5, "steps": 9, "exposures": 9, "loss": 1.0, "tokens_per_second": 1e5, "seconds_left": 9.0}
    row = {"step": 1, "exposures": 0.5, "tokens": 1000, "loss": 1.0, "lr": 0.01}
    with tempfile.TemporaryDirectory() as scratch:
        results, console = Path(scratch), Console(file=io.StringIO(), width=120, height=40, force_terminal=True)
        run = RunFile({f"job-{n}": RunJob("train_checkpoint", f"run {n}", "study", seconds=9.0) for n in range(jobs)})
        for name in list(run.jobs)[:running]:
            (results / "scratch" / f"{name}.{socket.gethostname()}.{os.getpid()}").mkdir(parents=True)
            files = training_files.TrainingFiles(results / "resume" / name, lambda first: [row])
            files.write(position | {"time": time.time()})
        state = RunState(results, run)

        def look() -> None:
            state.look()
            console.print(view.drawn(state, *console.size))

        seconds = seconds_each(look)
        share = seconds / max(view.SECONDS, seconds / view.SHARE)
        print(f"live view of {running} of {jobs} jobs: {seconds * 1e3:.1f} ms a look, {share:.2%} of a core")
        seconds = seconds_each(lambda: files.write(position | {"time": time.time()}))
        share = seconds / training_files.SECONDS
        print(f"files of a training: {seconds * 1e3:.2f} ms a time, {share:.3%} of its core")


def main() -> None:
    """Build, and print a row a stage; then the cost of being watched."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", action="store_true", help="only what being watched costs; nothing is built")
    if not parser.parse_args().live:
        print_stages()
        print()
    print_live(jobs=40, running=2)
    print_live(jobs=1657, running=100)


def print_stages() -> None:
    """Build, and print a row a stage."""
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
