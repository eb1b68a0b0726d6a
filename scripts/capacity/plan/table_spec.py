"""The spec of a capacity table: its rows, and the artefacts that they are composed from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from capacity.artefacts.spec import Spec, make_spec
from capacity.models.architectures import sizes
from capacity.plan.study_runs import Run


def table_spec(
    rows: Sequence[Mapping[str, Any]], resamples: int, answers: Iterable[str], specs: Mapping[str, Spec]
) -> Spec:
    """The table of some rows. answers: the sets that hold what their tries answered. specs: all, by name.

    Datasets and variants are parents beside the scores: rows take facts of the training and stored bits from there.
    """
    scores = {row["probe_set"] for row in rows}
    parents = {
        "answers": set(answers),
        "datasets": {f"datasets/{row['dataset_id']}" for row in rows},
        "probes": scores,
        "variants": {str(specs[name].parents["variants"]) for name in scores},
    }
    settings = {"rows": list(rows), "resamples": resamples}
    return make_spec("tables", "capacity", settings, {role: sorted(names) for role, names in parents.items() if names})


def row_of(run: Run, scheme: str) -> dict[str, Any]:
    """What the capacity table says of one variant before anything is measured."""
    return {
        "study": run.study,
        "run": run.slug,
        "setting": run.setting,
        **run.names,
        "kind": run.dataset.kind,
        "N": run.N,
        "exposures": run.regime.exposures,
        **sizes(run.model.to_settings()),
        "lr": run.regime.lr,
        "batch": run.regime.batch,
        "seed": run.seed,
        "scheme": scheme,
        **({"zipf": run.regime.zipf} if run.regime.zipf else {}),
        **({"trained_for": run.regime.quantizer} if run.regime.quantizer else {}),
    }
