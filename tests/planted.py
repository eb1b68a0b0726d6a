"""Planted artefacts: specs of the tiny configuration, made in milliseconds with stand-ins for files."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capacity.artefacts.making import Making
from capacity.artefacts.manifest import noted, read_manifest
from capacity.artefacts.spec import Spec, spec_text
from capacity.config.load import load_config
from capacity.plan.fixed_paths import figure_names, published
from capacity.plan.grid import Grid, resolve
from capacity.tables.run_costs import RUNS, runs_text

TINY = Path(__file__).parent / "workflow" / "tiny.yaml"
FILES = {
    "tables": ("capacity_table.csv", "capacity_summary.csv"),
    "claims": ("claims.csv", "claims.md"),
}


@functools.cache
def tiny_grid() -> Grid:
    """Three runs in two studies; `long` and `short` share a dataset and a tokenizer."""
    return tiny()


def tiny(**overrides: Any) -> Grid:
    """The tiny configuration with sections laid over it."""
    return resolve(load_config([TINY], overrides))


def plant(spec: Spec, results: Path) -> Path:
    """Make one artefact, and the members of a set before it, through the code that every job uses."""
    for member in spec.members:
        plant(member, results)
    names = [*spec.parent_names(), *(member.name for member in spec.members)]
    inputs = {name: noted(read_manifest(results / name)) for name in names}
    with Making(spec, results, inputs) as making:
        for file in files_of(spec):
            (making.folder / file).write_text(f"{file} of {spec.name}\n")
        making.metrics = {"flops": 1e6} if spec.stage == "checkpoints" else {}
    return results / spec.name


def files_of(spec: Spec) -> tuple[str, ...]:
    """Names of the files of an artefact."""
    if spec.stage == "figures":
        return tuple(f"{name}.{kind}" for name in figure_names(spec) for kind in ("png", "svg", "csv"))
    return FILES.get(spec.stage, ("content.txt",))


def publish(grid: Grid, results: Path) -> None:
    """Copy table and figures to their fixed paths, as the engine's last two jobs do."""
    for artefact, files, id_file in published(grid):
        for name, path in files.items():
            (results / path).parent.mkdir(parents=True, exist_ok=True)
            (results / path).write_bytes((results / artefact.name / name).read_bytes())
        (results / id_file).write_text(artefact.id + "\n")
    (results / RUNS).write_text(runs_text(grid.table.settings["rows"], results))


def build(grid: Grid, results: Path) -> None:
    """Everything that a run of the engine leaves, specs excepted."""
    for spec in grid.specs.values():
        plant(spec, results)
    publish(grid, results)


def write_spec(spec: Spec, results: Path) -> Path:
    """Put a spec where a job looks for it."""
    path = results / "specs" / f"{spec.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(spec_text(spec))
    return path


def of_stage(grid: Grid, stage: str, run: str = "") -> Spec:
    """The first spec of a stage whose slug holds a text."""
    return next(o for o in grid.specs.values() if o.stage == stage and run in o.id.rpartition("-")[0])


def keeping_times(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file's bytes and nothing else that a look at the folder would show."""
    stat = path.stat()
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
