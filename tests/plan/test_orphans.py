"""What may be removed: all that the present configuration does not name, and never what a job is making."""

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import run_module
from planted import TINY, build, of_stage, plant, publish, tiny, tiny_grid
from test_extraction import asking

from capacity.artefacts.manifest import DIGEST, MANIFEST, manifest_digest
from capacity.artefacts.publishing import copies
from capacity.config.experiment import Config
from capacity.config.load import check
from capacity.jobs.activity import being_made, is_in_use, state_in_log
from capacity.plan.grid import Grid, resolve
from capacity.plan.orphans import damaged, folder_bytes, remove, unreached
from capacity.plan.run_lock import lock_run
from capacity.plan.run_states import run_states
from capacity.plan.survey import State, hold_against


@pytest.fixture
def dead_pid() -> int:
    """The id of a process that has ended."""
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    process.join()
    return process.pid


@pytest.fixture(params=["this process", "another host"])
def living(request: pytest.FixtureRequest) -> str:
    """The end of the name of a scratch folder that is in use."""
    host, pid = (socket.gethostname(), os.getpid()) if request.param == "this process" else ("node-7.cluster", 1)
    return f"{host}.{pid}"


def names_of(grid: Grid) -> set[str]:
    return {each.name for spec in grid.specs.values() for each in (spec, *spec.members)}


def listed(grid: Grid, results: Path) -> dict[str, str]:
    """Path below results to kind of everything that is listed."""
    orphans = unreached(names_of(grid), results)
    assert len({orphan.path for orphan in orphans}) == len(orphans)
    return {orphan.path.relative_to(results).as_posix(): orphan.kind for orphan in orphans}


def put(folder: Path, size: int = 100) -> None:
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(bytes(size))


def test_nothing_is_listed_of_what_the_configuration_reaches(results: Path):
    for spec in tiny_grid().specs.values():
        put(results / "resume" / spec.id)
    assert listed(tiny_grid(), results) == {}
    assert listed(tiny_grid(), results / "none") == {}


def test_exactly_what_another_configuration_reaches_alone_is_listed(results: Path):
    other = tiny(regimes={"long": {"lr": 0.02}})
    for spec in other.specs.values():
        if not (results / spec.name).exists():
            plant(spec, results)
    mine, theirs = names_of(tiny_grid()), names_of(other)
    assert listed(tiny_grid(), results) == dict.fromkeys(theirs - mine, "unreached")
    artefacts = {path: kind for path, kind in listed(other, results).items() if kind != "copy"}
    assert artefacts == dict.fromkeys(mine - theirs, "unreached")


def test_copies_of_figures_go_with_them_but_for_those_that_stay_or_were_changed(results: Path):
    """Without the artefact nobody could tell them from a person's own files."""
    both, base = tiny_grid(), tiny(study="base")
    for spec in (base.table, base.figures):
        plant(spec, results)
    publish(both, results)
    (results / "figures" / "study-prose.png").write_text("drawn over")
    (results / "figures" / "study-base.svg").write_bytes((results / base.figures.name / "study-base.svg").read_bytes())
    copies = [path for path, kind in listed(base, results).items() if kind == "copy"]
    names = {Path(path).name for path in copies}
    kept = {"study-prose.png", "study-base.svg"}
    assert names == {path.name for path in (results / "figures").iterdir() if path.is_file()} - kept
    assert unreached(names_of(both) | names_of(base), results) == []


def test_a_manifest_that_leads_elsewhere_makes_nothing_there_a_copy(results: Path):
    """As that of an artefact from elsewhere may: whoever removes copies would remove it."""
    figures = tiny_grid().figures
    target = results / "mine.txt"
    target.write_bytes((results / figures.name / "capacity.png").read_bytes())
    path = results / figures.name / MANIFEST
    manifest = json.loads(path.read_text())
    outputs = {"../mine.txt": manifest["outputs"]["capacity.png"]}
    changed = {**manifest, "outputs": outputs}
    path.write_text(json.dumps({**changed, DIGEST: manifest_digest(changed)}))
    assert copies(results / figures.name, results / "figures") == set()
    assert not any("mine" in path for path in listed(tiny(study="base"), results))


def test_an_artefact_in_the_folder_of_another_stage_is_listed(results: Path):
    spec = of_stage(tiny_grid(), "datasets")
    put(results / "checkpoints" / spec.id)
    assert listed(tiny_grid(), results) == {f"checkpoints/{spec.id}": "unreached"}


def test_half_made_things_of_dead_jobs_are_listed(results: Path, dead_pid: int):
    spec, host = of_stage(tiny_grid(), "checkpoints"), socket.gethostname()
    scratch = [f"{spec.id}.{host}.{dead_pid}", f"{spec.id}.{host}.{dead_pid}.replaced", "stray"]
    for name in scratch:
        put(results / "scratch" / name)
    put(results / "resume" / "gone-000000000000")
    expected = {f"scratch/{name}": "scratch" for name in scratch}
    assert listed(tiny_grid(), results) == {**expected, "resume/gone-000000000000": "resume state"}


def test_what_a_job_is_making_is_never_listed_whichever_configuration_asked_for_it(results: Path, living: str):
    """A configuration that was edited during a run does not reach what that run is still making."""
    identity = "gpt2-9-9-of-a-run-before-the-edit-000000000000"
    for folder in (
        f"scratch/{identity}.{living}",
        f"scratch/{identity}.{living}.replaced",
        f"resume/{identity}",
    ):
        put(results / folder)
    (results / "checkpoints" / identity).mkdir()  # the engine makes it beforehand
    assert listed(tiny_grid(), results) == {}


def test_scratch_of_a_dead_job_is_listed_though_a_new_job_makes_the_same(results: Path, dead_pid: int):
    spec, host = of_stage(tiny_grid(), "checkpoints"), socket.gethostname()
    put(results / "scratch" / f"{spec.id}.{host}.{dead_pid}")
    put(results / "scratch" / f"{spec.id}.{host}.{os.getpid()}")
    assert listed(tiny_grid(), results) == {f"scratch/{spec.id}.{host}.{dead_pid}": "scratch"}
    assert being_made(results) == {spec.id}


def test_a_scratch_folder_is_in_use_while_its_process_lives(results: Path, dead_pid: int):
    host = socket.gethostname()
    assert is_in_use(Path(f"scratch/a-1.{host}.{os.getpid()}"))
    assert not is_in_use(Path(f"scratch/a-1.{host}.{dead_pid}"))
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert not is_in_use(Path(f"scratch/a-1.{host}.{ended.pid}")), "it ended, and nobody has asked how"
    ended.wait()
    elsewhere = results / f"scratch/a-1.node.with.dots.{dead_pid}"
    elsewhere.mkdir(parents=True)
    assert is_in_use(elsewhere), "another host cannot be asked"
    os.utime(elsewhere, (1, 1))
    assert not is_in_use(elsewhere), "it has given no sign for long"
    log = results / "logs" / "train_checkpoint" / "a-1.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    assert is_in_use(elsewhere), "its log grows"
    assert not is_in_use(Path("scratch/stray"))
    assert not is_in_use(Path("scratch/a-1.host"))


def test_a_run_is_running_only_while_a_job_makes_its_next_artefact(results: Path, dead_pid: int, living: str):
    spec = of_stage(tiny_grid(), "checkpoints", "e2")
    for stage in ("checkpoints", "variants", "probes"):
        shutil.rmtree(results / of_stage(tiny_grid(), stage, "e2").name)

    def states() -> list[str]:
        return [run["state"] for run in run_states(hold_against(tiny_grid(), results), results)]

    assert states() == ["missing", "done", "done"]
    put(results / "scratch" / f"{spec.id}.{socket.gethostname()}.{dead_pid}")
    assert states() == ["missing", "done", "done"]
    put(results / "scratch" / f"{spec.id}.{living}")
    assert states() == ["running", "done", "done"]
    shutil.rmtree(results / "scratch")
    log = results / "logs" / "train_checkpoint" / f"{spec.id}.log"
    log.parent.mkdir(parents=True)
    log.write_text("error: the loss is not a number\n")
    assert states() == ["failed", "done", "done"]


def test_a_run_whose_questions_have_no_answers_is_not_done(tmp_path: Path):
    grid, results = resolve(check(Config, asking(), "planted")), tmp_path / "results"
    build(grid, results)
    log = results / "logs" / "finetune_qa" / f"{of_stage(grid, 'finetunes', 'e2').id}.log"

    def states() -> list[tuple[str, str]]:
        return [(run["state"], run["stage"]) for run in run_states(hold_against(grid, results), results)]

    assert states() == [("done", "")] * 3
    for stage in ("finetunes", "answers"):
        shutil.rmtree(results / of_stage(grid, stage, "e2").name)
    assert states() == [("missing", "finetunes"), ("done", ""), ("done", "")]
    log.parent.mkdir(parents=True)
    log.write_text("error: out of memory\n")
    assert states() == [("failed", "finetunes"), ("done", ""), ("done", "")]


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("going on from step 3 of 9\nstopped by SIGTERM at step 5 of 9; the state is saved\n", "stopped"),
        ("step 4,000 of 9,000  exposure 3.0 of 6  loss 1.2 nats  90k tokens/s  2 s left\n", "stopped"),
        ("Traceback (most recent call last):\n  File\nKeyboardInterrupt\n", "stopped"),
        ("waiting for process 7 on node, which works on gpt2\n", "stopped"),
        ("\n", "stopped"),
        ("batch 1,234 of 40,000  2 h 5 min left\n", "stopped"),
        ("error: /r/lease: process 7 on node still works on it; this job's time is over\n", "stopped"),
        ("step 4,000 of 9,000\nerror: the loss is not a number\n", "failed"),
        ("Traceback (most recent call last):\nOSError: No space left on device\n", "failed"),
        ("/bin/sh: python: not found\n", "failed"),
        ("step 9 of 9\ncheckpoints/gpt2-000000000000: made in 2.5 s\n", "missing"),
        ("checkpoints/gpt2-000000000000: made by another process\n", "missing"),
        ("checkpoints/gpt2-000000000000: taken from the store /store\n", "missing"),
    ],
)
def test_a_log_tells_an_interrupted_job_from_a_failed_one_and_from_one_whose_artefact_was_removed(
    tmp_path: Path, text: str, state: str
):
    assert state_in_log(tmp_path / "none.log") == "missing"
    (tmp_path / "job.log").write_text(text)
    assert state_in_log(tmp_path / "job.log") == state


def test_sizes_are_those_of_all_files_below(tmp_path: Path):
    put(tmp_path / "a", 100)
    put(tmp_path / "a" / "deep", 23)
    assert folder_bytes(tmp_path / "a") == 123
    assert folder_bytes(tmp_path / "a" / "file") == 100


# --- damage


def test_nothing_is_listed_as_damaged_while_everything_is_right(results: Path):
    assert damaged(hold_against(tiny_grid(), results), results) == []


@pytest.mark.parametrize("hurt", ["the checkpoint", "a variant"])
def test_damaged_artefacts_and_all_that_followed_members_included_are_listed(results: Path, hurt: str):
    grid = tiny_grid()
    checkpoint, variants, probes = (of_stage(grid, stage, "e2") for stage in ("checkpoints", "variants", "probes"))
    bad = checkpoint.name if hurt == "the checkpoint" else variants.members[0].name
    (results / bad / MANIFEST).unlink()
    orphans = damaged(hold_against(grid, results), results)
    kinds = {orphan.path.relative_to(results).as_posix(): orphan.kind for orphan in orphans}
    assert kinds.pop(bad) == "damaged"
    copies = {path for path, kind in kinds.items() if kind == "copy"}
    assert copies >= {"capacity_table.csv", "capacity_table.id", "figures/capacity_figures.id", "figures/capacity.png"}
    kinds = {path: kind for path, kind in kinds.items() if path not in copies}
    followed = {
        variants.name,
        probes.name,
        *(m.name for m in probes.members),
        grid.table.name,
        grid.figures.name,
    }
    followed |= {m.name for m in variants.members} if hurt == "the checkpoint" else set()
    assert kinds == dict.fromkeys(followed, "follows from damage")


def test_removing_what_is_damaged_leaves_only_missing_and_right_artefacts(results: Path):
    grid = tiny_grid()
    (results / of_stage(grid, "variants", "e2").members[1].name / MANIFEST).unlink()
    for orphan in damaged(hold_against(grid, results), results):
        remove(orphan)
    plan = hold_against(grid, results)
    assert set(plan.states.values()) == {State.DONE, State.MISSING}
    assert plan.remake == {}


@pytest.mark.parametrize("says", [b"of-another-table\n", b"\xff\xfe\x00"])
def test_copies_of_another_table_are_not_removed_with_what_is_damaged(results: Path, says: bytes):
    (results / of_stage(tiny_grid(), "variants", "e2").members[1].name / MANIFEST).unlink()
    (results / "capacity_table.id").write_bytes(says)
    paths = {orphan.path.name for orphan in damaged(hold_against(tiny_grid(), results), results)}
    assert "capacity_figures.id" in paths
    assert not paths & {"capacity_table.id", "capacity_table.csv"}


# --- removal


def test_a_link_is_removed_and_what_it_leads_to_stays(results: Path, tmp_path: Path):
    put(tmp_path / "elsewhere")
    (results / "checkpoints" / "linked-000000000000").symlink_to(tmp_path / "elsewhere")
    (orphan,) = unreached(names_of(tiny_grid()), results)
    remove(orphan)
    assert not (results / "checkpoints" / "linked-000000000000").exists()
    assert (tmp_path / "elsewhere" / "file").exists()


@pytest.fixture
def held(results: Path) -> Iterator[None]:
    """A run is under way in the results folder."""
    with lock_run(results):
        yield


def prune(results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, on the tiny configuration, where nobody is at the terminal."""
    shutil.copy(TINY, results.parent / "config.yaml")
    return run_module("capacity.cli", ("prune", *words), results.parent, dict(os.environ))


def test_nothing_is_removed_unless_told_to(results: Path):
    put(results / "checkpoints" / "other-000000000000", 2_000_000)
    answer = prune(results)
    assert "2.00 MB" in answer.stdout
    assert "nothing removed" in answer.stdout
    assert (results / "checkpoints" / "other-000000000000" / "file").exists()
    prune(results, "--yes")
    assert not (results / "checkpoints" / "other-000000000000").exists()
    assert "no orphans" in prune(results, "--yes").stdout
    assert hold_against(tiny_grid(), results).states.keys()
    assert set(hold_against(tiny_grid(), results).states.values()) == {State.DONE}


@pytest.mark.usefixtures("held")
def test_nothing_is_removed_while_a_run_is_under_way(results: Path):
    put(results / "checkpoints" / "other-000000000000")
    answer = prune(results, "--yes")
    assert answer.returncode == 1
    assert "another run is under way" in answer.stderr
    assert (results / "checkpoints" / "other-000000000000" / "file").exists()
