"""Models that are not of the paper go from the configuration to rows, their weights in the bits that the table says."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from checkout import ROOT, Checkout
from safetensors.torch import load_file

MODELS = {
    "gru": {"python": "nets.own_models:gru"},
    "gpt": {"python": "nets.own_models:gpt", "settings": {"layers": 2}},
    "mamba": {"hf": {"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 1, "state_size": 4}},
    "llama-shared": {"architecture": "llama-1-2", "head_dim": 4, "kv_sharing": 2},
}
QUANTIZERS = {
    "none": {"method": "none"},
    "int8": {"method": "rtn", "bits": 8},
    "int4": {"method": "rtn", "bits": 4},
    "gptq4": {"method": "gptq", "bits": 4},
}
BITS = {"none": 32, "int8": 8, "int4": 4, "gptq4": 4}
CODES = {8: (-128, 127), 4: (-8, 7)}


def asking(path: Path, models: dict[str, dict], quantizers: dict[str, dict], **sections: Any) -> Checkout:
    """A checkout whose one study has these models, each of these schemes, and an extraction where one is given."""
    checkout = Checkout.new(path)
    (checkout.path / "nets").mkdir()
    shutil.copyfile(ROOT / "tests" / "own_models.py", checkout.path / "nets" / "own_models.py")
    config = yaml.safe_load((checkout.path / "config.yaml").read_text())
    study = config["studies"]["base"] | {"models": [*models], "regimes": ["long"], "quantizers": [*quantizers]}
    if "extractions" in sections:
        study["extraction"] = next(iter(sections["extractions"]))
    config |= {"study": ["base"], "models": models, "quantizers": quantizers, "studies": {"base": study}} | sections
    (checkout.path / "config.yaml").write_text(yaml.safe_dump(config))
    return checkout


def rows_of(checkout: Checkout, model: str) -> dict[str, dict[str, str]]:
    """Scheme to row."""
    with (checkout.path / "results" / "capacity_table.csv").open() as file:
        return {row["scheme"]: row for row in csv.DictReader(file) if row["model"] == model}


def stored_bits(variant: Path, bits: int) -> float:
    """Mean bits of the codes of all tensors with two dimensions or more, counted from the files alone."""
    weights, scales = load_file(variant / "model.safetensors"), load_file(variant / "quantization.safetensors")
    lowest, highest = CODES[bits]
    taken = total = 0
    for name, weight in weights.items():
        if weight.squeeze().ndim < 2:
            continue
        scale = scales.get(f"{name}.scale")
        on_grid = False
        if scale is not None:
            codes = weight.reshape(scale.shape[-2], -1) / scale.reshape(scale.shape[-2], 1)
            on_grid = bool((codes - codes.round()).abs().max() < 1e-3)
            on_grid &= bool((codes.round() >= lowest).all() and (codes.round() <= highest).all())
        taken += weight.numel() * (bits if on_grid else 32)
        total += weight.numel()
    return taken / total


def check_rows(results: Path, rows: dict[str, dict[str, str]]) -> None:
    """A row for every scheme; its bits a weight are those that lie in the variant's files."""
    assert rows.keys() == QUANTIZERS.keys()
    for scheme, row in rows.items():
        variant, bits = results / "variants" / row["variant_id"], BITS[scheme]
        said = json.loads((variant / "quantization.json").read_text())
        assert float(row["bits_per_weight"]) == bits
        assert int(row["weight_bits"]) == said["stored_bits"]
        assert float(row["R"]) <= float(row["R_max"])
        if bits < 32:
            assert stored_bits(variant, bits) == bits
            assert {tensor["role"] for tensor in said["tensors"].values() if tensor["method"] == "none"} == {"vector"}
    assert len({row["R"] for row in rows.values()}) == len(rows)
    assert abs(float(rows["int8"]["R"]) - float(rows["none"]["R"])) < 0.02
    trained, kept = (
        load_file(results / stage / rows["none"][key] / "model.safetensors")
        for stage, key in (("checkpoints", "checkpoint_id"), ("variants", "variant_id"))
    )
    assert trained.keys() == kept.keys()
    assert all(torch.equal(trained[name], kept[name]) for name in trained)


CALIBRATED = {
    "gru": ["gru.weight_ih_l0", "gru.weight_hh_l0"],
    "gpt": ["blocks.1.attention.in_proj_weight", "blocks.1.attention.out_proj.weight"],
}


def check_calibrated(results: Path, rows: dict[str, dict[str, str]], names: list[str]) -> None:
    """GPTQ saw what these tensors are multiplied by."""
    said = results / "variants" / rows["gptq4"]["variant_id"] / "quantization.json"
    tensors = json.loads(said.read_text())["tensors"]
    assert [tensors[f"module.{name}"]["method"] for name in names] == ["gptq"] * len(names)


@pytest.mark.long
def test_a_module_of_ones_own_has_a_row_for_every_scheme_with_the_bits_that_its_weights_are_stored_in(
    tmp_path: Path,
) -> None:
    checkout = asking(tmp_path / "checkout", {"gru": MODELS["gru"]}, QUANTIZERS)
    checkout.build()
    check_rows(checkout.path / "results", rows_of(checkout, "gru"))
    check_calibrated(checkout.path / "results", rows_of(checkout, "gru"), CALIBRATED["gru"])


SPECS = """
import json, sys
from pathlib import Path
sys.path.insert(0, "scripts")
from capacity.config.load import load_config
from capacity.plan.grid import resolve
print(json.dumps([*resolve(load_config([Path("config.yaml")])).specs]))
"""


def names_of(checkout: Checkout) -> set[str]:
    """Names of all artefacts of models; what follows from all of them together is left out."""
    command = [sys.executable, "-c", SPECS]
    answer = subprocess.run(command, cwd=checkout.path, env=checkout.environment(), capture_output=True, check=True)
    stages = ("checkpoints", "variants", "probes")
    return {name for name in json.loads(answer.stdout) if name.partition("/")[0] in stages}


def test_an_edit_of_the_wrapper_moves_every_artefact_of_own_models_and_none_of_other_models(tmp_path: Path) -> None:
    checkout = asking(tmp_path / "checkout", MODELS, QUANTIZERS)
    before = names_of(checkout)
    checkout.edit("scripts/capacity/models/modeling_wrapped.py", lambda text: text + "\nPLANTED = 1\n")
    moved = before - names_of(checkout)
    assert len(before) == 3 * len(MODELS)
    assert moved == {name for name in before if name.partition("/")[2].startswith("nets-own-models-")}
    assert len(moved) == 3 * 2
