"""The spec of a capacity table: its rows, and the artefacts that they are composed from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from capacity.artefacts.spec import Spec, make_spec


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
