"""Promises of the command: one job makes the variants that are missing, and each can be loaded by its folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from job_server import job_server
from quantizers import NONE, scheme_of
from safetensors.torch import load_file
from trainings import SPEC, WORLD, training_settings
from transformers import AutoModelForCausalLM, AutoTokenizer
from worlds import settings_of

from capacity.artefacts.identity import SCRIPTS
from capacity.artefacts.spec import Spec, make_spec, spec_text
from capacity.quantization.spec import Scheme

FIRST = {"none": NONE, "gptq": scheme_of(4, "gptq", group=4, symmetric=False)}
MORE = FIRST | {"int3": scheme_of(3)}


def make(results: Path, script: str, made: Spec) -> dict:
    """Run a job; its manifest."""
    path = results / "specs" / f"{made.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(spec_text(made))
    command = [sys.executable, SCRIPTS / script, "--spec", path]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | job_server()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads((results / made.name / "manifest.json").read_text())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Spec]:
    """A results folder with one tiny checkpoint, and its spec."""
    results = tmp_path_factory.mktemp("results")
    dataset = make_spec("datasets", "tiny", settings_of(WORLD), {})
    tokenizer = make_spec("tokenizers", "tiny", {"kind": "word"}, {"dataset": dataset.name})
    spec = make_spec(
        "checkpoints", "tiny", training_settings(SPEC), {"dataset": dataset.name, "tokenizer": tokenizer.name}
    )
    make(results, "make_dataset.py", dataset)
    make(results, "make_tokenizer.py", tokenizer)
    make(results, "train_checkpoint.py", spec)
    return results, spec


def variants(checkpoint: Spec, schemes: dict[str, Scheme]) -> Spec:
    parents = {"checkpoint": checkpoint.name, "dataset": checkpoint.parents["dataset"]}
    members = [make_spec("variants", name, scheme, parents) for name, scheme in schemes.items()]
    return make_spec("variants", "tiny", {}, parents, members)


def test_a_scheme_that_is_added_is_the_only_one_computed(checkpoint: tuple[Path, Spec]) -> None:
    results, trained = checkpoint
    first, more = (variants(trained, schemes) for schemes in (FIRST, MORE))
    assert make(results, "quantize_checkpoint.py", first)["metrics"] == {"variants": 2, "reused": 0}
    before = {member.name: (results / member.name / "manifest.json").stat().st_mtime_ns for member in first.members}
    assert make(results, "quantize_checkpoint.py", more)["metrics"] == {"variants": 3, "reused": 2}
    after = {name: (results / name / "manifest.json").stat().st_mtime_ns for name in before}
    assert before == after

    for member in more.members:
        folder = results / member.name
        AutoModelForCausalLM.from_pretrained(folder)
        AutoTokenizer.from_pretrained(folder)
        report = json.loads((folder / "quantization.json").read_text())
        assert report["scheme"] == member.settings
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["metrics"]["stored_bits"] == report["stored_bits"]
        assert (folder / "quantization.safetensors").exists() == (member.settings["method"] != "none")
    gptq = results / next(member.name for member in more.members if member.settings["method"] == "gptq")
    parts = load_file(gptq / "quantization.safetensors")
    assert {name.rpartition(".")[2] for name in parts} == {"scale", "zero"}
