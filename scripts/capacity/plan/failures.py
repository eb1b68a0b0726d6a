"""What a run that ended badly leaves: which jobs failed and why, which rows are missing, a table of the finished ones.

The table of the finished rows is an artefact like any other, of the same script and of a spec that lists fewer rows;
a copy of it lies beside the published table under a name of its own, until the complete one is published.
"""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capacity.artefacts.identity import SCRIPTS
from capacity.artefacts.manifest import MANIFEST, write_atomically
from capacity.artefacts.spec import Spec, spec_text
from capacity.errors import unwritable
from capacity.jobs.activity import AT_WORK, log_of, printed_last
from capacity.plan.fixed_paths import published, published_id, withdraw_claims
from capacity.plan.survey import Plan
from capacity.plan.table_spec import table_spec
from capacity.plan.used_by import NamedRun, runs_of_rows, tops, used_by

PARTIAL, PARTIAL_ID = "capacity_table.partial.csv", "capacity_table.partial.id"
SHOWN = 20  # names that are listed
SHOWN_ROWS = 60  # a longer table is not shown
LINE = 300  # characters of a log's last line that are shown

Row = dict[str, Any]


@dataclass(frozen=True)
class FailedJob:
    """A job that the engine gave up on. spec: None where it only copies files. log: of its last attempt."""

    rule: str
    spec: Spec | None
    log: Path


def after_failure(plan: Plan, results: Path, failed: Sequence[FailedJob]) -> None:
    """Say on stderr what failed, why, and which rows are missing; then tabulate and show the rows that are there.

    Nothing where no job failed: the run was stopped.
    """
    if not failed:
        return
    rows, made = plan.grid.table.settings["rows"], _made(plan, results)
    run_of = {row["probe_set"]: str(run) for row, run in zip(rows, runs_of_rows(rows), strict=True)}
    runs = used_by(plan)
    lines = [f"error: {len(failed)} job{'s' if len(failed) > 1 else ''} failed"]
    for job in failed:
        lines += [f"  {job.rule}{_whose(job, runs)}: {last_line(job.log)}", f"    {job.log}"]
    missing = [row for row in rows if row["probe_set"] not in made]
    if missing:
        lines.append(f"{len(missing)} of the table's {len(rows)} rows are missing:")
        lines += _shown(run_of[row["probe_set"]] for row in missing)
    unasked = [row for row in rows if row["probe_set"] in made and not made.issuperset(tops(plan, row))]
    if unasked:
        lines.append("there are no answers to the questions that are asked of:")
        lines += _shown(run_of[row["probe_set"]] for row in unasked)
    print("\n".join(lines), file=sys.stderr, flush=True)
    there = [row for row in rows if row["probe_set"] in made]
    try:
        forget_partial(results)
        if there and (missing or unasked):
            _publish_partial(_partial_spec(plan, there, made), results)
    except OSError as error:
        print(f"error: no table of the finished rows: {unwritable(error, results) or error}", file=sys.stderr)


def after_success(plan: Plan, results: Path) -> None:
    """Where the table is published, remove that of finished rows, and verdicts on another one where none are wanted."""
    if published_id(results / published(plan.grid)[0][2]) == plan.grid.table.id:
        forget_partial(results)
        if plan.grid.claims is None:
            withdraw_claims(results)


def forget_partial(results: Path) -> None:
    """Remove the table of finished rows: it is an earlier run's, or the complete one is published."""
    for name in (PARTIAL, PARTIAL_ID):
        (results / name).unlink(missing_ok=True)


def last_line(log: Path) -> str:
    """What a job printed last, where an exception or a refusal says why; without control characters."""
    try:
        last = printed_last(log) or "it printed nothing"
    except OSError as error:
        return f"its log cannot be read ({error.strerror})"
    said = "".join(character for character in last if character.isprintable())
    if AT_WORK.match(said):
        return f"ended without a word, as one does that is killed, for want of memory perhaps; before: {said}"[:LINE]
    return said.removeprefix("error: ")[:LINE]


def _made(plan: Plan, results: Path) -> set[str]:
    """Artefacts that are there and, where they were to be made again, were made since their spec was written."""

    def is_made(spec: Spec) -> bool:
        manifest, asked = results / spec.name / MANIFEST, results / "specs" / f"{spec.id}.json"
        if spec.name not in plan.remake or not manifest.is_file():
            return manifest.is_file()
        return manifest.stat().st_mtime >= asked.stat().st_mtime

    return {spec.name for spec in plan.specs.values() if is_made(spec)}


def _whose(job: FailedJob, used: dict[str, list[NamedRun]]) -> str:
    """The runs that a failed job was for, in words."""
    runs = used.get(job.spec.name, []) if job.spec else []
    return f" of {runs[0]}" + (f" and {len(runs) - 1} more" if len(runs) > 1 else "") if runs else ""


def _shown(names: Iterable[str]) -> list[str]:
    """Lines with the first of some names, each once."""
    each = list(dict.fromkeys(names))
    return [f"  {name}" for name in each[:SHOWN]] + (
        [f"  and {len(each) - SHOWN} more (`make runs` lists them)"] if len(each) > SHOWN else []
    )


def _partial_spec(plan: Plan, there: list[Row], made: set[str]) -> Spec:
    """The table of some rows; what a row's extraction lacks is left out of it."""
    rows: list[Row] = []
    answered: set[str] = set()
    for row in there:
        _, *answers = tops(plan, row)
        if made.issuperset(answers):
            answered.update(answers)
            rows.append(row)
        else:
            rows.append({key: value for key, value in row.items() if key != "answers"})
    return table_spec(rows, plan.grid.table.settings["resamples"], answered, plan.specs)


def _publish_partial(spec: Spec, results: Path) -> None:
    """Make the table of the finished rows as the engine's job would, copy it, and show it."""
    settings, log = results / "specs" / f"{spec.id}.json", log_of(spec, results)
    if not (results / spec.name / MANIFEST).is_file():
        write_atomically(settings, spec_text(spec), durable=False)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as output:
            command = [sys.executable, str(SCRIPTS / spec.script), "--spec", str(settings)]
            ended = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
        if ended.returncode:
            print(f"error: no table of the finished rows: {last_line(log)} ({log})", file=sys.stderr, flush=True)
            return
    text = (results / spec.name / "capacity_table.csv").read_text(encoding="utf-8")
    write_atomically(results / PARTIAL, text)
    write_atomically(results / PARTIAL_ID, spec.id + "\n")
    _show(results / PARTIAL)


def _show(path: Path) -> None:
    from capacity.tables.table import read_table, readable  # takes pandas along, which nothing else here needs

    table = read_table(path)
    if len(table) <= SHOWN_ROWS:
        print(readable(table), flush=True)
    rows = "the row that is" if len(table) == 1 else f"the {len(table)} rows that are"
    print(f"\n{path} has {rows} there; {path.parent / 'capacity_table.csv'} was not touched", flush=True)
