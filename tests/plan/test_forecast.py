"""The plan names exactly the jobs that are wanted, and why, in the user's words."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted import TINY, build, of_stage, plant, tiny, tiny_grid
from test_extraction import LORA, MIXED, asking

from capacity.artefacts.manifest import MANIFEST
from capacity.artefacts.settings import Settings
from capacity.artefacts.spec import Spec, make_spec
from capacity.artefacts.stages import STAGES
from capacity.cli import show_plan as plan
from capacity.config.experiment import Config
from capacity.config.load import check, read_yaml
from capacity.plan.estimates import (
    GPU_STEP_SECONDS,
    PRODUCT_FLOPS,
    STARTUP_SECONDS,
    UNKNOWN_TOKENS,
    UNKNOWN_WORDS,
    biography_tokens,
    vocabulary,
)
from capacity.plan.forecast import Basis, Cost, Forecast, Past, PlannedJob, forecast
from capacity.plan.grid import Grid, resolve
from capacity.plan.survey import hold_against
from capacity.tokenizers.spec import WordVocabulary

RAW = read_yaml(TINY)
TABLE, FIGURES = "capacity_table.id", "figures/capacity_figures.id"

CLAIMS = """claims:
  - id: it
    result: 1
    statement: It holds.
    published: 2
    relation: at least
    tolerance: 0.1
    statistic: peak
    of: {study: [base]}
"""


def ahead(grid: Grid, results: Path) -> Forecast:
    return forecast(hold_against(grid, results), results)


def jobs(answer: Forecast) -> dict[str, PlannedJob]:
    assert len({job.name for job in answer.jobs}) == len(answer.jobs)
    return {job.name: job for job in answer.jobs}


def chain(grid: Grid, run: str, letters: str) -> set[str]:
    """Jobs of a run by the first letters of their stages; `a` adds table and figures and their copies."""
    stages = {"d": "datasets", "t": "tokenizers", "c": "checkpoints", "v": "variants", "p": "probes"}
    names = {of_stage(grid, stages[letter], run).name for letter in letters if letter in stages}
    return names | ({grid.table.name, grid.figures.name, TABLE, FIGURES} if "a" in letters else set())


# --- which jobs


def test_nothing_is_planned_when_everything_is_current(results: Path):
    answer = ahead(tiny_grid(), results)
    assert answer.jobs == []
    members = sum(len(spec.members) for spec in tiny_grid().specs.values())
    assert answer.reused == len(tiny_grid().specs) + members
    assert answer.total() == {
        "jobs": 0,
        "reused": answer.reused,
        "core_seconds": 0,
        "gpu_seconds": 0,
        "bytes": 0,
        "estimated": False,
    }


def test_everything_is_planned_in_the_order_of_the_flow_when_nothing_is_built(tmp_path: Path):
    answer = ahead(tiny_grid(), tmp_path)
    assert [job.name for job in answer.jobs] == [*tiny_grid().specs, TABLE, FIGURES]
    assert {job.reason for job in answer.jobs[:-2]} == {"nothing like it was made yet"}
    assert answer.reused == 0
    rules = [job.rule for job in answer.jobs[-4:]]
    assert rules == ["tabulate_capacity", "plot_capacity", "publish_table", "publish_figures"]


@pytest.mark.parametrize("stages", [["datasets"], list(STAGES)[:6], ["tables"], ["figures"], list(STAGES)])
def test_what_is_missing_is_not_planned_while_all_that_followed_from_it_exists(results: Path, stages: list[str]):
    for stage in stages:
        for folder in (results / stage).glob("*"):
            if folder.is_dir():
                shutil.rmtree(folder)
    assert ahead(tiny_grid(), results).jobs == []


def test_a_missing_artefact_is_planned_when_a_job_needs_it(results: Path):
    grid = tiny_grid()
    for stage in ("checkpoints", "variants", "probes"):
        shutil.rmtree(results / of_stage(grid, stage, "e2").name)
    shutil.rmtree(results / grid.table.name)
    (results / "capacity_table.id").unlink()
    assert jobs(ahead(grid, results)).keys() == {*chain(grid, "e2", "cvp"), grid.table.name, TABLE}


CHANGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "regime": ({"regimes": {"long": {"lr": 0.02}}}, "e2", "cvpa"),
    "quantizer": ({"quantizers": {"int8": {"bits": 7}}}, "", "vpa"),
    "probe": ({"probe": {"draws": 2}}, "", "pa"),
    "tokenizer": ({"tokenizers": {"bpe": {"vocabulary": 310}}}, "bioS", "tcvpa"),
    "dataset": ({"datasets": {"people": {"templates": 3}}}, "bioS", "dtcvpa"),
    "table": ({"table": {"resamples": 500}}, "", "a"),
}


@pytest.mark.parametrize(("change", "run", "letters"), CHANGES.values(), ids=CHANGES.keys())
def test_a_change_plans_its_stage_and_all_that_follow_for_its_runs(
    results: Path, change: dict[str, Any], run: str, letters: str
):
    grid = tiny(**change)
    runs = [run] if run else ["e1", "e2", "bioS"]
    expected = set().union(*(chain(grid, name, letters) for name in runs))
    answer = ahead(grid, results)
    assert jobs(answer).keys() == expected
    kept = {n for o in grid.specs.values() for n in (o.name, *(m.name for m in o.members)) if (results / n).exists()}
    assert answer.reused == len(kept)


def test_a_display_option_plans_the_figures_only(results: Path):
    grid = tiny(display={"title": "Capacity"})
    assert jobs(ahead(grid, results)).keys() == {grid.figures.name, FIGURES}


def test_a_copy_that_was_edited_is_planned_to_be_published_and_nothing_else(results: Path):
    (results / "capacity_table.csv").write_text("R\n2.0\n")
    (job,) = ahead(tiny_grid(), results).jobs
    assert (job.rule, job.name) == ("publish_table", TABLE)
    assert job.reason == f"capacity_table.csv is not of {tiny_grid().table.id}"


def test_damage_is_planned_with_all_that_followed_and_is_not_reused(results: Path):
    grid = tiny_grid()
    before = ahead(grid, results).reused
    checkpoint = of_stage(grid, "checkpoints", "e2")
    (results / checkpoint.name / "content.txt").write_text("x")
    answer = ahead(grid, results)
    planned = jobs(answer)
    assert planned.keys() == chain(grid, "e2", "cvpa")
    assert planned[checkpoint.name].reason.startswith(f"damaged: {results / checkpoint.name}")
    variants = of_stage(grid, "variants", "e2").name
    assert planned[variants].reason == f"follows from {checkpoint.name}, which is made again"
    members = 2 + 2  # of the set of variants and the set of scores
    assert answer.reused == before - 5 - members


def test_planning_is_what_is_left_to_do_at_every_point_of_a_run(tmp_path: Path):
    """Making the planned jobs one by one, the plan shrinks by the job just made."""
    grid = tiny_grid()
    todo = [job.name for job in ahead(grid, tmp_path).jobs]
    while todo[0] in grid.specs:
        plant(grid.specs[todo[0]], tmp_path)
        left = [job.name for job in ahead(grid, tmp_path).jobs]
        assert left == todo[1:]
        todo = left
    assert todo == [TABLE, FIGURES]


# --- why


def reasons(grid: Grid, results: Path, stage: str) -> set[str]:
    answer = ahead(grid, results)
    return {job.reason for job in answer.jobs if job.rule == STAGES[stage].rule}


@pytest.mark.parametrize(
    ("change", "stage", "words"),
    [
        ({"regimes": {"long": {"lr": 0.02}}}, "checkpoints", {"regime.lr 0.01 -> 0.02"}),
        ({"regimes": {"long": {"clip": None}}}, "checkpoints", {"regime.clip 1 -> None"}),
        ({"models": {"small": {"head_dim": 6}}}, "checkpoints", {"model.head_dim 4 -> 6"}),
        (
            {"scales": {"laptop": {"compile": True}}},
            "checkpoints",
            {"hardware.compile False -> True"},
        ),
        ({"datasets": {"people": {"pools": {"cities": 5}}}}, "datasets", {"pools.cities 4 -> 5"}),
        ({"datasets": {"people": {"pools": {"cities": 5}}}}, "probes", {"its parents are new"}),
        ({"probe": {"draws": 2}}, "probes", {"draws 1 -> 2"}),
        ({"quantizers": {"int8": {"bits": 7}}}, "variants", {"numbers.bits 8 -> 7"}),
        ({"table": {"resamples": 500}}, "tables", {"resamples 1000 -> 500"}),
        ({"regimes": {"long": {"lr": 0.02}}}, "tables", {"rows changed"}),
        ({"display": {"title": "Capacity"}}, "figures", {"display.title  -> Capacity"}),
    ],
)
def test_a_reason_names_the_key_that_differs_from_the_most_similar_artefact(
    results: Path, change: dict[str, Any], stage: str, words: set[str]
):
    assert reasons(tiny(**change), results, stage) == words


def test_an_artefact_is_compared_with_none_of_another_kind(results: Path):
    spec = make_spec("datasets", "x", {"kind": "random", "N": 6, "length": 4, "vocabulary": 9, "seed": 1}, {})
    assert Past(results, "datasets").reason(spec) == "nothing like it was made yet"


def test_a_seed_is_compared_with_the_same_run_of_another_seed(results: Path):
    grid = tiny(studies={"base": {"seeds": [1, 2]}})
    assert reasons(grid, results, "checkpoints") == {"seed 1 -> 2"}


def edited_manifest(results: Path, spec: Spec, change: Callable[[dict[str, Any]], Any]) -> None:
    """The artefact of a spec as it would stand had it been made otherwise, under another name."""
    folder = results / spec.name
    content = json.loads((folder / MANIFEST).read_text())
    content["name"] = f"{spec.name[:-1]}-other"
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))
    folder.rename(results / content["name"])


def test_a_reason_names_the_module_that_changed(results: Path):
    grid = tiny_grid()
    spec = grid.figures

    def older(content: dict[str, Any]) -> None:
        content["code"]["digest"] = "older"
        content["code"]["modules"] |= {
            "__main__": "older",
            "capacity.figures.capacity": "older",
            "capacity.gone": "older",
        }

    edited_manifest(results, spec, older)
    (results / FIGURES).unlink()
    changed = [
        "code of plot_capacity.py changed",
        "code of capacity.figures.capacity changed",
        "code of capacity.gone changed",
    ]
    assert reasons(grid, results, "figures") == {"; ".join(changed)}


def test_a_reason_names_the_package_that_changed(results: Path):
    grid = tiny_grid()
    edited_manifest(results, grid.figures, lambda content: content["packages"].update(matplotlib="0.1"))
    (results / FIGURES).unlink()
    version = grid.figures.packages["matplotlib"]
    assert reasons(grid, results, "figures") == {f"matplotlib 0.1 -> {version}"}


def test_many_differences_are_cut_short(results: Path):
    regime = {"lr": 0.02, "batch": 3, "eps": 1e-7, "weight_decay": 0.1, "clip": None, "warmup_steps": 0}
    (reason,) = reasons(tiny(regimes={"cut": {**regime, "context": 64}}), results, "checkpoints")
    assert reason.endswith(" (and 3 more)")
    assert reason.count(";") == 3


def test_an_unreadable_manifest_of_another_artefact_spoils_no_plan(results: Path):
    for name, text in (
        ("checkpoints/x-1", "{"),
        ("checkpoints/x-2", "[]"),
        ("checkpoints/x-3", '{"schema": 99}'),
    ):
        (results / name).mkdir()
        (results / name / MANIFEST).write_text(text)
    (results / "checkpoints" / "stray.txt").write_text("stray")
    grid = tiny(regimes={"long": {"lr": 0.02}})
    assert reasons(grid, results, "checkpoints") == {"regime.lr 0.01 -> 0.02"}


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "nothing": lambda said: [said.pop(key) for key in list(said) if key != "schema"],
    "no settings": lambda said: said.update(settings=3),
    "a name": lambda said: said.update(name=["x"]),
    "modules": lambda said: said["code"].update(modules={"x": []}),
    "packages": lambda said: said.update(packages=None),
    "members": lambda said: said.update(members=[{}]),
    "outputs": lambda said: said.update(outputs={"file": 3}),
    "seconds": lambda said: said.update(cpu_seconds="long"),
    "metrics": lambda said: said["metrics"].update(parameters="many"),
    "hardware": lambda said: said["settings"].pop("hardware"),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_a_manifest_that_no_job_wrote_spoils_no_plan(results: Path, change: Callable[[dict[str, Any]], Any]):
    trained(results)
    grid = tiny(regimes={"long": {"lr": 0.02}})
    before = cost(results), reasons(grid, results, "checkpoints")
    said = json.loads((results / of_stage(grid, "checkpoints", "e1").name / MANIFEST).read_text())
    change(said)
    (results / "checkpoints" / "x-000000000000").mkdir()
    (results / "checkpoints" / "x-000000000000" / MANIFEST).write_text(json.dumps(said))
    assert (cost(results), reasons(grid, results, "checkpoints")) == before


# --- what it costs


def measured(results: Path, name: str, **values: Any) -> None:
    """Put measurements into a made artefact's manifest."""
    path = results / name / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def training(job: PlannedJob) -> bool:
    return job.rule == "train_checkpoint"


def test_another_seed_costs_what_the_same_run_took(results: Path):
    for spec in tiny_grid().specs.values():
        if spec.stage == "checkpoints":
            measured(results, spec.name, cpu_seconds=200.0 if "-e2-" in spec.id else 100.0)
    planned = jobs(ahead(tiny(studies={"base": {"seeds": [1, 2]}}), results))
    for exposures, seconds in (("-e2-s2-", 200.0), ("-e1-s2-", 100.0)):
        job = next(job for name, job in planned.items() if name.startswith("checkpoints") and exposures in name)
        assert (job.cost.seconds, job.cost.basis) == (seconds, Basis.JOB)
        assert job.cost.bytes > 0


P = 1040  # of the tiny configuration's atomic runs, whatever their exposures


def trained(results: Path, P: int = P, **metrics: Any) -> None:
    """Have every training of the tiny configuration measured: 1e6 FLOP in 10 seconds on a core, for P parameters."""
    for spec in tiny_grid().specs.values():
        if spec.stage == "checkpoints":
            steps = {"steps": 4.0, "steps_cpu": 10.0}
            measured(results, spec.name, metrics={"flops": 1e6, "parameters": P, "seconds": steps, **metrics})


def cost(results: Path, **overrides: Any) -> Cost:
    """What a training costs whose exposures nothing had before."""
    grid = tiny(**{"regimes": {"long": {"exposures": 10}}, **overrides})
    return next(job.cost for job in ahead(grid, results).jobs if training(job) and "-N6-e10-" in job.name)


def test_another_shape_costs_its_share_of_flops_at_the_rate_that_was_measured(results: Path):
    trained(results)
    single = cost(results)
    assert (single.basis, single.rate, single.P) == (Basis.RATE, 1e5, P)
    longer = next(j.cost for j in ahead(tiny(regimes={"long": {"exposures": 20}}), results).jobs if "-e20-" in j.name)
    assert longer.seconds - STARTUP_SECONDS == pytest.approx(2 * (single.seconds - STARTUP_SECONDS))


LAPTOP = {"accelerator": "cpu", "precision": "fp32", "compile": False}


@pytest.mark.parametrize(
    "hardware",
    [
        {"accelerator": "gpu", "precision": "bf16"},
        {"accelerator": "gpu", "precision": "fp32"},
        {"accelerator": "cpu", "precision": "bf16"},
    ],
)
def test_a_rate_of_another_device_or_precision_is_never_used(results: Path, hardware: dict[str, Any]):
    trained(results)
    found = cost(results, scales={"laptop": {**LAPTOP, **hardware}})
    on_gpu = hardware["accelerator"] == "gpu"
    assert found.basis == Basis.ASSUMED
    assert bool(found.bound) == on_gpu
    assert found.rate is not None
    assert on_gpu or found.rate < PRODUCT_FLOPS
    assert found.device == ("GPU" if hardware["accelerator"] == "gpu" else "core")
    assert cost(results).basis == Basis.RATE


def test_a_rate_of_another_optimizer_or_of_others_models_is_never_used(results: Path):
    trained(results)
    muon = cost(results, regimes={"long": {"exposures": 10, "optimizer": "muon"}})
    mamba = {"hf": {"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 1, "state_size": 4}}
    others = cost(results, models={"other": mamba}, studies={"base": {"models": ["other"]}})
    assert muon.basis == others.basis == Basis.ASSUMED
    assert cost(results).basis == Basis.RATE


@pytest.mark.parametrize(("factor", "serves"), [(0.2, False), (0.4, True), (1, True), (3, True), (4, False)])
def test_a_rate_serves_models_of_its_own_order_of_size(results: Path, factor: float, serves: bool):
    trained(results, P=round(P * factor))
    assert cost(results).basis == (Basis.RATE if serves else Basis.ASSUMED)


def test_a_gpu_is_counted_for_as_long_as_it_is_held_and_by_the_number_of_them(results: Path):
    """Measured where a training held two GPUs for four seconds of steps, whatever its core did meanwhile."""
    hardware = {"accelerator": "gpu", "precision": "bf16", "devices": 2, "compile": False}
    grid = tiny(scales={"laptop": hardware})
    build(grid, results)
    for spec in grid.specs.values():
        if spec.stage == "checkpoints":
            steps = {"steps": 4.0, "steps_cpu": 10.0}
            metrics = {"flops": 1e6, "parameters": P, "seconds": steps}
            measured(results, spec.name, cpu_seconds=10.0, seconds=6.0, metrics=metrics)
    assert cost(results, scales={"laptop": hardware}).rate == 1e6 / 8
    again = ahead(tiny(scales={"laptop": hardware}, studies={"base": {"seeds": [2]}}), results)
    same = next(job.cost for job in again.jobs if training(job) and "-s2-" in job.name)
    assert (same.seconds, same.device, same.basis) == (12.0, "GPU", Basis.JOB)
    assert again.total()["gpu_seconds"] >= 24.0


def test_without_any_measurement_a_training_is_estimated_and_marked_so(tmp_path: Path):
    answer = ahead(tiny_grid(), tmp_path)
    trainings = [job for job in answer.jobs if training(job)]
    assert all(job.cost.seconds > 0 and job.cost.basis == Basis.ASSUMED for job in trainings)
    assert answer.total()["estimated"]


def seconds_by_rule(raw: dict[str, Any], results: Path) -> dict[str, float]:
    """What the jobs of each rule are planned to take together."""
    planned = ahead(resolve(check(Config, raw, "planted")), results).jobs
    return {job.rule: sum(each.cost.seconds for each in planned if each.rule == job.rule) for job in planned}


def test_tries_are_estimated_by_their_steps(tmp_path: Path):
    few, many = (seconds_by_rule(asking({**LORA, "steps": steps}), tmp_path) for steps in (1000, 100_000))
    assert many["finetune_qa"] > 20 * few["finetune_qa"]
    assert many["probe_answers"] == few["probe_answers"]


def test_a_mixed_training_is_estimated_as_the_training_and_its_questions(tmp_path: Path):
    found = seconds_by_rule(asking(MIXED, **{"regimes/long/exposures": 100_000}), tmp_path)
    assert found["finetune_qa"] == pytest.approx(2 * found["train_checkpoint"], rel=0.1)


def test_on_a_gpu_a_small_model_waits_for_its_steps_with_questions_too(tmp_path: Path):
    gpu = {"scales/laptop/accelerator": "gpu"}
    found = seconds_by_rule(asking(MIXED, **{"regimes/long/exposures": 100_000}, **gpu), tmp_path)
    assert found["finetune_qa"] == pytest.approx(2 * found["train_checkpoint"], rel=0.1)
    few, many = (seconds_by_rule(asking({**LORA, "steps": n}, **gpu), tmp_path)["finetune_qa"] for n in (1000, 100_000))
    tries = 2 * 2  # of two checkpoints
    assert many - few == pytest.approx(tries * 99_000 * GPU_STEP_SECONDS)


def test_a_total_adds_up_each_kind_of_device():
    costs = [Cost(1.5, 10), Cost(2.0, 20, basis=Basis.ASSUMED), Cost(9.0, 1, "GPU")]
    answer = Forecast([PlannedJob("r", "a", "", cost) for cost in costs], reused=7)
    expected = {"jobs": 3, "reused": 7, "core_seconds": 3.5, "gpu_seconds": 9.0, "bytes": 31, "estimated": True}
    assert answer.total() == expected


# --- how it is told


def test_the_plan_ends_the_new_runs_with_their_cost_by_size_and_says_what_each_is_taken_from():
    costs = [
        Cost(60.0, P=9_232, basis=Basis.JOB),
        Cost(30.0, P=9_800, basis=Basis.RATE, rate=1.2e10),
        Cost(86_400.0 * 3, P=255_000_000, basis=Basis.ASSUMED, rate=2e13, device="GPU"),
    ]
    answer = Forecast([PlannedJob("train_checkpoint", f"checkpoints/{i}", "", cost) for i, cost in enumerate(costs)])
    text = plan.as_text([], [f"run {i}" for i in range(30)], answer)
    lines = [line.split() for line in text.split("what they cost")[1].splitlines()]
    assert lines[2][:7] == ["9,232", "to", "9,800", "2", "1.5", "core", "minutes"]
    assert " ".join(lines[2][7:]) == "1 of jobs like them; 1 of a measured rate: 1.2e+10 FLOP/s of one core"
    assert lines[3][:5] == ["255,000,000", "1", "3.0", "GPU", "days"]
    assert " ".join(lines[3][5:]) == "an assumed rate: 2.0e+13 FLOP/s of one GPU"
    assert text.startswith("3 jobs, about 3.0 GPU days and 1.5 core minutes (partly estimated)\n"), "the answer first"
    assert "new runs: 30" in text


def test_small_models_on_a_core_leave_the_plan_of_a_gpu_as_it_is_in_a_fresh_clone(results: Path, tmp_path: Path):
    trained(results)
    scale = {"laptop": {"accelerator": "gpu", "precision": "bf16", "compile": True}}
    here, fresh = (ahead(tiny(scales=scale), folder).total()["gpu_seconds"] for folder in (results, tmp_path / "none"))
    assert here == pytest.approx(fresh, rel=0.3)


def test_claims_are_judged_when_they_or_the_table_change_and_nothing_else_follows_from_them(
    results: Path, tmp_path: Path
):
    claims = tmp_path / "claims.yaml"
    claims.write_text(CLAIMS)
    grid = tiny(claims=str(claims))
    assert jobs(ahead(grid, results)).keys() == {grid.claims.name, "claims.id"}
    build(grid, results)
    assert ahead(grid, results).jobs == []
    claims.write_text(CLAIMS.replace("tolerance: 0.1", "tolerance: 0.2"))
    stricter = tiny(claims=str(claims))
    planned = jobs(ahead(stricter, results))
    assert planned.keys() == {stricter.claims.name, "claims.id"}
    assert planned["claims.id"].rule == "publish_claims"


def test_a_kind_of_dataset_without_an_estimate_of_its_own_is_planned_by_a_rough_one() -> None:
    class Pairs(Settings):
        N: int

    assert biography_tokens(Pairs(N=5)) == UNKNOWN_TOKENS
    assert vocabulary(Pairs(N=5), WordVocabulary(kind="word")) == UNKNOWN_WORDS
