"""runs.csv: what manifests say of trainings, and what was known of those that are gone; it follows both."""

import json
import shutil
from pathlib import Path

from planted import keeping_times, of_stage, tiny_grid

from capacity.artefacts.manifest import DIGEST, manifest_digest
from capacity.plan.fixed_paths import is_published, published
from capacity.tables.run_costs import RUNS, runs_text


def texts(results: Path) -> tuple[str, str]:
    """What the file says, and what it would say if it was written now."""
    return (results / RUNS).read_text(), runs_text(tiny_grid().table.settings["rows"], results)


def is_current(results: Path) -> bool:
    table = next(each for each in published(tiny_grid()) if each[0].stage == "tables")
    return is_published(*table, results)


def test_what_a_training_cost_is_not_forgotten_with_it(results: Path) -> None:
    before, again = texts(results)
    assert before == again
    shutil.rmtree(results / of_stage(tiny_grid(), "checkpoints").name)
    assert texts(results) == (before, before)
    assert is_current(results)
    for damaged in ("", "study\nbase\n", before.replace("study", "other", 1)):
        (results / RUNS).write_text(damaged)
        text = texts(results)[1]
        assert text.count("\n") == before.count("\n")
        assert text != before
    assert not is_current(results)


def test_a_training_that_was_made_again_is_published_with_what_it_cost(results: Path) -> None:
    def slower(manifest: bytes) -> bytes:
        said = {key: value for key, value in json.loads(manifest).items() if key != DIGEST}
        said["seconds"] += 100
        return json.dumps({**said, DIGEST: manifest_digest(said)}).encode()

    assert is_current(results)
    keeping_times(results / of_stage(tiny_grid(), "checkpoints").name / "manifest.json", slower)
    assert not is_current(results)
    (results / RUNS).write_text(texts(results)[1])
    assert is_current(results)
