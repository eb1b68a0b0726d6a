"""What the main process does before any job starts: try models, write the specs for jobs, stamp the fixed paths."""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from capacity.artefacts.identity import check_bytecode_by_hash
from capacity.artefacts.manifest import MANIFEST, write_atomically
from capacity.artefacts.spec import Spec, spec_text
from capacity.errors import ending_where_unwritable
from capacity.jobs.run_loggers import check_loggers
from capacity.plan.context_checks import check_contexts
from capacity.plan.fixed_paths import published, stamp_copy
from capacity.plan.model_checks import check_models
from capacity.plan.survey import Plan, State, hold_against, listing

if TYPE_CHECKING:
    from capacity.plan.grid import Grid

STUDIES = "report/studies.json"  # each study's question and findings, for the report's pages


def try_models(plan: Plan) -> None:
    """Build the models that are not of the paper and still to be made, and see that texts fit. Raises UserError."""
    done = {name for name, state in plan.states.items() if state == State.DONE}
    check_contexts(plan.specs, done)
    check_models(plan.specs, done)


def prepare_run(grid: "Grid", results: Path) -> Plan:
    """Survey the artefacts, then write what the engine compares: specs to make again, stamps."""
    check_bytecode_by_hash()
    plan = hold_against(grid, results)
    try_models(plan)
    check_loggers(grid.loggers)
    _ask_again(plan, results)
    for artefact, files, id_file in published(grid):
        stamp_copy(artefact, files, id_file, results)
    return plan


def write_specs(plan: Plan, results: Path) -> None:
    """Put every spec into `results/specs/`, where jobs read it; those of artefacts to make again stand there already.

    It has the oldest time there is, by which it is known to ask for nothing new.
    """
    folder = results / "specs"
    folder.mkdir(parents=True, exist_ok=True)
    present = {entry.name: entry.stat().st_mtime for entry in listing(folder)}
    for spec in plan.specs.values():
        path = folder / f"{spec.id}.json"
        if spec.name in plan.remake:
            continue
        if present.get(path.name) != 0 or (plan.states[spec.name] != State.DONE and not _holds(path, spec)):
            write_atomically(path, spec_text(spec), durable=False, time=0)


def _ask_again(plan: Plan, results: Path) -> None:
    """Write specs of artefacts to make again: inputs of their rules, newer than what is there, since the engine
    compares times. They name the reason, so that their checksum differs too.
    """
    for name, reason in plan.remake.items():
        print(f"{name} is made again: {reason}", file=sys.stderr)
        spec = replace(plan.specs[name], remake=reason)
        with ending_where_unwritable(results):
            _take_back(results / name / MANIFEST)
            (results / "specs").mkdir(parents=True, exist_ok=True)
            write_atomically(results / "specs" / f"{spec.id}.json", spec_text(spec), durable=False)


def _take_back(manifest: Path) -> None:
    """Make a manifest old whose time is ahead of the clock, or no spec that is written now is newer.

    Not by the time 0: to the engine an output of that time has none.
    """
    if manifest.is_file() and manifest.stat().st_mtime >= time.time():
        os.utime(manifest, (1, 1))


def _holds(path: Path, spec: Spec) -> bool:
    return path.read_bytes() == spec_text(spec).encode()


def write_studies(grid: "Grid", results: Path) -> None:
    """Put what the studies ask where the report reads it, unless it stands there."""
    path, text = results / STUDIES, json.dumps(grid.studies, indent=1) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with ending_where_unwritable(results):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text, durable=False)
