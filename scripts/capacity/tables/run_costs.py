"""runs.csv: one row a trained model of a capacity table, with what it cost and where it was made."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from capacity.artefacts.manifest import read_manifest
from capacity.errors import UserError

RUNS = "runs.csv"
RUN_FIELDS = (
    *("study", "run", "setting", "dataset", "tokenizer", "model", "regime", "N", "exposures", "seed"),
    *("seconds", "cpu_seconds", "peak_memory_bytes", "tokens_per_second", "steps", "device", "threads", "compile"),
    *("host", "started", "ended", "commit", "dirty", "code", "checkpoint_id"),
)


def table_runs(
    rows: Iterable[dict[str, Any]], results: Path, known: Mapping[str, dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """One row a run of a capacity table, from its checkpoint's manifest; seconds are wall time of the training job.

    known: by checkpoint_id, what to say where the manifest is gone.
    """
    known = known or {}
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["study"], row["checkpoint_id"])
        if key not in seen:
            cost = _cost(results, key[1]) or known.get(key[1], {})
            seen[key] = {**{name: row[name] for name in RUN_FIELDS if name in row}, **cost}
    return list(seen.values())


def runs_text(rows: Iterable[dict[str, Any]], results: Path) -> str:
    """runs.csv: one row a run of a capacity table. Of a training that is gone, what the file of before says."""
    text = io.StringIO()
    writer = csv.DictWriter(text, RUN_FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table_runs(rows, results, _known_costs(results / RUNS)))
    return text.getvalue()


def _known_costs(path: Path) -> dict[str, dict[str, Any]]:
    """What a runs.csv says of each checkpoint; nothing of one that cannot be read."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if set(row) == set(RUN_FIELDS)]
    except (OSError, ValueError, csv.Error):
        return {}
    costs = RUN_FIELDS[RUN_FIELDS.index("seconds") : RUN_FIELDS.index("checkpoint_id")]
    return {row["checkpoint_id"]: {name: row[name] for name in costs} for row in rows}


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
        "compile": metrics.get("execution", {}).get("compile"),
        "host": manifest["hardware"]["host"],
        "started": manifest["started"],
        "ended": manifest["ended"],
        "commit": manifest["git"]["commit"],
        "dirty": manifest["git"]["dirty"],
        "code": manifest["code"]["digest"][:12],
    }
