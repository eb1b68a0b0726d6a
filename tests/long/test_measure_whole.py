"""`capacity measure` from a module of one's own to a card, through the real engine, at a size of seconds a training."""

import json
import shutil

import pytest
import yaml
from checkout import ROOT, Checkout

QWEN = (
    "{model_type: qwen3, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, "
    "head_dim: 8, intermediate_size: 43, initializer_range: 0.25}"
)
OFFERED = "0.3"  # bits a parameter: about 40 people


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout.new(tmp_path_factory.mktemp("measure") / "checkout")
    (checkout.path / "nets").mkdir()
    shutil.copyfile(ROOT / "tests" / "own_models.py", checkout.path / "nets" / "own_models.py")
    return checkout


def card_of(checkout: Checkout, name: str, *words: str, offered: str = OFFERED) -> dict:
    answer = checkout.capacity(
        "measure", *words, "--name", name, "--offer", offered, "--seeds", "3", "--cores", "2", "--budget", "2h"
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr + checkout.logs()
    folder = checkout.path / "results" / "measures" / name
    assert {"card.md", "card.json", "card.png", "config.yaml", "rows.csv"} <= {path.name for path in folder.iterdir()}
    return json.loads((folder / "card.json").read_text())


@pytest.mark.long
def test_a_model_of_ones_own_gets_its_card(checkout: Checkout):
    card = card_of(checkout, "gru", "nets/own_models.py:gru", "--settings", "{width: 16}")
    assert abs(card["P"]["candidate"] / card["P"]["baseline"] - 1) < 0.02
    assert set(card["peak_ratio"]) == {"100", "1000"}
    assert 0 < card["peak_ratio"]["1000"]["mean"] < 2
    assert set(card["kept"]) == {"int8", "int4"}
    assert any("on offer" in limit for limit in card["limits"]), "0.3 bits are too few to tell"
    published = checkout.engine("--quiet", "all", "--configfile", "results/measures/gru/config.yaml")
    assert published.returncode == 0, published.stdout
    audited = checkout.capacity(
        "audit", "--configfile", "results/measures/gru/config.yaml", "--levels", "1,2", "--results", "results"
    )
    assert audited.returncode in (0, 3), audited.stdout + audited.stderr


@pytest.mark.long
def test_the_baseline_measured_as_a_candidate_is_exactly_one_time_itself(checkout: Checkout):
    config = (checkout.path / "config.yaml").read_text()
    own = "models:\n  twin: {architecture: gpt2-2-2, width: 16, init_std: 0.25}\n"
    (checkout.path / "config.yaml").write_text(config.replace("models:\n", own, 1))
    card = card_of(checkout, "twin", "twin")
    for ratio in card["peak_ratio"].values():
        assert ratio["low"] <= 1 <= ratio["high"]


@pytest.mark.long
def test_every_option_goes_from_the_command_to_the_card(checkout: Checkout):
    config = yaml.safe_load((checkout.path / "config.yaml").read_text())
    config["quantizers"]["int3"] = {"method": "rtn", "bits": 3}
    config["extractions"] = {"ask": {"method": "lora", "ranks": [[1, 1]], "lr": 1e-2, "steps": 20}}
    config["models"]["wide"] = {"architecture": "gpt2-2-2", "width": 20, "init_std": 0.2}
    (checkout.path / "config.yaml").write_text(yaml.safe_dump(config))
    options = ("--optimizer", "muon", "--quantizer", "int3", "--extraction", "ask", "--baseline", "wide")
    card = card_of(checkout, "qwen", QWEN, *options)
    assert set(card["kept"]) == {"int8", "int4", "int3"}
    assert set(card["extractable"]) == {"candidate", "baseline"}
    assert any("differ in size" in limit for limit in card["limits"])
    overlay = yaml.safe_load((checkout.path / "results" / "measures" / "qwen" / "config.yaml").read_text())
    assert overlay["regimes"]["measure-candidate-1000"]["optimizer"] == "muon"
    assert "optimizer" not in overlay["regimes"]["measure-baseline-1000"]


@pytest.mark.long
def test_a_model_of_whose_weights_half_never_learn_is_worse_beyond_doubt(checkout: Checkout):
    """The same model with all of its weights learning is the baseline."""
    config = yaml.safe_load((checkout.path / "config.yaml").read_text())
    config["models"]["whole"] = {"python": "nets.own_models:frozen", "settings": {"width": 10, "share": 0}}
    (checkout.path / "config.yaml").write_text(yaml.safe_dump(config))
    words = ("nets/own_models.py:frozen", "--settings", "{width: 10}", "--baseline", "whole")
    card = card_of(checkout, "frozen", *words, offered="1.3")
    assert all(ratio["high"] < 1 for ratio in card["peak_ratio"].values())


@pytest.mark.long
def test_a_mix_finds_that_junk_costs_exposures(checkout: Checkout):
    config = yaml.safe_load((checkout.path / "config.yaml").read_text())
    config["models"]["told"] = {"architecture": "gpt2-2-1", "head_dim": 8, "init_std": 0.35}
    (checkout.path / "config.yaml").write_text(yaml.safe_dump(config))
    answer = checkout.capacity(
        "mix", "told", "--name", "small", "--shares", "0.5", "--exposures", "20", "100", "--seeds", "1",
        "--cores", "2", "--budget", "2h",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr + checkout.logs()
    folder = checkout.path / "results" / "mixes" / "small"
    assert {"mix.md", "mix.json", "mix.png", "config.yaml", "rows.csv"} <= {path.name for path in folder.iterdir()}
    clean, junk = json.loads((folder / "mix.json").read_text())["arms"]
    assert [cell["exposures"] for cell in junk["cells"]] == [20, 100]
    assert junk["cells"][-1]["kept"]["mean"] < clean["cells"][-1]["kept"]["mean"]
