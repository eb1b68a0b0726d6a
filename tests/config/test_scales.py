"""The scales beside the laptop: every study resolves, with the published sizes and recipes, and planning is quick."""

import time
from pathlib import Path

import pytest

from capacity.cli import show_plan as plan
from capacity.config.experiment import Config
from capacity.config.load import load_asked, load_config, read_yaml
from capacity.errors import UserError
from capacity.models.architectures import parameter_count
from capacity.plan.estimates import published_rate, training_flops, vocabulary
from capacity.plan.grid import Grid, resolve
from capacity.plan.preview import sample_world
from capacity.rewriting.spec import read_dataset
from capacity.tables.bits import bits_offered
from capacity.tokenizers.spec import read_tokenizer
from capacity.training.spec import TrainingSettings

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED, HERE = ("paper", "workstation"), ("desktop", "desktop-large")
# which offer less on purpose
LADDERS = ("base-law", "base-law-more-seeds", "base-law-short", "ladder", "ladder-top", "ladder-top-short")


def config(scale: str, study: str) -> Config:
    return load_config([ROOT / "config.yaml", ROOT / "scales" / f"{scale}.yaml"], {"study": study})


def studies(scale: str) -> list[str]:
    return list(read_yaml(ROOT / "scales" / f"{scale}.yaml")["studies"])


@pytest.fixture(scope="module")
def base_law() -> Grid:
    return resolve(config("paper", "base-law"))


def test_every_scale_is_tested():
    assert {path.stem for path in (ROOT / "scales").glob("*.yaml")} == {*PUBLISHED, *HERE}


@pytest.mark.parametrize(("scale", "study"), [(scale, study) for scale in PUBLISHED for study in studies(scale)])
def test_every_study_asks_its_question_at_every_scale(scale: str, study: str):
    """Nothing of the laptop's grid is left in a study that a scale states."""
    checked = config(scale, study)
    own = read_yaml(ROOT / "scales" / f"{scale}.yaml")
    for part in checked.studies[study].parts():
        assert set(part.datasets) <= own["datasets"].keys()
        assert set(part.models) <= own["models"].keys()
        assert set(part.regimes) <= own["regimes"].keys()
        assert all(key in str(own["studies"][study]) for key in part.vary if key.startswith("dataset."))
    for model in own["models"]:
        settings = checked.models[model].to_settings()
        assert (settings.head_dim, settings.init_std) == (64, 0.02)


@pytest.mark.parametrize(
    ("scale", "study"),
    [(scale, study) for scale in HERE for study in studies(scale) if study != "other-models"],  # to see that they run
)
def test_the_worlds_of_a_desktop_offer_more_than_its_models_are_to_hold(scale: str, study: str):
    grid = resolve(config(scale, study))
    for checkpoint in (spec for spec in grid.specs.values() if spec.stage == "checkpoints"):
        model = TrainingSettings.read(checkpoint.settings).model
        dataset, tokenizer = (grid.specs[checkpoint.parents[role]].settings for role in ("dataset", "tokenizer"))
        world = sample_world(read_dataset(dataset))
        P = parameter_count(model, vocabulary(read_dataset(dataset), read_tokenizer(tokenizer)))
        assert model.init_std == pytest.approx(model.d**-0.5, rel=0.03)
        assert study in LADDERS or bits_offered(dataset["N"], world.account) / P > 2.2


def test_the_paper_scale_resolves_in_seconds(base_law: Grid):
    began = time.process_time()
    grid = resolve(config("paper", "base-law"))
    assert time.process_time() - began < 30
    assert grid.specs.keys() == base_law.specs.keys()


def test_the_base_law_has_the_published_worlds_and_sizes(base_law: Grid):
    rows = base_law.table.settings["rows"]
    people = {(row["N"], row["exposures"]) for row in rows}
    long = {10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000}
    assert {N for N, exposures in people if exposures == 1000} == long
    assert {N for N, exposures in people if exposures == 100} == (long - {10_000, 20_000}) | {20_000_000}
    smallest = {N: min((r["l"], r["h"]) for r in rows if (r["N"], r["exposures"]) == (N, 1000)) for N in long}
    assert smallest[10_000] == (2, 2)
    assert smallest[10_000_000] == (20, 16)
    assert {row["scheme"] for row in rows} == {"none", "int8", "int4"}


def test_the_plan_prints_the_cost_beside_the_published_one(base_law: Grid):
    lines = plan.training_costs(base_law, "gpt2-20-16-bioS-N10000000-e1000-*")
    assert lines[0] == (
        "gpt2-20-16 bioS-10M e1000-10M s1 (gpt2-20-16-bioS-N10000000-e1000-s1): 1.13e+21 "
        "FLOPs; at 8.6e+13 FLOP/s of one GPU, bound by products (30% of "
        "the 312 TFLOP/s of an A100 in products (bfloat16), 60% of the 1.6 TB/s of its memory, 5 us a kernel): "
        "151.7 GPU days"
    )
    assert lines[-1].endswith(
        "8.5 days on 64 A100 for gpt2-20-16 on bioS(10M), 1.13e+21 FLOPs, which implies 2.4e+13 FLOP/s of each"
    )
    assert plan.training_costs(base_law, "gpt2-20-16 bioS-10M e1000-10M s1") == lines, "as `make runs` names it"
    assert plan.training_costs(base_law, "gpt2-99-*") == ["no training fits 'gpt2-99-*'"]


def test_the_largest_training_costs_what_the_paper_paid(base_law: Grid):
    """8.5 days on 64 A100 are 24 TFLOP/s each; our count of its FLOPs is the same."""
    (spec,) = (o for name, o in base_law.specs.items() if "checkpoints/gpt2-20-16-bioS-N10000000-e1000-s1" in name)
    dataset, tokenizer = (base_law.specs[spec.parents[role]].settings for role in ("dataset", "tokenizer"))
    training = TrainingSettings.read(spec.settings)
    flops = training_flops(read_dataset(dataset), read_tokenizer(tokenizer), training)
    assert flops == pytest.approx(1.13e21, rel=0.01)
    assert published_rate() == pytest.approx(2.4e13, rel=0.02)


def test_a_plan_is_held_against_a_whole_configuration_or_one_that_is_laid_over_this(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(ROOT)
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("regimes: {short: {lr: 2e-2}}\n")
    assert plan.files_of(overlay) == [Path("config.yaml"), overlay]
    assert plan.files_of(ROOT / "config.yaml") == [ROOT / "config.yaml"]
    now = load_config([ROOT / "config.yaml"])
    assert plan.edits(load_config(plan.files_of(overlay)), now) == ["regime short: lr 0.02 -> 0.01"]
    overlay.write_text("extractions: {questions: {steps: 7}}\n")
    changes = plan.edits(load_config(plan.files_of(overlay)), now)
    assert [change.partition(":")[0] for change in changes] == ["extraction questions"]


def test_a_study_that_a_scale_does_not_state_is_refused_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its models would be the laptop's, its recipes the paper's."""
    monkeypatch.chdir(ROOT)
    files = [ROOT / "config.yaml", ROOT / "scales" / "paper.yaml"]
    with pytest.raises(UserError, match=r"^study: 'chain-tokenizer' is not stated at scale paper, .*, chain,"):
        load_asked(files, {"study": "chain,chain-tokenizer"})
    assert load_asked(files, {"study": "chain"}).study == ["chain"]
    own = tmp_path / "mine.yaml"
    own.write_text("studies: {chain-tokenizer: {models: [gpt2-2-2]}}\n")
    assert load_asked([*files, own], {"study": "chain-tokenizer"}).scale == "paper"
    own.write_text("scale: workstation\n")
    assert load_asked([files[0], own], {"study": "sizes"}).scale == "workstation", "the hardware alone mixes nothing"
    assert load_asked(files[:1], {"study": "sizes", "scale": "workstation"}).scale == "workstation"


# N: exposures, batch, weight decay, rates; arXiv 2404.05405, appendix A and E, of GPT-2, and of random junk.
RECIPES = {
    "e1000-10K": (1000, 24, 0.02, 1e-3),
    "e1000-20K": (1000, 48, 0.02, 1e-3),
    "e1000-50K": (1000, 96, 0.02, 1e-3),
    "e1000-100K": (1000, 192, 0.02, 1e-3),
    "e1000-200K": (1000, 192, 0.02, 1e-3),
    "e1000-500K": (1000, 192, 0.01, 5e-4),
    "e1000-1M": (1000, 192, 0.01, 5e-4),
    "e1000-2M": (1000, 1536, 0.005, 3e-4),
    "e1000-5M": (1000, 1536, 0.002, 3e-4),
    "e1000-10M": (1000, 1536, 0.001, 3e-4),
    "e100-50K": (100, 12, 0.01, 1e-3),
    "e100-100K": (100, 24, 0.01, 1e-3),
    "e100-200K": (100, 48, 0.01, 1e-3),
    "e100-500K": (100, 96, 0.01, 5e-4),
    "e100-1M": (100, 192, 0.01, 5e-4),
    "e100-2M": (100, 384, 0.01, [3e-4, 5e-4, 1e-3]),
    "e100-5M": (100, 768, 0.01, [3e-4, 5e-4]),
    "e100-10M": (100, 1024, 0.01, [2e-4, 3e-4, 5e-4]),
    "e100-20M": (100, 1280, 0.002, [2e-4, 3e-4, 5e-4]),
    "e100-junk-500K": (100, 192, 0.005, [5e-5, 1e-4, 2e-4, 3e-4, 5e-4]),
    "e100-junk-1M": (100, 192, 0.005, [5e-5, 1e-4, 2e-4, 3e-4, 5e-4]),
}


def test_recipes_are_the_published_ones() -> None:
    regimes = load_config([ROOT / "config.yaml", ROOT / "scales" / "paper.yaml"]).regimes
    for name, recipe in RECIPES.items():
        regime = regimes[name]
        assert (regime.exposures, regime.batch, regime.weight_decay, regime.lr) == recipe, name
        assert (regime.context, regime.warmup_steps) == (512, 1000), name
