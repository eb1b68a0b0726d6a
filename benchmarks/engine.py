"""What identity costs: planning a grid of about 10,000 jobs with this workflow and with bare rules of the same shape.

Prints seconds and peak memory of a dry run when nothing is built and of a run when all is built, for this workflow and
for rules that only name files, in turn, and the ratios. Nothing is trained: artefacts are written by this program.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from capacity.artefacts.hash_index import INDEX, NOTES
from capacity.artefacts.making import Making
from capacity.artefacts.manifest import write_atomically
from capacity.config.load import load_config
from capacity.plan.fixed_paths import published
from capacity.plan.grid import Grid, resolve

CONFIG = """
scale: laptop
study: [grid]
scales:
  laptop: {{accelerator: cpu, precision: fp32, compile: false}}
datasets:
  atomic: {{kind: bioD, N: 6, K: 2, D: 4, T: 4, names: [4, 4, 4], wording: atomic}}
tokenizers:
  word: {{kind: word}}
models:
  small: {{architecture: gpt2-1-2, head_dim: 4}}
regimes:
  short: {{exposures: 1, packing: rows, batch: 4, lr: 1e-2, warmup_steps: 1}}
quantizers:
  none: {{method: none}}
studies:
  grid:
    question: What does a large grid cost?
    paper: Nothing.
    datasets: [atomic]
    tokenizers: [word]
    models: [small]
    regimes: [short]
    seeds: [{seeds}]
"""
BARE = """
RUNS = range({runs})
rule all:
    input: "results/table.csv", "results/figure.png"
rule d:
    output: "results/d/{{run}}/m"
    shell: "touch {{output}}"
rule t:
    input: "results/d/{{run}}/m"
    output: "results/t/{{run}}/m"
    shell: "touch {{output}}"
rule c:
    input: "results/d/{{run}}/m", "results/t/{{run}}/m"
    output: "results/c/{{run}}/m"
    shell: "touch {{output}}"
rule v:
    input: "results/c/{{run}}/m"
    output: "results/v/{{run}}/m"
    shell: "touch {{output}}"
rule p:
    input: "results/d/{{run}}/m", "results/t/{{run}}/m", "results/v/{{run}}/m"
    output: "results/p/{{run}}/m"
    shell: "touch {{output}}"
rule a:
    input: expand("results/p/{{run}}/m", run=RUNS)
    output: "results/table.csv"
    shell: "touch {{output}}"
rule f:
    input: "results/table.csv"
    output: "results/figure.png"
    shell: "touch {{output}}"
"""


def ours(folder: Path, runs: int) -> None:
    """This workflow with a grid of runs."""
    for name in ("Snakefile", "rules", "scripts", "profiles"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    (folder / "config.yaml").write_text(CONFIG.format(seeds=", ".join(map(str, range(runs)))))


def build_ours(folder: Path) -> None:
    """Write every artefact, each with one small file, and publish the last two."""
    results = folder / "results"
    grid: Grid = resolve(load_config([folder / "config.yaml"]))
    to_publish = {artefact.name: list(files) for artefact, files, _ in published(grid)}
    for spec in grid.specs.values():
        inputs: dict[str, dict[str, str]] = {}
        for member in spec.members:
            with Making(member, results, {}) as making:
                (making.folder / "body").write_text("x")
            inputs[member.name] = {"content": "x"}
        with Making(spec, results, inputs) as making:
            for name in ("body", *to_publish.get(spec.name, ())):
                (making.folder / name).write_text(name)
    for artefact, files, id_file in published(grid):
        for name, target in files.items():
            (results / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(results / artefact.name / name, results / target)
        write_atomically(results / id_file, artefact.id + "\n")
    write_atomically(results / "runs.csv", "")


def bare(folder: Path, runs: int) -> None:
    """Bare rules of the same shape."""
    (folder / "Snakefile").write_text(BARE.format(runs=runs))
    profile = folder / "profiles" / "default"
    profile.mkdir(parents=True)
    shutil.copy2(ROOT / "profiles" / "default" / "config.yaml", profile / "config.yaml")


def build_bare(folder: Path, runs: int) -> None:
    """Write every output, parents before children."""
    paths = [folder / "results" / rule / str(run) / "m" for rule in "dtcvp" for run in range(runs)]
    for path in [*paths, folder / "results" / "table.csv", folder / "results" / "figure.png"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def measure(folder: Path, *words: str) -> tuple[float, float]:
    """CPU seconds and peak MB of one engine run."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "-q", "all", *words]
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""},  # as where nobody sets it
    )
    error = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the engine failed in {folder}: {error.decode()[-500:]}")
    assert time.monotonic() > started
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(title: str, mine: Path, other: Path, repeats: int, *words: str, notes: bytes | None = None) -> None:
    """Run both in turn and print medians and the median of the ratios.

    notes: of the jobs, which take the place of all that was remembered of hashed bytes; empty where a copy has none.
    """
    pairs = []
    for _ in range(repeats):
        if notes is not None:
            (mine / "results" / INDEX).unlink(missing_ok=True)
            (mine / "results" / NOTES).write_bytes(notes)
        pairs.append((measure(mine, *words), measure(other, *words)))
    seconds = [statistics.median(pair[i][0] for pair in pairs) for i in (0, 1)]
    memory = [max(pair[i][1] for pair in pairs) for i in (0, 1)]
    ratio = statistics.median(a[0] / b[0] for a, b in pairs)
    print(
        f"{title:28s} {seconds[0]:8.2f} {seconds[1]:8.2f} {ratio:8.2f} {memory[0]:10.0f} {memory[1]:10.0f}", flush=True
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="five jobs a run (default: 2000)")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with tempfile.TemporaryDirectory() as scratch:
        mine, other = Path(scratch) / "ours", Path(scratch) / "bare"
        for folder in (mine, other):
            folder.mkdir()
        ours(mine, args.runs)
        bare(other, args.runs)
        print(
            f"{5 * args.runs + 5} jobs; CPU seconds and peak MB of the engine's main process, median of {args.repeats}"
        )
        print(f"{'':28s} {'ours':>8s} {'bare':>8s} {'ratio':>8s} {'ours MB':>10s} {'bare MB':>10s}")
        compare("plan, nothing built", mine, other, args.repeats, "-n")
        build_ours(mine)
        build_bare(other, args.runs)
        notes = (mine / "results" / NOTES).read_bytes()
        compare("first look after a build", mine, other, args.repeats, notes=notes)
        compare("first look at a copy", mine, other, args.repeats, notes=b"")
        compare("nothing to do", mine, other, args.repeats)


if __name__ == "__main__":
    main()
