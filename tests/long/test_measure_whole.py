"""`capacity measure` from a module of one's own to a card, through the real engine, at a size of seconds a training."""

import json
import shutil

import pytest
from checkout import ROOT, Checkout

OFFERED = "0.3"  # bits a parameter: about 40 people


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout.new(tmp_path_factory.mktemp("measure") / "checkout")
    (checkout.path / "nets").mkdir()
    shutil.copyfile(ROOT / "tests" / "own_models.py", checkout.path / "nets" / "own_models.py")
    return checkout


def card_of(checkout: Checkout, name: str, *words: str) -> dict:
    answer = checkout.capacity(
        "measure", *words, "--name", name, "--offer", OFFERED, "--seeds", "3", "--cores", "2", "--budget", "2h"
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr + checkout.logs()
    folder = checkout.path / "results" / "measures" / name
    assert {"card.md", "card.json", "card.png", "config.yaml"} <= {path.name for path in folder.iterdir()}
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
