"""What levels 1 to 3 of an audit cost on a results folder of about 10,000 artefacts, hashing told apart.

Nothing is trained: artefacts are written by this program, each with a small file, through the code that every job uses.
The table is not made again, since planted scores are no scores; that costs what tabulating costs.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from engine import CONFIG
from planted import build, write_spec

from capacity.artefacts.identity import file_digest
from capacity.audit.findings import Severity
from capacity.audit.folder import read_folder
from capacity.audit.run import Options, published_places, run_audit
from capacity.config.load import load_config
from capacity.plan.grid import resolve


def main() -> None:
    """Build, audit, print seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1430, help="seven artefacts a run (default: 1430)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results, file = Path(scratch) / "results", Path(scratch) / "config.yaml"
        file.write_text(CONFIG.format(seeds=", ".join(map(str, range(args.runs)))))
        config = load_config([file])
        grid = resolve(config)
        started = time.monotonic()
        build(grid, results)
        for spec in grid.specs.values():
            write_spec(spec, results)
        print(f"built in {time.monotonic() - started:.0f} s", flush=True)
        folder = read_folder(results, published_places(grid))
        started = time.monotonic()
        files = [a.folder / name for a in folder.artefacts.values() for name in a.manifest.outputs]
        for path in files:
            file_digest(path)
        print(
            f"{len(folder.artefacts)} artefacts; hashing {len(files)} files alone: {time.monotonic() - started:.1f} s"
        )
        started, clock = time.monotonic(), time.process_time()
        report = run_audit(Options(results, config, grid, (1, 2, 3)))
        for level in report.levels:
            print(f"level {level.number}, {level.title}: {level.seconds:.1f} s")
        children = os.times()
        cpu = time.process_time() - clock + children.children_user + children.children_system
        print(f"all: {time.monotonic() - started:.1f} s, {cpu:.1f} CPU s with the engine's dry run")
        print(f"faults: {sum(f.severity == Severity.FAULT for level in report.levels for f in level.findings)}")


if __name__ == "__main__":
    main()
