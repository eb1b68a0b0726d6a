"""What a measure builds: worlds that offer what they say, a baseline of equal size, one line for each mistake."""

import json
import math
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from capacity.cli.main import main
from capacity.cli.measure_model import first_study, parser
from capacity.cli.measuring import candidate, name_of, seconds_of
from capacity.config.load import load_config
from capacity.config.model import Model
from capacity.config.yaml_files import read_yaml
from capacity.errors import UserError
from capacity.jobs.activity import log_of
from capacity.measure import running
from capacity.measure.baseline import equal_baseline, size_of
from capacity.measure.choice import CHOICE, AskedMeasure, chosen_before, keep_choice
from capacity.measure.pair import BASELINE, CANDIDATE, MOST_RATES, MeasureStudy
from capacity.measure.recipe import OFFERED, RECIPES, Recipe, recipe_for
from capacity.measure.running import fit_to_budget, folder_of, refuse_other_models
from capacity.models.spec import PaperModel
from capacity.plan.grid import Grid, resolve
from capacity.plan.survey import Plan, State

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


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_no_baseline_has_heads_of_two_channels_or_next_to_no_mlp(recipe: Recipe):
    """A GPT-2 of width 22 with eleven heads holds a third less than it should, and every ratio to it says too much."""
    for P in range(int(recipe.P / 2.4), int(recipe.P * 2.4), recipe.P // 100):
        model = Model.model_validate(equal_baseline(P, recipe)).to_settings()
        assert isinstance(model, PaperModel)
        assert 6 <= model.head_dim <= 14
        assert model.mlp_ratio > 0.35


def test_a_measure_runs_on_this_cpu_whatever_scale_the_configuration_names(tmp_path: Path, monkeypatch):
    config = tmp_path / "config.yaml"
    config.write_text((ROOT / "config.yaml").read_text().replace("scale: laptop", "scale: gpu", 1))
    with open(config, "a") as file:
        file.write("\n")
    raw = read_yaml(config)
    raw["scales"]["gpu"] = {"accelerator": "gpu", "precision": "bf16", "compile": False}
    config.write_text(json.dumps(raw))
    monkeypatch.setattr(running, "CONFIG_FILE", config)
    monkeypatch.chdir(ROOT)
    grid = running.grid_of(first_study(parser().parse_args(["gpt2-2-2"])))
    trained = [spec.settings["hardware"] for spec in grid.specs.values() if spec.stage == "checkpoints"]
    assert {(each["accelerator"], each["precision"]) for each in trained} == {("cpu", "fp32")}


def test_a_model_whose_forward_fails_is_one_line(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=r"tests\.own_models:fails: cannot be trained: .*size"):
        first_study(parser().parse_args(["tests/own_models.py:fails"]))


def test_an_offer_that_is_no_number_is_one_line(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match="--offer: nan; give bits a parameter"):
        first_study(parser().parse_args(["gpt2-2-2", "--offer", "nan"]))


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
        (
            ("nothing",),
            "'nothing' is no file.py:factory in this folder, no mapping with model_type, and no model of config.yaml",
        ),
        (("gpt2-2-2", "--budget", "soon"), "--budget: 'soon'; give minutes or hours, 30m or 8h"),
        (("gpt2-2-2", "--budget", "1m"), "--budget: 0.017 hours; the least of it takes about"),
        (("gpt2-2-2", "--baseline", "gpt9"), "--baseline: 'gpt9' is none of gpt2-2-1"),
        (("gpt2-2-2", "--quantizer", "int9"), "--quantizer: 'int9' is none of none"),
        (("gpt2-2-2", "--offer", "500"), "--offer: 500 bits a parameter of 9,232; this recipe has 0.05 to 4"),
        (("gpt2-2-2", "--offer", "-1"), "--offer: -1 bits a parameter of 9,232; this recipe has 0.05 to"),
        (("gpt2-2-2", "--offer", "1.3", "1.3"), "--offer: 1.3 and 1.3 are the same 400 people; give one of them"),
        (("gpt2-2-2", "--offer", "1.301", "1.3"), "--offer: 1.3 and 1.301 are the same 400 people; give one of them"),
        (("gpt2-2-2", "--seeds", "0"), "--seeds: 0; give 1 or more"),
        (("gpt2-2-2", "--cores", "-1"), "--cores: -1; give 1 or more"),
        (("gpt2-2-2", "--extraction", "quiz"), "--extraction: 'quiz' is none of"),
        (("gpt2-2-2", "--optimizer", "sgd"), "argument --optimizer: invalid choice: 'sgd'"),
        (("gpt2-2-2", "--name", "n" * 33), "give up to 32 letters, digits, - and _"),
        (("gpt2-2-2", "--name", ".."), "--name: '..'; give up to 32 letters"),
        (("gpt2-2-2", "--quantizer", "int8"), "--quantizer: int8 is measured in any case; leave it out"),
        (("gpt2-2-2", "--settings", "{width: 9}"), "--settings: '{width: 9}' with 'gpt2-2-2', which is no file.py"),
        (("{model_type: mamba", "--dry-run"), "MODEL: '{model_type: mamba' is no mapping"),
        (("{model_type: mumba}", "--dry-run"), "model_type 'mumba' is no causal LM"),
        (("nets/none.py:make", "--dry-run"), "python: nets.none:make: no file nets/none.py in the project folder"),
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


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MeasureStudy:
    """A small model of transformers beside a GPT-2, with a results folder of its own."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(running, "RESULTS", tmp_path / "results")
    recipe, config = RECIPES["9k"], load_config([ROOT / "config.yaml"])
    section = candidate(
        "{model_type: mamba, hidden_size: 16, num_hidden_layers: 2, layer_norm_epsilon: 1e-5}", None, config
    )
    models = {CANDIDATE: section, BASELINE: equal_baseline(9_232, recipe)}
    return MeasureStudy.first("again", recipe, models, 9_232)


def test_a_text_that_looks_like_a_number_is_planned_as_it_is_built(study: MeasureStudy):
    section = study.models[CANDIDATE]
    study = replace(study, models={**study.models, CANDIDATE: {"hf": {**section["hf"], "name_or_path": "2"}}})
    planned = running.grid_of(study)
    built = resolve(load_config([ROOT / "config.yaml", running.write_config(study)]))
    assert list(planned.specs) == list(built.specs)
    models = [spec.settings["model"] for spec in planned.specs.values() if spec.stage == "checkpoints"]
    assert {model["hf"]["name_or_path"] for model in models if "hf" in model} == {"2"}


def as_if_made(monkeypatch: pytest.MonkeyPatch, study: MeasureStudy) -> None:
    """All that a study trains is there."""
    specs, look = running.grid_of(study.whole()).specs.values(), running.hold_against
    made = {each.name for spec in specs for each in (spec, *spec.members)}

    def looked(grid: Grid, results: Path) -> Plan:
        plan = look(grid, results)
        states = {name: State.DONE if name in made else state for name, state in plan.states.items()}
        return replace(plan, states=states)

    monkeypatch.setattr(running, "hold_against", looked)


def test_further_seeds_cost_what_they_take_though_the_first_are_made(study: MeasureStudy, monkeypatch):
    as_if_made(monkeypatch, study)
    assert running.hours_of(study, 2) < 0.05
    budget = running.hours_of(replace(study, seeds=5), 2) * 1.01
    chosen, hours = fit_to_budget(study, budget, 2, seeds_given=False)
    assert (chosen.seeds, hours) == (5, running.hours_of(chosen, 2))


def test_the_same_command_is_the_same_measure_whatever_is_made_by_now(study: MeasureStudy, monkeypatch, capsys):
    budget = running.hours_of(replace(study, offered=(1.3, 2.6)), 2) * 1.01
    chosen, _ = fit_to_budget(study, budget, 2, seeds_given=False)
    assert chosen.left_out == (5.2,)
    keep_choice(AskedMeasure.of(study, 2 * budget, seeds_given=False), chosen, folder_of(study))
    as_if_made(monkeypatch, chosen)
    again, hours = fit_to_budget(study, budget, 2, seeds_given=False)
    assert (again, hours < 0.05) == (chosen, True)
    assert fit_to_budget(study, 2 * budget, 2, seeds_given=False)[0].left_out == (), (
        "another budget is another question"
    )
    assert fit_to_budget(study, budget, 4, seeds_given=False)[0].left_out == (), "so are more cores"
    muon = replace(study, training=(("optimizer", "muon"),))
    with pytest.raises(UserError, match="budget"):
        fit_to_budget(muon, budget / 1000, 2, seeds_given=False)
    assert chosen_before(AskedMeasure.of(muon, budget, False), muon, folder_of(study)) is None, "so is an optimizer"
    (folder_of(study) / CHOICE).write_text("{")
    assert fit_to_budget(study, budget, 2, seeds_given=False)[0] != chosen


def planted_table(study: MeasureStudy, best: dict[str, float]) -> pd.DataFrame:
    """Of the short trainings of each model; it stores most at a rate."""
    rows = [
        {"model": f"measure-{label}", "lr": rate, "R": 1 - abs(math.log(rate / best[label]))}
        for label, rates in study.rates.items()
        for rate in rates
    ]
    return pd.DataFrame(rows).assign(exposures=100, scheme="none")


class DivergingEngine:
    """Stands in for the engine: trainings at a rate or above leave a log as such jobs do, and the run fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, least: dict[int, float]):
        self.least, self.tables, self.failed = least, {}, 0
        monkeypatch.setattr(running, "build", self.build)
        monkeypatch.setattr("capacity.tables.table.read_table", lambda path: self.tables[path])

    def build(self, study: MeasureStudy, cores: int) -> Path:
        grid, lost = running.grid_of(study), False
        for row in grid.table.settings["rows"]:
            if row["model"] == f"measure-{CANDIDATE}" and row["lr"] >= self.least[row["exposures"]]:
                log = log_of(grid.specs[f"checkpoints/{row['checkpoint_id']}"], running.RESULTS)
                log.parent.mkdir(parents=True, exist_ok=True)
                log.write_text(f"error: lr: {row['lr']}; the loss is nan by step 7; lower lr\n")
                lost = True
        self.failed += lost
        if lost:
            raise SystemExit(1)
        path = Path(grid.table.id)
        self.tables[path] = planted_table(study, dict.fromkeys(study.rates, 1.0))
        return path


def test_a_rate_at_which_a_training_diverges_is_left_out_and_the_next_lower_one_is_the_best(study, monkeypatch):
    """With few exposures at four times the recipe's rate, with many at twice that rate; the highest rate would win."""
    lr = study.recipe.lr
    engine = DivergingEngine(monkeypatch, {100: 4 * lr, 1000: 2 * lr})
    trained, _ = running.train(replace(study, offered=(1.3,)), 2)
    assert trained.best[CANDIDATE] == lr
    assert trained.diverged == ((CANDIDATE, 2 * lr), (CANDIDATE, 4 * lr))
    assert len(trained.rates[BASELINE]) == MOST_RATES, "the other model goes on"
    failed = engine.failed
    again, _ = running.train(replace(study, offered=(1.3,)), 2)
    assert again == trained
    assert engine.failed == failed == 2, "what diverged is not tried again"


def test_a_model_whose_one_rate_is_left_is_tried_at_lower_ones(study, monkeypatch):
    lr = study.recipe.lr
    DivergingEngine(monkeypatch, {100: lr, 1000: lr / 4})
    trained, _ = running.train(replace(study, offered=(1.3,)), 2)
    assert trained.best[CANDIDATE] == lr / 8


def test_a_rate_below_the_best_at_which_a_training_diverged_is_not_tried_again(study):
    lowest, best, _ = study.rates[CANDIDATE]
    assert study.next_rates(CANDIDATE, lowest) == [lowest / 2]
    assert study.without({(f"measure-{CANDIDATE}", lowest)}).next_rates(CANDIDATE, best) == []


def test_a_model_that_diverges_at_every_rate_is_told_in_one_line(study, monkeypatch):
    DivergingEngine(monkeypatch, {100: 0.0, 1000: 0.0})
    with pytest.raises(UserError, match=r"candidate: the loss is no number at any rate tried \(.*\); start with"):
        running.train(replace(study, offered=(1.3,)), 2)


def test_what_is_laid_over_has_the_types_that_were_asked_for(study: MeasureStudy):
    section = study.models[CANDIDATE]["hf"]
    section |= candidate("nets/mine.py:make", '{a: 1e-5, b: no, c: "1e-5", d: 010, e: "true", f: ä}', None)["settings"]
    assert [section[key] for key in "abcdef"] == [1e-5, "no", "1e-5", 10, "true", "ä"]
    running.write_config(study)
    assert read_yaml(running.config_file(study)) == json.loads(json.dumps(study.config()))


def test_a_name_belongs_to_the_models_that_had_it_first(study: MeasureStudy):
    refuse_other_models(study)
    running.write_config(study)
    refuse_other_models(study.with_rate(CANDIDATE, 0.08))
    other = replace(study, models={**study.models, CANDIDATE: {"hf": {"model_type": "mamba", "hidden_size": 24}}})
    with pytest.raises(UserError, match="--name: 'again' is the name of another one already, of other models"):
        refuse_other_models(other)


def test_a_dry_run_says_what_would_be_trained_and_what_it_costs(monkeypatch, capsys, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    monkeypatch.setattr(sys, "argv", ["capacity", "measure", "gpt2-no-mlp", "--dry-run", "--budget", "8h"])
    monkeypatch.setattr("capacity.cli.main.use_checkout", lambda path: None)
    main()
    said = capsys.readouterr().out
    assert re.search(r"^gpt2-no-mlp-[0-9a-f]{8}: 4,\d+ parameters", said)
    assert "seeds; about" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml"], "nothing is written"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gpt2-2-2", "--baseline", "gpt2-2-3"), "note: the baseline has 18,456 parameters"),
        (("gpt2-2-2", "--baseline", "gpt2-2-2"), "note: the candidate is the baseline: the ratio will be 1"),
        (("gpt2-2-2", "--seeds", "1"), "note: 1 seed: no interval; 3 give one"),
    ],
)
def test_what_will_limit_the_answer_is_said_before(monkeypatch, capsys, words: tuple[str, ...], said: str):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["capacity", "measure", *words, "--dry-run", "--budget", "20h"])
    main()
    assert said in capsys.readouterr().out


def test_a_factory_in_a_file_is_named_by_its_module():
    config = load_config([ROOT / "config.yaml"])
    assert candidate("./nets/mine.py:make", "{width: 8}", config) == {
        "python": "nets.mine:make",
        "settings": {"width": 8},
    }
    assert seconds_of("1.5h") == 5400


MAMBA = "{model_type: mamba, hidden_size: %d, num_hidden_layers: 2}"
ASKED = [
    ("nets/mine.py:make",),
    ("other/mine.py:make",),
    ("nets/mine.py:wide",),
    ("nets/mine.py:make", "--settings", "{width: 8}"),
    ("nets/mine.py:make", "--settings", "{width: 16}"),
    (MAMBA % 16,),
    (MAMBA % 24,),
    ("mamba",),
    ("gpt2-2-2",),
    ("gpt2-2-2", "--optimizer", "muon"),
    ("gpt2-2-2", "--optimizer", "schedule-free"),
    ("gpt2-2-2", "--baseline", "gpt2-2-3"),
    ("gpt2-2-2", "--offer", "2.6"),
    ("gpt2-2-2", "--quantizer", "int5"),
    ("gpt2-2-2", "--scale", "9k"),
    ("gpt2-2-2", "--seeds", "3"),
]


def named(words: tuple[str, ...]) -> str:
    """The name of a measure."""
    args = parser().parse_args(list(words))
    return name_of(args, candidate(args.model, args.settings, load_config([ROOT / "config.yaml"])))


def test_measures_that_differ_have_names_that_differ_and_fit():
    names = [named(words) for words in ASKED]
    assert len(set(names)) == len(ASKED)
    assert max(map(len, names)) <= 32


def test_a_measure_has_its_name_again_however_long_it_may_take():
    assert named(("gpt2-2-2", "--budget", "1h", "--cores", "1", "--dry-run")) == named(("gpt2-2-2",))
    assert named(("gpt2-2-2", "--name", "what_I-want")) == "what_I-want"


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
    monkeypatch.setattr("capacity.cli.measuring.seconds_a_token", lambda *_: None)
    study = first_study(parser().parse_args(shlex.split(command)[2:]))
    assert resolve(load_config([ROOT / "config.yaml"], study.config())).specs
