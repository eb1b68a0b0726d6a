"""The whole audit on a real tiny run: all seven levels, and a checkpoint that went on from a forged saved training."""

import json
from pathlib import Path

import torch
from checkout import ROOT, Checkout
from edits import RUNS
from planted import of_stage, tiny_grid
from safetensors.torch import load

from capacity.jobs.resume import save_state

LONG = RUNS["long"][2]


def report_of(checkout: Checkout, *words: str) -> tuple[int, dict]:
    answer = checkout.capacity("audit", *words)
    path = checkout.path / "results" / "audit" / "audit.json"
    assert path.is_file(), answer.stdout + answer.stderr
    return answer.returncode, json.loads(path.read_text())


def test_a_clean_run_passes_all_seven_levels(checkout: Checkout):
    (checkout.path / "envs").symlink_to(ROOT / "envs")
    code, report = report_of(checkout, "--sample", "1")
    assert code == 0, report
    assert [level["grade"] for level in report["levels"]] == ["pass"] * 7
    assert report["levels"][3]["facts"]["made again"]["different"] == 0


def test_a_checkpoint_that_went_on_from_a_forged_saved_training_is_found_by_making_it_again(tmp_path: Path):
    """The state names the right checkpoint, specification and machine, and its digest fits: only its numbers do not."""
    checkout = Checkout.new(tmp_path / "forged")
    spec = of_stage(tiny_grid(), "checkpoints", LONG)
    checkout.engine(targets=(f"results/{spec.parents['tokenizer']}/manifest.json",))
    settings = f"results/specs/{spec.id}.json"
    assert checkout.script("train_checkpoint.py", "--spec", settings, "--time-budget", "0").returncode == 75
    folder = checkout.path / "results" / "resume" / spec.id
    _, _, body = (folder / "state").read_bytes().partition(b"\n")
    facts, _, payload = body.partition(b"\n")
    state, saved = load(payload), json.loads(facts)
    state["vector"] = state["vector"] + 0.1 * torch.ones_like(state["vector"])
    save_state(folder, state, saved["counters"], saved["conditions"])
    checkout.build()
    code, report = report_of(checkout, "--levels", "1-3")
    assert code == 0, report  # nothing that lies there tells
    code, report = report_of(checkout, "--levels", "4", "--target", f"checkpoints/{spec.id}")
    found = report["levels"][0]["findings"]
    assert code == 4
    assert [(finding["kind"], finding["where"]) for finding in found] == [("other bits", f"checkpoints/{spec.id}")]
