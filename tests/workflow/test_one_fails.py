"""One run that fails takes nothing from the others, on the real engine."""

import csv
import json
import shutil
from pathlib import Path

from checkout import Checkout

WILD = "  wild: {exposures: 9, packing: rows, batch: 4, lr: 0.5, warmup_steps: 1, weight_decay: 1.0e+30}\n"


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def states(checkout: Checkout) -> dict[str, tuple[str, float | None]]:
    """State and R by name, as `make runs` has them."""
    runs = json.loads(checkout.capacity("runs", "--format", "json").stdout)
    return {run["name"]: (run["state"], run["R"]) for run in runs}


def test_a_training_that_diverges_leaves_the_rows_of_the_others_and_says_what_is_missing_and_why(
    checkout: Checkout, built: Checkout
):
    """Two new runs: one diverges, the other and all that was made before are tabulated; the published table stays."""
    checkout.edit("config.yaml", lambda text: text.replace("quantizers:\n", f"{WILD}quantizers:\n", 1))
    checkout.replace("config.yaml", "regimes: [long, short]", "regimes: [wild, short]")
    checkout.replace("config.yaml", "seeds: [1]\n  prose:", "seeds: [1]\n    vary: {dataset.N: [5, 6]}\n  prose:")
    results = checkout.path / "results"
    answer = checkout.engine("--logger", "capacity")
    assert answer.returncode == 1
    at_once = answer.stdout[: answer.stdout.index("error: 2 jobs failed")]
    for N in (5, 6):
        name = f"small atomic wild dataset.N={N} s1 (study base)"
        assert f"failed: train_checkpoint of {name}: lr: 0.5; the loss is nan by step" in at_once, "as it happens"
    said = answer.stdout[answer.stdout.index("error: 2 jobs failed") :]
    for N in (5, 6):
        name = f"small atomic wild dataset.N={N} s1 (study base)"
        assert f"  train_checkpoint of {name}: lr: 0.5; the loss is nan by step" in said
        assert f"  {name}\n" in said
    assert "4 of the table's 10 rows are missing:" in said
    partial = rows_of(results / "capacity_table.partial.csv")
    assert [row["setting"] for row in partial] == ["dataset.N=5"] * 2 + ["dataset.N=6"] * 2 + [""] * 2
    published = {row["probe_id"]: row for row in rows_of(results / "capacity_table.csv")}
    assert all(row == published[row["probe_id"]] for row in partial[4:]), "an equal row is tabulated equally"
    assert checkout.table() == built.table()
    found = states(checkout)
    assert found["small atomic wild dataset.N=5 s1"] == ("failed", None)
    assert found["small atomic short dataset.N=5 s1"] == ("done", float(partial[0]["R"]))
    of_scores = found
    (results / "capacity_table.partial.csv").unlink()  # as where the engine itself was killed
    shutil.move(results / "capacity_table.csv", results / "elsewhere.csv")
    assert states(checkout) == of_scores, "R follows from the scores"

    checkout.engine()
    assert (results / "capacity_table.partial.csv").is_file()
    checkout.replace("config.yaml", "weight_decay: 1.0e+30", "weight_decay: 0.1")
    checkout.build()
    assert not (results / "capacity_table.partial.csv").exists()
    assert len(rows_of(results / "capacity_table.csv")) == 10
