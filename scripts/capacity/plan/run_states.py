"""Runs as people ask about them: one row a trained model, with its state, its cost and where it was made."""

import csv
from pathlib import Path
from typing import Any

from capacity.artefacts.spec import Spec
from capacity.errors import UserError
from capacity.jobs.activity import being_made, log_of, state_in_log
from capacity.plan.failures import PARTIAL
from capacity.plan.survey import Plan, State
from capacity.plan.used_by import tops
from capacity.tables.naming import FULL_PRECISION, run_names
from capacity.tables.run_costs import table_runs

SCORES = ("probes", "answers")  # stages whose artefacts make a run's rows


def run_states(plan: Plan, results: Path) -> list[dict[str, Any]]:
    """One row a run of the present configuration: its name, state, stage, R, cost, log or fault.

    state: done, missing, running, stopped or failed (with the log's path), damaged. R is that of the scheme `none`,
    else of the run's first one, from the published capacity table or that of the finished rows, else from the scores
    themselves.
    """
    rows = plan.grid.table.settings["rows"]
    rows_of: dict[tuple[str, str], list[dict[str, Any]]] = {}
    names: dict[tuple[str, str], str] = {}
    for row, name in zip(rows, run_names(rows), strict=True):
        rows_of.setdefault((row["study"], row["checkpoint_id"]), []).append(row)
        names.setdefault((row["study"], row["checkpoint_id"]), name)
    R, making = _tabulated_R(results), being_made(results)
    runs = table_runs(rows, results)
    for run in runs:
        mine = rows_of[run["study"], run["checkpoint_id"]]
        chain = _chain(plan, mine)
        state, stage, note = _state(plan, chain, making, results)
        run.update(name=names[run["study"], run["checkpoint_id"]], state=state, stage=stage, note=note)
        shown = next((row for row in mine if row["scheme"] == FULL_PRECISION), mine[0])
        run["R"] = R.get(shown["probe_id"])
        if run["R"] is None and plan.states[shown["probe_set"]] == State.DONE:
            run["R"] = _scored_R(shown, results)
    return runs


def _chain(plan: Plan, rows: list[dict[str, Any]]) -> list[Spec]:
    """The artefacts of one run in the order of the flow, with those of its questions where it has any."""
    row = next((row for row in rows if "answers" in row), rows[0])
    probes, *asked = (plan.specs[name] for name in tops(plan, row))
    names = [
        f"datasets/{row['dataset_id']}",
        str(probes.parents["dataset"]),  # the same, or texts that a rewriter made from it
        f"tokenizers/{row['tokenizer_id']}",
        f"checkpoints/{row['checkpoint_id']}",
        str(probes.parents["variants"]),
        probes.name,
        *(name for answers in asked for name in (*map(str, answers.parents.values()), answers.name)),
    ]
    return [plan.specs[name] for name in dict.fromkeys(names)]


def _state(plan: Plan, chain: list[Spec], making: set[str], results: Path) -> tuple[str, str, str]:
    """State of a run, the stage that decides it, and a note. making: ids of artefacts that jobs are making."""
    for spec in chain:
        for name in (each.name for each in spec.with_members()):
            if plan.states[name] == State.DAMAGED:
                return "damaged", spec.stage, plan.faults[name]
    if all(plan.states[spec.name] == State.DONE for spec in chain if spec.stage in SCORES):
        return "done", "", ""
    for spec in chain:
        if plan.states[spec.name] != State.DONE:
            log = log_of(spec, results)
            state = "running" if spec.id in making else state_in_log(log)
            return state, spec.stage, "" if state == "missing" else str(log)
    return "missing", chain[-1].stage, ""


def _tabulated_R(results: Path) -> dict[str, float]:
    """Probe id to R from the published table and from that of finished rows, as far as they are there."""
    found: dict[str, float] = {}
    for name in (PARTIAL, "capacity_table.csv"):
        try:
            with open(results / name, newline="", encoding="utf-8") as file:
                found |= {row["probe_id"]: float(row["R"]) for row in csv.DictReader(file)}
        except (OSError, KeyError, ValueError):
            continue
    return found


def _scored_R(labels: dict[str, Any], results: Path) -> float | None:
    """R from a variant's scores, with a table's six digits; None where they are not there."""
    from capacity.tables.rows import scored_R  # late, since it is seldom needed here and takes pandas along

    try:
        return scored_R(labels, results)
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None
