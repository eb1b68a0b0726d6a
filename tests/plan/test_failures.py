"""What a run that ended badly tells: what failed, why, which rows are missing; a table of the finished rows."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from planted import of_stage, plant, publish, tiny, tiny_grid, write_spec
from test_extraction import asking, grid_of
from test_forecast import CLAIMS

from capacity.artefacts.spec import Spec
from capacity.artefacts.stages import STAGES
from capacity.plan import failures
from capacity.plan.failures import PARTIAL, PARTIAL_ID, FailedJob, after_failure, after_success, last_line
from capacity.plan.survey import Plan, hold_against


def failed(spec: Spec, results: Path, said: str) -> FailedJob:
    """A job whose log ends with these words and whose artefact is not there, nor what follows from it."""
    log = results / "logs" / "job.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text(said)
    shutil.rmtree(results / spec.name)
    return FailedJob(STAGES[spec.stage].rule, spec, log)


def lose(results: Path, run: str, *stages: str) -> None:
    for stage in stages:
        shutil.rmtree(results / of_stage(tiny_grid(), stage, run).name)


@pytest.fixture
def tabulated(monkeypatch: pytest.MonkeyPatch) -> list[Spec]:
    """Orders for tables that were asked for, instead of tabulating planted scores, which are none."""
    asked: list[Spec] = []
    monkeypatch.setattr(failures, "_publish_partial", lambda spec, results: asked.append(spec))
    return asked


def plan_of(results: Path) -> Plan:
    return hold_against(tiny_grid(), results)


def test_a_failure_is_told_with_the_run_the_reason_and_the_rows_that_are_missing(
    results: Path, tabulated: list[Spec], capsys: pytest.CaptureFixture[str]
):
    lose(results, "e2", "variants", "probes")
    job = failed(of_stage(tiny_grid(), "checkpoints", "e2"), results, "step 1\nerror: lr: 9; the loss is nan\n\n")
    after_failure(plan_of(results), results, [job])
    assert capsys.readouterr().err.splitlines() == [
        "error: 1 job failed",
        "  train_checkpoint of small atomic long s1 (study base): lr: 9; the loss is nan",
        f"    {job.log}",
        "2 of the table's 6 rows are missing:",
        "  small atomic long s1 (study base)",
    ]
    (spec,) = tabulated
    assert {row["regime"] for row in spec.settings["rows"]} == {"short", "cut"}
    assert spec.settings["resamples"] == tiny_grid().table.settings["resamples"]
    assert spec.parents["probes"] == sorted({row["probe_set"] for row in spec.settings["rows"]})
    assert not any("-e2-" in name for name in spec.parent_names())
    assert spec.id != tiny_grid().table.id


def test_what_several_runs_wait_for_is_told_with_their_number(
    results: Path, tabulated: list[Spec], capsys: pytest.CaptureFixture[str]
):
    for run in ("e1", "e2"):
        lose(results, run, "checkpoints", "variants", "probes")
    lose(results, "bioD", "tokenizers")
    job = failed(of_stage(tiny_grid(), "datasets", "bioD"), results, "MemoryError\n")
    after_failure(plan_of(results), results, [job])
    said = capsys.readouterr().err
    assert "make_dataset of small atomic long s1 (study base) and 1 more: MemoryError" in said
    assert "4 of the table's 6 rows are missing" in said


def test_an_artefact_to_be_made_again_counts_as_there_only_when_it_was_made_again(
    results: Path, tabulated: list[Spec], capsys: pytest.CaptureFixture[str]
):
    probes = of_stage(tiny_grid(), "probes", "e2")
    (results / probes.name / "content.txt").write_text("x")
    plan = plan_of(results)
    assert probes.name in plan.remake
    for name in plan.remake:
        write_spec(plan.specs[name], results)
    job = FailedJob("probe_checkpoint", probes, results / "none.log")
    after_failure(plan, results, [job])
    assert "2 of the table's 6 rows are missing" in capsys.readouterr().err
    assert len(tabulated[0].settings["rows"]) == 4
    shutil.rmtree(results / probes.name)
    plant(probes, results)
    after_failure(plan, results, [FailedJob("tabulate_capacity", tiny_grid().table, results / "none.log")])
    assert "missing" not in capsys.readouterr().err


def test_a_job_after_the_last_score_leaves_no_partial_table(
    results: Path, tabulated: list[Spec], capsys: pytest.CaptureFixture[str]
):
    (results / PARTIAL).write_text("of an earlier run")
    (results / PARTIAL_ID).write_text("of an earlier run")
    after_failure(plan_of(results), results, [FailedJob("publish_table", None, results / "none.log")])
    said = capsys.readouterr().err
    assert "publish_table: its log cannot be read (No such file or directory)" in said
    assert "missing" not in said
    assert tabulated == []
    assert not (results / PARTIAL).exists()
    assert not (results / PARTIAL_ID).exists()


def test_a_disk_without_room_for_the_partial_table_is_told_in_one_line(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def no_room(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    job = failed(of_stage(tiny_grid(), "probes", "e2"), results, "no room\n")
    monkeypatch.setattr(failures, "write_atomically", no_room)
    after_failure(plan_of(results), results, [job])
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: no table of the finished rows: {results}/specs/")
    assert last.endswith("No space left on device; free some of it, then start the run again")


def test_a_run_that_was_stopped_without_a_failure_says_and_changes_nothing(
    results: Path, tabulated: list[Spec], capsys: pytest.CaptureFixture[str]
):
    lose(results, "e2", "probes")
    (results / PARTIAL).write_text("of an earlier run")
    after_failure(plan_of(results), results, [])
    assert capsys.readouterr() == ("", "")
    assert (results / PARTIAL).is_file()


def test_many_missing_runs_are_counted(capsys: pytest.CaptureFixture[str]):
    assert len(failures._shown(f"run {i // 2}" for i in range(100))) == failures.SHOWN + 1
    assert failures._shown(f"run {i}" for i in range(100))[-1] == "  and 80 more (`make runs` lists them)"


def test_the_partial_table_goes_when_the_complete_one_is_published_and_not_before(results: Path):
    (results / PARTIAL).write_text("x")
    (results / "capacity_table.id").write_text("capacity-of-another-configuration\n")
    after_success(plan_of(results), results)
    assert (results / PARTIAL).is_file()
    (results / "capacity_table.id").write_text(tiny_grid().table.id + "\n")
    after_success(plan_of(results), results)
    assert not (results / PARTIAL).exists()


@pytest.mark.parametrize("changed", [False, True], ids=["as published", "changed by hand"])
def test_verdicts_on_another_table_go_with_the_publishing_of_one_without_claims(
    results: Path, tmp_path: Path, changed: bool
):
    (tmp_path / "claims.yaml").write_text(CLAIMS)
    with_claims = tiny(claims=str(tmp_path / "claims.yaml"))
    plant(with_claims.claims, results)
    publish(with_claims, results)
    names = [results / name for name in ("claims.csv", "claims.md", "claims.id")]
    after_success(hold_against(with_claims, results), results)
    (results / "capacity_table.id").write_text("capacity-of-another-configuration\n")
    after_success(plan_of(results), results)
    assert all(path.is_file() for path in names), "this run did not publish its table"
    (results / "capacity_table.id").write_text(tiny_grid().table.id + "\n")
    if changed:
        (results / "claims.md").write_text("my notes")
    after_success(plan_of(results), results)
    assert [path.exists() for path in names] == [False, changed, False]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one\ntwo\n\n", "two"),
        ("Traceback\n  x\nValueError: no\n", "ValueError: no"),
        ("error: N: 0; more\n", "N: 0; more"),
        ("step 1\rstep 2\r", "step 2"),
        ("\x1b[31mred\x07\n", "[31mred"),
        ("", "it printed nothing"),
        (
            "step 9 of 90\n",
            "ended without a word, as one does that is killed, for want of memory perhaps; before: step 9 of 90",
        ),
        (
            "batch 1,234 of 40,000  5 s left\n",
            "ended without a word, as one does that is killed, for want of memory perhaps; "
            "before: batch 1,234 of 40,000  5 s left",
        ),
        ("x" * 100_000, "x" * failures.LINE),
    ],
)
def test_the_last_line_of_a_log_is_short_and_plain(tmp_path: Path, text: str, line: str):
    (tmp_path / "log").write_text(text)
    assert last_line(tmp_path / "log") == line


def test_a_row_whose_questions_were_not_answered_is_tabulated_without_them(
    results: Path, tabulated: list[Spec], capsys: pytest.CaptureFixture[str]
):
    """Of two runs that are asked, one has its answers."""
    grid = grid_of(asking())
    shutil.rmtree(results)
    for spec in grid.specs.values():
        if spec.stage not in ("tables", "figures") and not (spec.stage == "answers" and "-e1-" in spec.id):
            plant(spec, results)
    lost = of_stage(grid, "answers", "-e1-")
    after_failure(hold_against(grid, results), results, [FailedJob("probe_answers", lost, results / "none.log")])
    said = capsys.readouterr().err
    assert "probe_answers of small atomic short s1 (study base)" in said
    assert "missing" not in said
    assert said.splitlines()[-2:] == [
        "there are no answers to the questions that are asked of:",
        "  small atomic short s1 (study base)",
    ]
    (spec,) = tabulated
    plain = [row for row in spec.settings["rows"] if row["scheme"] == "none"]
    assert [(row["regime"], "answers" in row) for row in plain] == [("long", True), ("short", False), ("cut", False)]
    assert spec.parents["answers"] == [of_stage(grid, "answers", "-e2-").name]
