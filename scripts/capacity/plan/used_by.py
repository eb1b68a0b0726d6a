"""Which runs an artefact is for, in the configuration's names; and what a run tells its jobs and those who watch it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from capacity.artefacts.spec import Spec, closure
from capacity.artefacts.stages import STAGES
from capacity.jobs.run_file import RunFile, RunJob
from capacity.plan.forecast import Past
from capacity.plan.survey import Plan
from capacity.tables.naming import run_names

Row = dict[str, Any]
TRAIN_IN_TRIES = "finetunes"  # a stage whose jobs train several models, each under an id of its own


class NamedRun(NamedTuple):
    """A run as people know it."""

    label: str
    study: str

    def __str__(self) -> str:
        return f"{self.label} (study {self.study})"


def runs_of_rows(rows: list[Row]) -> list[NamedRun]:
    """The run of each row of a capacity table."""
    return [NamedRun(name, row["study"]) for row, name in zip(rows, run_names(rows), strict=True)]


def used_by(plan: Plan) -> dict[str, list[NamedRun]]:
    """For each artefact's name the runs that it is for, each once, in the table's order."""
    rows = plan.grid.table.settings["rows"]
    found: dict[str, dict[NamedRun, None]] = {}
    for row, run in zip(rows, runs_of_rows(rows), strict=True):
        for name in rests_on(plan, row):
            found.setdefault(name, {})[run] = None
    return {name: list(runs) for name, runs in found.items()}


def tops(plan: Plan, row: Row) -> list[str]:
    """The sets of scores, and of answers where the row has any, that a row is tabulated from."""
    asked = {attempt["answers_id"] for attempt in row.get("answers", {}).get("tries", [])}
    sets = plan.grid.table.parents.get("answers", []) if asked else []
    return [row["probe_set"], *(name for name in sets if asked & _member_ids(plan.specs[name]))]


def _member_ids(spec: Spec) -> set[str]:
    return {member.id for member in spec.members}


def rests_on(plan: Plan, row: Row) -> set[str]:
    """All specs that a row follows from."""
    return set(closure(tops(plan, row), lambda name: plan.specs[name].parent_names()))


def run_file(plan: Plan, ids: Iterable[str], results: Path, costs: bool) -> RunFile:
    """What a run of the jobs that make some artefacts tells. costs: whether somebody watches, and costs are wanted."""
    runs, pasts = used_by(plan), dict[str, Past]()
    jobs = {}
    for name in ids:
        spec = plan.by_id[name]
        first, *others = runs.get(spec.name) or [NamedRun("", "")]
        seconds = 0.0
        if costs:
            past = pasts.get(spec.stage) or pasts.setdefault(spec.stage, Past(results, spec.stage))
            seconds = past.cost(spec, plan).seconds
        tries = [member.id for member in spec.members] if spec.stage == TRAIN_IN_TRIES else []
        jobs[name] = RunJob(STAGES[spec.stage].rule, *first, len(others), seconds, tries)
    return RunFile(jobs, plan.grid.loggers)
