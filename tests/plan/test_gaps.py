"""What is missing although its children are there is said by `plan` and by the run, and the table that rests on it."""

import shutil
from pathlib import Path

import pytest
from checkout import Checkout
from planted import of_stage, tiny_grid

from capacity.errors import UserError
from capacity.plan.forecast import forecast
from capacity.plan.gaps import gap_messages, gaps
from capacity.plan.survey import hold_against

TABLE, FIGURES = "results/capacity_table.csv", "results/figures/capacity.png"


def told(results: Path) -> list[str]:
    return [line.replace(str(results), "results") for line in gap_messages(hold_against(tiny_grid(), results), results)]


def test_nothing_is_said_where_nothing_is_missing_or_all_that_is_missing_is_made(results: Path, tmp_path: Path):
    assert told(results) == []
    assert told(tmp_path / "empty") == []
    for spec in tiny_grid().specs.values():  # all that follows is gone too
        if spec.stage in ("probes", "tables", "figures"):
            shutil.rmtree(results / spec.name, ignore_errors=True)
    (results / "capacity_table.csv").unlink()
    (results / "figures" / "capacity.png").unlink()
    assert gaps(hold_against(tiny_grid(), results), results) == []
    assert len(forecast(hold_against(tiny_grid(), results), results).jobs) > 0


def test_a_store_that_is_not_there_yet_is_named(results: Path, tmp_path: Path):
    plan = hold_against(tiny_grid(), results)
    plan.grid.store = str(tmp_path / "stroe")
    assert gap_messages(plan, results)[0].startswith(f"store: {tmp_path / 'stroe'}: there is no such folder yet")
    (tmp_path / "file").write_text("")
    plan.grid.store = str(tmp_path / "file" / "store")
    with pytest.raises(UserError, match="file is no folder; name one"):
        gap_messages(plan, results)
    plan.grid.store = str(tmp_path / "stroe")
    (tmp_path / "stroe").mkdir()
    assert gap_messages(plan, results) == []


@pytest.mark.parametrize("stage", ["datasets", "checkpoints", "variants", "tables"])
def test_a_missing_artefact_is_named_with_the_tables_that_rest_on_it(results: Path, stage: str):
    spec = of_stage(tiny_grid(), stage)
    shutil.rmtree(results / spec.name)
    first, *rest = told(results)
    assert first.startswith(f"missing from results/: {spec.name};")
    assert f'make table ARGS="--force results/{spec.name}/manifest.json"' in first
    assert [line.split(":")[0] for line in rest] == [TABLE, FIGURES]
    assert all("lineage is gone" in line for line in rest)


def test_a_missing_member_of_a_set_is_told_with_the_set_that_makes_it(results: Path):
    variants = of_stage(tiny_grid(), "variants")
    for member in variants.members:
        shutil.rmtree(results / member.name)
    first, *rest = told(results)
    assert f"{variants.members[0].name} and {len(variants.members) - 1} more" in first
    assert variants.name in first
    assert len(rest) == 2


def test_one_command_makes_all_that_is_missing(results: Path, monkeypatch: pytest.MonkeyPatch):
    gone = [of_stage(tiny_grid(), stage) for stage in ("datasets", "checkpoints")]
    for spec in gone:
        shutil.rmtree(results / spec.name)
    first, *_ = told(results)
    command = " ".join(f"results/{spec.name}/manifest.json" for spec in gone)
    assert f'`make table ARGS="--force {command}"` (and the CONFIG, STUDY and SCALE that you ran) does' in first
    monkeypatch.setattr("capacity.plan.gaps.MOST_FORCED", 1)
    assert "makes 1 of them, and a plan names the next" in told(results)[0]


def test_what_no_study_of_a_run_has_is_refused_in_one_line(checkout: Checkout):
    run = checkout.engine("--force", "results/probes/elsewhere-s1-0123456789ab/manifest.json", targets=())
    assert run.returncode == 1
    assert "elsewhere-s1-0123456789ab: no study of this run has it; name the CONFIG" in run.stdout
    assert "Traceback" not in run.stdout


def test_figures_alone_leave_the_lineage_of_the_table(results: Path):
    shutil.rmtree(results / tiny_grid().figures.name)
    assert [line.split(":")[0] for line in told(results)[1:]] == [FIGURES]


@pytest.mark.parametrize("kind", ["a dataset", "a member of a set"])
def test_plan_and_run_say_so_and_the_remedy_they_name_is_one(checkout: Checkout, kind: str):
    maker = of_stage(tiny_grid(), "datasets" if kind == "a dataset" else "variants")
    missing = checkout.path / "results" / (maker.name if kind == "a dataset" else maker.members[0].name)
    shutil.rmtree(missing)
    words = f"missing from results/: {missing.relative_to(checkout.path / 'results')};"
    assert words in checkout.capacity("plan").stdout
    run = checkout.engine()
    assert run.returncode == 0, run.stdout
    assert words in run.stdout
    assert "results/capacity_table.csv: its lineage is gone" in run.stdout
    assert not missing.exists()
    table, target = checkout.table(), run.stdout.partition("--force ")[2].partition('"')[0]
    checkout.build("--force", target, targets=())
    assert missing.exists()
    assert "missing from" not in checkout.capacity("plan").stdout
    assert checkout.planned() == set()
    assert checkout.table() == table
