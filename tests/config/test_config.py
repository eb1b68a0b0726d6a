"""What config.yaml may say, and what a mistake in it looks like: one line with the key, the value and the remedy."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from capacity.config.load import load_config, parse_overrides, read_yaml
from capacity.errors import UserError
from capacity.plan.grid import resolve

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def raw() -> dict[str, Any]:
    return read_yaml(ROOT / "config.yaml")


def complaint(tmp_path: Path, raw: dict[str, Any]) -> str:
    """The one line that a configuration's mistake gives."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    with pytest.raises(UserError) as caught:
        resolve(load_config([path]))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def put(raw: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """A copy with one value changed."""
    changed = copy.deepcopy(raw)
    *path, last = dotted.split(".")
    section = changed
    for key in path:
        section = section[key]
    section[last] = value
    return changed


SENTENCE = {"kind": "bioD", "N": 1, "K": 1, "D": 1, "T": 1}


SCHEDULE_FREE = {"exposures": 8, "batch": 4, "lr": 0.1, "optimizer": "schedule-free", "packing": "rows"}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("regimes.long.exposure", 10, ["regimes.long", "'exposure'", "did you mean exposures"]),
        ("quantisers", {}, ["'quantisers'", "did you mean quantizers"]),
        ("regimes.long.lr", "fast", ["regimes.long.lr", "'fast'", "number"]),
        ("regimes.long.lr", -0.1, ["regimes.long.lr", "-0.1", "greater than 0"]),
        ("regimes.long.exposures", 1.5, ["regimes.long.exposures", "1.5", "integer"]),
        ("regimes.long.exposures", True, ["regimes.long.exposures", "True", "integer"]),
        ("datasets.atomic.N", -5, ["datasets.atomic", "N", "-5", "greater than 0"]),
        ("datasets.atomic.N", 0, ["datasets.atomic", "N", "0", "greater than 0"]),
        ("datasets.atomic.N", 40_000, ["N: 40000", "32768 full names"]),
        ("datasets.atomic.D", 65, ["D: 65", "T^L = 64^1 = 64"]),
        ("datasets.atomic.kind", "bioX", ["datasets.atomic", "bioX", "bioD", "bioS"]),
        ("datasets.atomic.K", 251, ["datasets.atomic", "K", "251", "250"]),
        ("datasets.atomic.C", 0, ["datasets.atomic", "C", "0", "greater than 0"]),
        ("datasets.atomic.names", [2**30, 8, 8], ["datasets.atomic", "names", "1000000"]),
        ("datasets.atomic.wording", "verse", ["datasets.atomic", "wording", "'verse'", "atomic", "sentence"]),
        ("datasets.atomic.sentences", "sorted", ["datasets.atomic", "sentences", "'sorted'", "shuffled", "in_order"]),
        ("datasets.atomic.paragraphs", 0, ["datasets.atomic", "paragraphs", "0", "greater than 0"]),
        ("datasets.new", SENTENCE | {"names": [401, 1, 1]}, ["datasets.new", "401 first names", "400 ship"]),
        ("datasets.new", {"kind": "bioS", "N": 9, "pools": {"cities": 201}}, ["datasets.new", "cities", "201", "200"]),
        ("datasets.new", {"kind": "bioS", "N": 9, "pools": {"days": 29}}, ["datasets.new", "days", "29", "28"]),
        ("datasets.new", {"kind": "bioS", "N": 9, "templates": 0}, ["datasets.new", "templates", "0"]),
        (
            "models.gpt2-2-2",
            {"architecture": "gpt2-2-3", "width": 16},
            ["width: 16", "3 heads", "multiple of 6"],
        ),
        ("models.gpt2-2-2.architecture", "gpt3-2-2", ["models.gpt2-2-2.architecture", "gpt3-2-2"]),
        ("models.gpt2-2-2.head_dim", 7, ["models.gpt2-2-2.head_dim", "7", "multiple of 2"]),
        ("models.gpt2-2-2.architecture", "gpt2-0-2", ["models.gpt2-2-2.architecture", "gpt2-0-2"]),
        ("models.gpt2-2-2.kv_sharing", 3, ["kv_sharing: 3", "2 heads", "divisor of 2"]),
        ("models.gpt2-2-2.rotary", 0.3, ["rotary: 0.3", "head_dim 8", "2.4 channels", "even number"]),
        ("models.gpt2-2-2.mlp_ratio", 1.5, ["mlp_ratio", "1.5", "less than or equal to 1"]),
        ("models.gpt2-2-2.mlp_ratio", 1e-3, ["mlp_ratio: 0.001", "no hidden unit"]),
        ("models.gpt2-2-2", {"architecture": "llama-1-1", "mlp_ratio": 0, "mlp": "gated"}, ["mlp: given", "no MLP"]),
        ("models.gpt2-2-2.activation", "tanh", ["activation", "'tanh'", "gelu", "silu", "relu"]),
        ("models.gpt2-2-2.mlp", "none", ["mlp", "'none'", "standard", "gated"]),
        ("models.gpt2-2-2.experts", {"count": 4, "top": 4}, ["experts", "top: 4 of 4 experts"]),
        ("models.llama-2-2.experts", {"count": 4}, ["models.llama-2-2", "gated mlp", "mlp: standard"]),
        ("models.gpt2-no-mlp.experts", {"count": 4}, ["experts: given with mlp_ratio: 0"]),
        ("models.gpt2-2-2.experts", {"count": 4, "capacity": 0}, ["experts.capacity", "greater than 0"]),
        ("regimes.long.lr", [0.01], ["regimes.long.lr: [0.01] is a list in which nothing is chosen; write one rate"]),
        ("regimes.long.lr", [0.01, 0.01], ["regimes.long.lr", "0.01 stands twice"]),
        ("regimes.long.lr", [0.01, 2], ["regimes.long.lr", "2", "less than 1"]),
        ("models.gpt2-2-2", {"hf": "openai-community/gpt2"}, ["hf: 'openai-community/gpt2'", "network", "model_type"]),
        ("models.gpt2-2-2", {"hf": {"hidden_size": 8}}, ["hf: needs model_type"]),
        ("models.gpt2-2-2", {"hf": {"model_type": "mamba"}, "tied": True}, ["tied: given with hf", "remove tied"]),
        ("models.gpt2-2-2.python", "net:make", ["architecture and python", "give one of architecture, hf, python"]),
        ("models.gpt2-2-2", {"python": "net.make"}, ["python", "'net.make'"]),
        ("models.gpt2-2-2", {"python": "no.such:make"}, ["python: no.such:make", "no file no/such.py"]),
        ("models.gpt2-2-2", {"init_std": 0.1}, ["no model given", "architecture, hf, python"]),
        ("models.gpt2-2-2.settings", {"width": 3}, ["settings: given with architecture"]),
        ("regimes.long.document_mask", True, ["document_mask: true", "packing: rows", "remove"]),
        ("regimes.long.momentum", 0.9, ["momentum: 0.9", "optimizer: adamw", "betas"]),
        ("regimes.long.optimizer", "sgd", ["regimes.long.optimizer", "'sgd'", "adamw", "muon"]),
        (
            "regimes.long",
            {**SCHEDULE_FREE, "schedule": "linear"},
            ["schedule: linear", "schedule-free", "remove schedule"],
        ),
        ("regimes.long", {**SCHEDULE_FREE, "betas": [0, 0.9]}, ["betas: the first is 0", "schedule-free", "use 0.9"]),
        ("regimes.long", {**SCHEDULE_FREE, "betas": [1e-3, 0.9]}, ["betas: the first is 0.001", "use 0.9"]),
        ("regimes.long.schedule", "step", ["regimes.long.schedule", "'step'", "cosine", "linear"]),
        ("models.gpt2-2-2.norm", "batch", ["norm", "'batch'", "layer", "rms"]),
        ("studies.base-law.models", ["gpt2-9-9"], ["studies.base-law.models", "'gpt2-9-9'", "gpt2-2-2"]),
        ("studies.base-law.quantizers", ["int9"], ["studies.base-law.quantizers", "'int9'", "int8, int4"]),
        ("quantizers.int8.method", "gptqq", ["quantizers.int8.method", "gptqq", "rtn"]),
        ("quantizers.int8.bits", 9, ["quantizers.int8.bits", "9", "less than or equal to 8"]),
        ("quantizers.int8.bits", 1, ["quantizers.int8.bits", "1", "greater than or equal to 2"]),
        ("quantizers.int8.format", "fp8", ["quantizers.int8", "bits: 8 with format: fp8", "remove bits"]),
        ("quantizers.int8.damping", 0.1, ["quantizers.int8", "damping: 0.1 with method: rtn", "remove damping"]),
        ("quantizers.plain", {"method": "none"}, ["quantizers", "plain: method: none", "call it none"]),
        ("quantizers.none", {"method": "rtn", "bits": 8}, ["none: method: rtn", "choose another name"]),
        ("quantizers.none.symmetric", True, ["quantizers.none", "symmetric: True with method: none"]),
        ("quantizers.int8.group", 0, ["quantizers.int8.group", "0", "use row, tensor, or a number"]),
        ("quantizers.int8.group", "column", ["quantizers.int8.group", "'column'", "use row, tensor, or a number"]),
        ("quantizers.int8.tensors", [], ["quantizers.int8.tensors", "at least 1"]),
        ("quantizers.int8.tensors", ["linear", "linear"], ["quantizers.int8.tensors", "stands twice"]),
        ("quantizers.int8.tensors", ["heads"], ["quantizers.int8.tensors", "'heads'", "'head'"]),
        ("regimes.long.quantize_from", 0.5, ["regimes.long", "quantize_from: 0.5 without quantizer"]),
        ("regimes.long.quantize_from", 1, ["regimes.long.quantize_from", "1", "less than 1"]),
        ("quantizers.new", {"method": "rtn"}, ["quantizers.new", "bits: missing", "2 to 8"]),
        ("quantizers.new", {"method": "gptq", "bits": 4, "damping": 0}, ["quantizers.new.damping", "0"]),
        ("quantizers.new", {"method": "gptq", "bits": 4, "calibration": 0}, ["quantizers.new.calibration", "0"]),
        ("quantizers.new", {"method": "gptq", "format": "bf16"}, ["quantizers.new", "format: bf16 with method: gptq"]),
        ("study", [], ["study", "at least 1"]),
        ("study", ["no-such"], ["study", "'no-such'", "base-law"]),
        ("studies.base-law.seeds", [], ["studies.base-law.seeds", "at least 1"]),
        ("studies.base-law.vary", {"dataset.N": []}, ["vary.dataset.N", "empty list"]),
        ("studies.base-law.vary", {"dataset.M": [1]}, ["vary", "'M'", "valid keys"]),
        ("studies.base-law.vary", {"dataset.N": [400, -1]}, ["vary", "-1", "greater than 0"]),
        ("scale", "cloud", ["scale", "'cloud'", "laptop"]),
        ("regimes.short-windows.context", None, ["context", "missing"]),
        ("regimes.short-windows.context", 0, ["context", "0", "greater than or equal to 8"]),
        ("regimes.short-windows.packing", "rows", ["context: ", "with packing: rows; a row is one biography"]),
        ("regimes.long.lr", float("nan"), ["regimes.long.lr", "nan"]),
    ],
)
def test_a_mistake_is_one_line_that_names_key_value_and_what_is_allowed(tmp_path, raw, key, value, words):
    message = complaint(tmp_path, put(raw, key, value))
    for word in words:
        assert word in message, message


def test_a_missing_key_is_named(tmp_path, raw):
    del raw["regimes"]["long"]["batch"]
    assert "regimes.long.batch" in complaint(tmp_path, raw)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2\n", ["config.yaml, line 2", "'a' stands twice"]),
        ("regimes:\n  long: {lr: 1}\n  long: {lr: 2}\n", ["line 3", "'long' stands twice"]),
        ("a: [1, 2\n", ["config.yaml", "not valid YAML"]),
        ("just words", ["a configuration is a mapping"]),
        ("\x00\x01", ["config.yaml", "not valid YAML"]),
    ],
)
def test_a_file_that_is_not_a_configuration_is_named_with_its_line(tmp_path, text, words):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_config([path])
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_utf8_are_named(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(UserError, match="UTF-8"):
        load_config([path])


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UserError, match=r"other\.yaml: no such file"):
        load_config([tmp_path / "other.yaml"])


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "+1e-3", "1.0e-3", "0.001"])
def test_every_way_to_write_a_number_is_a_number(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(f"lr: {text}\n")
    assert read_yaml(path)["lr"] == 0.001


def test_a_later_file_and_then_an_override_win(tmp_path):
    path = tmp_path / "change.yaml"
    path.write_text("regimes: {long: {lr: 2e-2}}\n")
    overrides = {"regimes": {"long": {"batch": 32}}, "study": "biographies"}
    config = load_config([ROOT / "config.yaml", path], overrides)
    assert (config.regimes["long"].lr, config.regimes["long"].batch, config.study) == (
        0.02,
        32,
        ["biographies"],
    )
    assert config.regimes["long"].exposures == 1000


def test_values_of_an_override_have_their_yaml_types():
    overrides = {
        "regimes": {"long": {"lr": "2e-2", "batch": "32", "clip": "null"}},
        "study": "base-law,biographies",
    }
    config = load_config([ROOT / "config.yaml"], overrides)
    assert (config.regimes["long"].lr, config.regimes["long"].batch, config.regimes["long"].clip) == (
        0.02,
        32,
        None,
    )
    assert config.study == ["base-law", "biographies"]


@pytest.mark.parametrize(
    ("value", "studies"),
    [
        ("2024", ["2024"]),
        ("007", ["007"]),
        ("null", ["null"]),
        ("true", ["true"]),
        ("1e3,base-law", ["1e3", "base-law"]),
        ("[base-law, biographies]", ["base-law", "biographies"]),
    ],
)
def test_a_study_is_selected_by_its_name_whatever_yaml_takes_that_for(tmp_path, value: str, studies: list[str]):
    whole = read_yaml(ROOT / "config.yaml")["studies"]["base-law"]
    names = dict.fromkeys((name for name in studies if name not in ("base-law", "biographies")), whole)
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps({"studies": names}))
    for given in ({"study": value}, parse_overrides([f"study={value}"])):
        assert load_config([ROOT / "config.yaml", path], given).study == studies


@pytest.mark.parametrize("value", ["{", "a: b: c", "[1, 2", "{a: 1, a: 2}"])
def test_an_override_that_is_no_yaml_is_one_line(value):
    with pytest.raises(UserError, match=r"--config: .* is not a YAML value") as caught:
        load_config([ROOT / "config.yaml"], {"study": value})
    assert "\n" not in str(caught.value)


def test_docs_and_schema_are_those_of_the_models():
    from capacity.cli import document_config

    assert (ROOT / "docs" / "config.md").read_text() == document_config.markdown(), "run `make docs`"
    assert (ROOT / "docs" / "config.schema.json").read_text() == document_config.schema_text(), "run `make docs`"


def test_every_key_of_the_configuration_is_described():
    from capacity.cli import document_config
    from capacity.config.experiment import Config

    for model in document_config._models_below(Config, {Config}):
        for name, field in model.model_fields.items():
            assert field.description or name == "kind", f"{model.__name__}.{name} has no description"
