"""Packed variants: what other tools load is what was measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from modelled import build_model
from quantizers import scheme_of
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from capacity.errors import UserError
from capacity.quantization.packed import export_packed
from capacity.quantization.quantize import quantize_model
from capacity.quantization.spec import Rounding

SCHEME = {"bits": 4, "tensors": ["linear"]}
MODEL = {"family": "gpt2", "l": 2, "h": 2, "head_dim": 32, "init_std": 0.25}


def variant(folder: Path, scheme: Rounding, **switches: object) -> torch.nn.Module:
    """A folder as quantize_checkpoint.py writes it."""
    quantised, report, parts = quantize_model(build_model({**MODEL, **switches}, 170, 64, 1), scheme)
    quantised.save_pretrained(folder)
    if parts:
        save_file(parts, folder / "quantization.safetensors")
    (folder / "quantization.json").write_text(json.dumps({"scheme": scheme.plain(), **report}))
    (folder / "vocab.json").write_text("{}")
    return quantised


@pytest.mark.parametrize("bits", [8, 5, 4, 3, 2])
@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral"])
def test_what_transformers_loads_is_the_variant(family: str, bits: int, tmp_path: Path) -> None:
    measured = variant(tmp_path / "variant", scheme_of(bits, tensors=["linear"]), family=family)
    export_packed(tmp_path / "variant", tmp_path / "packed")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "packed", attn_implementation="eager")
    tokens = torch.arange(48).reshape(4, 12)
    with torch.no_grad():
        assert torch.equal(loaded(tokens).logits, measured(tokens).logits)
    assert (tmp_path / "packed" / "vocab.json").is_file()


def test_groups_are_packed_too_and_the_file_is_as_small_as_its_bits(tmp_path: Path) -> None:
    measured = variant(tmp_path / "variant", scheme_of(**SCHEME, group=8))
    export_packed(tmp_path / "variant", tmp_path / "packed")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "packed", attn_implementation="eager")
    tokens = torch.arange(48).reshape(4, 12)
    with torch.no_grad():
        assert torch.equal(loaded(tokens).logits, measured(tokens).logits)
    report = json.loads((tmp_path / "variant" / "quantization.json").read_text())
    size = (tmp_path / "packed" / "model.safetensors").stat().st_size
    assert 8 * size == pytest.approx(report["stored_bits"], rel=0.08)  # names and shapes of tensors beside


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tensors": ["linear", "head", "embeddings"]}, "use tensors: [linear]"),
        ({"symmetric": False}, "asymmetric"),
        ({"group": "tensor"}, "whole tensor"),
        ({"format": "ternary", "bits": None}, "ternary"),
        ({"scale_format": "fp16"}, "16-bit"),
    ],
)
def test_a_scheme_that_the_format_cannot_say_is_refused(change: dict, named: str, tmp_path: Path) -> None:
    variant(tmp_path / "variant", scheme_of(**{**SCHEME, **change}))
    with pytest.raises(UserError, match=named.replace("[", r"\[")):
        export_packed(tmp_path / "variant", tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_a_model_of_an_own_class_is_refused(tmp_path: Path) -> None:
    variant(tmp_path / "variant", scheme_of(**SCHEME), mlp_ratio=0)
    with pytest.raises(UserError, match="own class"):
        export_packed(tmp_path / "variant", tmp_path / "packed")


def test_the_command_names_what_is_no_variant(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "capacity.cli", "export", tmp_path, tmp_path / "packed"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}: no quantization.json; name a folder of results/variants\n"


def test_a_layer_that_has_no_packed_form_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    """GPT-2's own class has Conv1D where others have nn.Linear."""
    config = GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=20, n_positions=8)
    scheme = scheme_of(4, tensors=["linear"])
    quantised, report, parts = quantize_model(GPT2LMHeadModel(config), scheme)
    quantised.save_pretrained(tmp_path / "variant")
    save_file(parts, tmp_path / "variant" / "quantization.safetensors")
    (tmp_path / "variant" / "quantization.json").write_text(json.dumps({"scheme": scheme.plain(), **report}))
    with pytest.raises(
        UserError, match=r"c_attn.weight: quantised and of no nn.Linear; use a model of nn.Linear layers"
    ):
        export_packed(tmp_path / "variant", tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_an_export_that_does_not_end_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variant(tmp_path / "variant", scheme_of(4, tensors=["linear"]))

    def full(*paths: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("capacity.quantization.packed.shutil.copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        export_packed(tmp_path / "variant", tmp_path / "out" / "packed")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_model_that_transformers_would_not_load_packed_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    """Mamba's initialisation asks its layers for the weights that the packed form has not."""
    mamba = {"hf": {"model_type": "mamba", "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}}
    quantised, report, parts = quantize_model(build_model(mamba, 170, 64, 1), scheme_of(**SCHEME))
    quantised.save_pretrained(tmp_path / "variant")
    save_file(parts, tmp_path / "variant" / "quantization.safetensors")
    scheme = scheme_of(**SCHEME).plain()
    (tmp_path / "variant" / "quantization.json").write_text(json.dumps({"scheme": scheme, **report}))
    with pytest.raises(UserError, match=r"MambaForCausalLM: cannot be loaded packed \(AttributeError.*name the"):
        export_packed(tmp_path / "variant", tmp_path / "packed")
    assert [path.name for path in tmp_path.iterdir()] == ["variant"]
