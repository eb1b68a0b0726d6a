"""What a measure builds: worlds that offer what they say, a baseline of equal size, one line for each mistake."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from capacity.cli.main import main
from capacity.cli.measure_model import candidate, first_study, name_of, parser, seconds_of
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
        (("gpt2-2-2", "--name", "n" * 33), "has 33 characters; give 32 at most"),
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
    assert candidate("./nets/mine.py:make", "{width: 8}", config) == {
        "python": "nets.mine:make",
        "settings": {"width": 8},
    }
    assert seconds_of("1.5h") == 5400


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["nets/mine.py:make"], "mine"),
        (["nets/mine.py:wide"], "mine-wide"),
        (["./mine.py:make", "--settings", "{width: 8, loops: 2}"], "mine-width-8-loops-2"),
        (["{model_type: gemma3_text}"], "gemma3_text"),
        (["gpt2-2-2", "--optimizer", "muon"], "gpt2-2-2-muon"),
        (["gpt2-2-2", "--name", "what I want"], "what-I-want"),
    ],
)
def test_measures_that_differ_have_names_that_differ(words: list[str], name: str):
    args = parser().parse_args(words)
    assert name_of(args, candidate(args.model, args.settings, load_config([ROOT / "config.yaml"]))) == name


def test_a_long_name_is_cut_and_stays_its_own():
    config = load_config([ROOT / "config.yaml"])
    names = []
    for width in (8, 16):
        args = parser().parse_args(["nets/mine.py:make", "--settings", f"{{positions: learned, of_the_mlp: {width}}}"])
        names.append(name_of(args, candidate(args.model, args.settings, config)))
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 32


def _documented() -> list[str]:
    """The commands that examples and the page on measures give."""
    pages = [*(ROOT / "examples" / "architectures").glob("*.py"), ROOT / "docs" / "measure.md"]
    found = [line.strip() for page in pages for line in page.read_text().splitlines()]
    commands = [re.split(r"\s{3,}", line)[0] for line in found if line.startswith("capacity measure ")]
    assert len(commands) > 5
    return commands


@pytest.mark.parametrize("command", _documented())
def test_a_documented_measure_makes_a_study(monkeypatch, command: str):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("capacity.cli.measure_model.seconds_a_token", lambda *_: None)
    study = first_study(parser().parse_args(shlex.split(command)[2:]))
    assert resolve(load_config([ROOT / "config.yaml"], study.config())).specs
