"""What a measure builds: worlds that offer what they say, a baseline of equal size, one line for each mistake."""

import sys
from pathlib import Path

import pytest

from capacity.cli.main import main
from capacity.cli.measure_model import candidate, seconds_of
from capacity.config.load import load_config
from capacity.config.model import Model
from capacity.errors import UserError
from capacity.measure.baseline import equal_baseline, size_of
from capacity.measure.pair import BASELINE, CANDIDATE, MeasureStudy
from capacity.measure.recipe import OFFERED, RECIPES, Recipe, recipe_for
from capacity.plan.grid import resolve

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_worlds_offer_what_they_say(recipe: Recipe):
    for offered in OFFERED:
        assert recipe.bits(recipe.people(recipe.P, offered)) / recipe.P == pytest.approx(offered, rel=0.06)


@pytest.mark.parametrize("P", [4_000, 5_832, 9_232, 15_120, 34_000, 50_000, 117_000, 250_000])
def test_the_baseline_is_as_large_within_two_percent(P: int):
    recipe = recipe_for(P)
    section = equal_baseline(P, recipe)
    assert abs(size_of(Model.model_validate(section), recipe) / P - 1) <= 0.02
    assert section["architecture"].startswith("gpt2-2-")


def test_a_model_that_no_recipe_serves_is_refused():
    with pytest.raises(UserError, match=r"the model has 2,000,000 parameters; recipes: 9k \(9,200\)"):
        recipe_for(2_000_000)


def test_both_models_learn_the_same_worlds_at_the_same_rates():
    recipe = RECIPES["9k"]
    models = {CANDIDATE: {"hf": {"model_type": "mamba", "hidden_size": 16}}, BASELINE: equal_baseline(9_232, recipe)}
    study = MeasureStudy.first("mamba", recipe, models, 9_232)
    assert {label: study.config()["regimes"][f"measure-{label}-100"] for label in models} == {
        label: recipe.regime(100, recipe.first_rates(), 400) for label in models
    }
    grid = resolve(load_config([ROOT / "config.yaml"], study.whole().config()))
    trained = [spec for spec in grid.specs.values() if spec.stage == "checkpoints"]
    assert len(trained) == 2 * 3 * 3 * (3 + 1), "models, worlds, seeds, rates"
    worlds = [{spec.parents["dataset"] for spec in trained if (spec.settings["model"].get("hf") is None) == gpt2}
              for gpt2 in (False, True)]  # fmt: skip
    assert worlds[0] == worlds[1]
    assert len(worlds[0]) == 9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), "'nothing' is no file.py:factory, no mapping with model_type, and no model of config.yaml"),
        (("gpt2-2-2", "--budget", "soon"), "--budget: 'soon'; give minutes or hours, 30m or 8h"),
        (("gpt2-2-2", "--budget", "1m"), "--budget: 0.017 hours; the least of it takes about"),
        (("gpt2-2-2", "--baseline", "gpt9"), "--baseline: 'gpt9' is none of gpt2-2-1"),
        (("gpt2-2-2", "--quantizer", "int9"), "--quantizer: 'int9' is none of none"),
        (("gpt2-2-2", "--offer", "500"), "--offer: 500 bits a parameter of 9,232; this recipe has 0.05 to 4"),
        (("gpt2-2-2", "--offer", "-1"), "--offer: -1 bits a parameter of 9,232; this recipe has 0.05 to"),
        (("gpt2-2-2", "--seeds", "0"), "--seeds: 0; give 1 or more"),
        (("gpt2-2-2", "--cores", "-1"), "--cores: -1; give 1 or more"),
        (("gpt2-2-2", "--extraction", "quiz"), "--extraction: 'quiz' is none of"),
        (("gpt2-2-2", "--optimizer", "sgd"), "argument --optimizer: invalid choice: 'sgd'"),
        (("{model_type: mamba", "--dry-run"), "MODEL: '{model_type: mamba' is no mapping"),
        (("{model_type: mumba}", "--dry-run"), "model_type 'mumba' is no causal LM"),
        (("nets/none.py:make", "--dry-run"), "python: nets.none:make: cannot be built: No module named 'nets"),
    ],
)
def test_each_mistake_is_one_line(monkeypatch, capsys, tmp_path: Path, words: tuple[str, ...], said: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    for folder in ("scripts", "claims.yaml"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.setattr(sys, "argv", ["capacity", "measure", *words])
    monkeypatch.setattr("capacity.cli.main.use_checkout", lambda path: None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_dry_run_says_what_would_be_trained_and_what_it_costs(monkeypatch, capsys, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    monkeypatch.setattr(sys, "argv", ["capacity", "measure", "gpt2-no-mlp", "--dry-run", "--budget", "8h"])
    monkeypatch.setattr("capacity.cli.main.use_checkout", lambda path: None)
    main()
    assert "gpt2-no-mlp: 4," in (said := capsys.readouterr().out)
    assert "seeds; about" in said


def test_a_factory_in_a_file_is_named_by_its_module():
    config = load_config([ROOT / "config.yaml"])
    assert candidate("./nets/mine.py:make", "{width: 8}", config)[1] == {
        "python": "nets.mine:make",
        "settings": {"width": 8},
    }
    assert seconds_of("1.5h") == 5400
