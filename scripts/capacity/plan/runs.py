"""Runs as people ask about them: one row a trained model, with its state, its cost and where it was made."""

import csv
import io
import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from capacity.artefacts.manifest import read_manifest
from capacity.artefacts.spec import Spec
from capacity.artefacts.stages import STAGES
from capacity.errors import UserError
from capacity.jobs.lease import lives
from capacity.plan.failures import PARTIAL
from capacity.plan.survey import Plan, State
from capacity.tables.naming import run_names

RUN_FIELDS = (
    *("study", "run", "setting", "dataset", "tokenizer", "model", "regime", "N", "exposures", "seed"),
    *("seconds", "cpu_seconds", "peak_memory_bytes", "tokens_per_second", "steps", "device", "threads", "compile"),
    *("host", "started", "ended", "commit", "dirty", "code", "checkpoint_id"),
)

SILENT_SECONDS = 86_400  # without a sign of a job on another host, after which it counts as ended

# The last line of a log: of a job that made its artefact, and of one that had no time to say more, or said so.
ENDED_WELL = re.compile(r": (made in [\d.]+ s|made by another process|taken from the store .*)$")
STOPPED = re.compile(r"; the state is saved$|^KeyboardInterrupt|^step [\d,]+ of |^going on from |^waiting for ")


def table_runs(rows: Iterable[dict[str, Any]], results: Path) -> list[dict[str, Any]]:
    """One row a run of a capacity table, from its checkpoint's manifest; seconds are wall time of the training job."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["study"], row["checkpoint_id"])
        if key not in seen:
            seen[key] = {**{name: row[name] for name in RUN_FIELDS if name in row}, **_cost(results, key[1])}
    return list(seen.values())


def runs_text(rows: Iterable[dict[str, Any]], results: Path) -> str:
    """runs.csv: one row a run of a capacity table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, RUN_FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table_runs(rows, results))
    return text.getvalue()


def _cost(results: Path, checkpoint_id: str) -> dict[str, Any]:
    """What a training took and where; blanks where its manifest is gone."""
    try:
        manifest = read_manifest(results / "checkpoints" / checkpoint_id)
    except UserError:
        return {}
    metrics = manifest["metrics"]
    return {
        "seconds": manifest["seconds"],
        "cpu_seconds": manifest["cpu_seconds"],
        "peak_memory_bytes": manifest["peak_memory_bytes"],
        "tokens_per_second": metrics.get("tokens_per_second"),
        "steps": metrics.get("steps"),
        "device": metrics.get("device"),
        "threads": manifest["environment"]["variables"].get("OMP_NUM_THREADS"),
        "compile": manifest["settings"]["hardware"]["compile"],
        "host": manifest["hardware"]["host"],
        "started": manifest["started"],
        "ended": manifest["ended"],
        "commit": manifest["git"]["commit"],
        "dirty": manifest["git"]["dirty"],
        "code": manifest["code"]["digest"][:12],
    }


def run_states(plan: Plan, results: Path) -> list[dict[str, Any]]:
    """One row a run of the present configuration: its name, state, stage, R, cost, log or fault.

    state: done, missing, running, stopped or failed (with the log's path), damaged. R is that of the scheme `none`,
    from the published capacity table or that of the finished rows, else from the scores themselves.
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
        chain = _chain(plan, mine[0])
        state, stage, note = _state(plan, chain, making, results)
        run.update(name=names[run["study"], run["checkpoint_id"]], state=state, stage=stage, note=note)
        plain = next((row for row in mine if row["scheme"] == "none"), None)
        run["R"] = R.get(plain["probe_id"]) if plain else None
        if plain and run["R"] is None and state == "done":
            run["R"] = _scored_R(plain, results)
    return runs


def _chain(plan: Plan, row: dict[str, Any]) -> list[Spec]:
    """The artefacts of one run in the order of the flow."""
    probes = plan.specs[row["probe_set"]]
    names = [
        f"datasets/{row['dataset_id']}",
        str(probes.parents["dataset"]),  # the same, or texts that a rewriter made from it
        f"tokenizers/{row['tokenizer_id']}",
        f"checkpoints/{row['checkpoint_id']}",
        str(probes.parents["variants"]),
        probes.name,
    ]
    return [plan.specs[name] for name in dict.fromkeys(names)]


def _state(plan: Plan, chain: list[Spec], making: set[str], results: Path) -> tuple[str, str, str]:
    """State of a run, the stage that decides it, and a note. making: ids of artefacts that jobs are making."""
    for spec in chain:
        for name in (spec.name, *(member.name for member in spec.members)):
            if plan.states[name] == State.DAMAGED:
                return "damaged", spec.stage, plan.faults[name]
    if plan.states[chain[-1].name] == State.DONE:
        return "done", "", ""
    for spec in chain:
        if plan.states[spec.name] != State.DONE:
            log = log_of(spec, results)
            state = "running" if spec.id in making else state_in_log(log)
            return state, spec.stage, "" if state == "missing" else str(log)
    return "missing", chain[-1].stage, ""


def log_of(spec: Spec, results: Path) -> Path:
    """Where a job's output goes."""
    return results / "logs" / STAGES[spec.stage].rule / f"{spec.id}.log"


def state_in_log(log: Path) -> str:
    """What the log of a job that does not run says of an artefact that is not there: stopped, failed or missing.

    stopped: it was interrupted, or killed before it had printed a line. missing: it never began, or it ended well
    and the artefact was removed since.
    """
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        return "missing"
    last = next((line for line in reversed(lines) if line.strip()), "")
    if ENDED_WELL.search(last):
        return "missing"
    return "stopped" if not last or STOPPED.search(last) else "failed"


def being_made(results: Path) -> set[str]:
    """Ids of the artefacts that jobs are making now."""
    return {folder.name.partition(".")[0] for folder in (results / "scratch").glob("*") if is_in_use(folder)}


def is_in_use(scratch: Path) -> bool:
    """Whether the process that a scratch folder, <id>.<host>.<pid>, belongs to runs.

    Another host cannot be asked: there it may, as long as the folder or the job's log changed in the last day.
    """
    host, _, pid = scratch.name.partition(".")[2].removesuffix(".replaced").rpartition(".")
    if not pid.isdigit() or host == socket.gethostname():
        return pid.isdigit() and lives(int(pid))
    results, identity = scratch.parent.parent, scratch.name.partition(".")[0]
    shown = (scratch, *scratch.glob("*"), *results.glob(f"logs/*/{identity}.log"))
    return max(map(_changed, shown)) > time.time() - SILENT_SECONDS


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


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
