"""An artefact appears whole under its name or not at all, whatever happens to the job that makes it."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from planted import of_stage, plant, tiny_grid, write_spec

from capacity.artefacts import making as artefacts
from capacity.artefacts import manifest
from capacity.artefacts import spec as specs
from capacity.artefacts.hash_index import NOTES
from capacity.artefacts.identity import SCRIPTS
from capacity.artefacts.making import Making
from capacity.artefacts.manifest import MANIFEST, read_manifest, verify
from capacity.artefacts.spec import Spec, make_spec
from capacity.errors import UserError
from capacity.jobs.job import Job


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No store that the developer's shell names is filled; git and sources are not read a hundred times."""
    monkeypatch.delenv("CAPACITY_STORE", raising=False)
    monkeypatch.setattr(specs, "forget_sources", lambda: None)
    monkeypatch.setattr(artefacts, "git_state", lambda: {"commit": None, "dirty": None})


@pytest.fixture
def spec() -> Spec:
    return make_spec("datasets", "world", {"seed": 1}, {})


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def forked(job: Callable[..., Any], *args: Any) -> multiprocessing.Process:
    """A process that does a job; it exits with 0, 1 for an exception, or minus the signal that killed it."""
    process = multiprocessing.get_context("fork").Process(target=job, args=args)
    process.start()
    return process


def exit_code(process: multiprocessing.Process) -> int | None:
    process.join(timeout=30)
    return process.exitcode


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_process(spec: Spec, results: Path) -> Job:
    return Job(Namespace(spec=write_spec(spec, results), results=None), dict)


def make(spec: Spec, results: Path, text: str = "made") -> Path:
    """Make an artefact by a job in this process."""
    with in_process(spec, results) as job:
        (job.folder / "content.txt").write_text(text)
    return results / spec.name


def scratch(results: Path) -> list[Path]:
    return list((results / "scratch").iterdir()) if (results / "scratch").is_dir() else []


def is_absent(folder: Path) -> bool:
    """Whether a later run would make it: there is no folder, or the empty one that the engine makes."""
    return not folder.exists() or not any(folder.iterdir())


# --- a job that ends well


def test_a_job_leaves_its_files_and_a_manifest_that_says_what_happened(results: Path, spec: Spec):
    folder = make(spec, results)
    said = verify(folder, spec.name)
    assert sorted(path.name for path in folder.iterdir()) == ["content.txt", MANIFEST]
    assert said["settings"] == spec.settings
    assert said["code"]["digest"] == spec.code
    assert said["code"]["modules"]["__main__"]
    assert said["packages"] == spec.packages
    assert said["started"] <= said["ended"]
    assert {
        "git",
        "environment",
        "hardware",
        "command",
        "cpu_seconds",
        "peak_memory_bytes",
    } <= said.keys()
    assert scratch(results) == []


def test_the_manifest_is_written_last(results: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch):
    write, seen = artefacts.write_atomically, []

    def spy(path: Path, text: str) -> None:
        seen.append(sorted(file.name for file in path.parent.iterdir()))
        write(path, text)

    monkeypatch.setattr(artefacts, "write_atomically", spy)
    make(spec, results)
    assert seen == [["content.txt"]]


def test_the_empty_folder_that_the_engine_makes_beforehand_is_replaced(results: Path, spec: Spec):
    (results / spec.name).mkdir(parents=True)
    verify(make(spec, results), spec.name)


def test_what_the_engine_leaves_of_an_artefact_before_a_rerun_is_replaced(results: Path, spec: Spec):
    folder = make(spec, results, "old")
    (folder / MANIFEST).unlink()
    (folder / "stray.txt").write_text("not of this artefact")
    make(spec, results, "new")
    assert (folder / "content.txt").read_text() == "new"
    assert sorted(path.name for path in folder.iterdir()) == ["content.txt", MANIFEST]
    assert scratch(results) == []


def test_parents_are_verified_and_chained_by_content(results: Path):
    grid = tiny_grid()
    dataset, tokenizer = of_stage(grid, "datasets"), of_stage(grid, "tokenizers")
    parent = plant(dataset, results)
    with in_process(tokenizer, results) as job:
        assert job.parent("dataset") == parent
    inputs = read_manifest(results / tokenizer.name)["inputs"]
    manifest = read_manifest(parent)
    assert inputs == {dataset.name: {"content": manifest["content"], "manifest": manifest["digest"]}}


# --- a job that does not


def test_a_job_that_raises_leaves_nothing_and_a_later_one_succeeds(results: Path, spec: Spec):
    def fail(error: BaseException) -> None:
        with in_process(spec, results) as job:
            (job.folder / "content.txt").write_text("half")
            raise error

    for error in (RuntimeError("planted"), KeyboardInterrupt(), SystemExit(0), MemoryError()):
        with pytest.raises(type(error)):
            fail(error)
        assert is_absent(results / spec.name)
        assert scratch(results) == []
    verify(make(spec, results), spec.name)


def test_a_mistake_of_the_user_ends_the_job_with_one_line(
    results: Path, spec: Spec, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as caught, in_process(spec, results):
        raise UserError("names: too few")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: names: too few\n"
    assert is_absent(results / spec.name)


def make_and_die(spec: Spec, results: Path, place: Any, call: str) -> None:
    """A job that is killed when it comes to a call."""
    setattr(place, call, die)
    make(spec, results, "half")


INSTANTS = {
    "at the end of the work": (Making, "__exit__"),
    "before the manifest": (Making, "manifest"),
    "while the manifest is written": (manifest.os, "fsync"),
    "before the manifest is renamed": (manifest.os, "replace"),
    "between manifest and rename": (Making, "_publish"),
    "at the rename": (artefacts.os, "rename"),
}


@pytest.mark.parametrize(("place", "call"), INSTANTS.values(), ids=INSTANTS.keys())
@pytest.mark.parametrize("before", ["nothing", "empty folder"])
def test_a_killed_job_leaves_nothing_under_its_name_and_a_later_one_succeeds(
    results: Path, spec: Spec, place: Any, call: str, before: str
):
    folder = results / spec.name
    if before == "empty folder":
        folder.mkdir(parents=True)
    assert exit_code(forked(make_and_die, spec, results, place, call)) == -signal.SIGKILL
    assert is_absent(folder)
    assert len(scratch(results)) == 1, "the job had begun"
    make(spec, results, "whole")
    assert (folder / "content.txt").read_text() == "whole"
    verify(folder, spec.name)


@pytest.mark.parametrize("call", ["_publish", "_move_aside", "shutil.rmtree"])
def test_a_job_killed_while_it_replaces_an_artefact_leaves_the_old_one_or_nothing(results: Path, spec: Spec, call: str):
    folder = make(spec, results, "old")
    again = replace(spec, remake="planted")
    place, call = (artefacts.shutil, "rmtree") if call == "shutil.rmtree" else (Making, call)

    def job() -> None:
        making = Making(again, results, {})
        making.__enter__()
        (making.folder / "content.txt").write_text("half")
        setattr(place, call, die)
        making.__exit__(None, None, None)

    assert exit_code(forked(job)) == -signal.SIGKILL
    assert is_absent(folder) or (folder / "content.txt").read_text() == "old"
    make(again, results, "new")
    assert (folder / "content.txt").read_text() == "new"
    verify(folder, spec.name)


FULL = """
import json, os, sys
from argparse import Namespace
from pathlib import Path
from capacity.jobs.job import Job
from capacity.artefacts.manifest import verify

results, spec = Path(sys.argv[1]), Path(sys.argv[2])
def make(size):
    with Job(Namespace(spec=spec, results=results), dict) as job:
        free = os.statvfs(results).f_bavail * os.statvfs(results).f_frsize
        (job.folder / "content.bin").write_bytes(bytes(size or free))

def left():
    return sorted(str(path.relative_to(results)) for path in results.rglob("*") if path.is_file())

seen = []
for size in (100_000, 0):  # more than the disk holds; all that it holds, with nothing left for the manifest
    try:
        make(size)
        seen.append("made")
    except SystemExit as end:
        seen.append([end.code, left()])
make(1000)
seen.append(left())
verify(results / sys.argv[3], sys.argv[3])
print(json.dumps(seen))
"""


def test_a_full_disk_leaves_nothing_and_a_later_job_succeeds(tmp_path: Path, spec: Spec):
    """A disk of 64 KB, mounted for this one process; it needs root and unshare, and fails without them."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = 'mount -t tmpfs -o size=64k none "$1" && shift && exec "$@"'
    job = [sys.executable, "-c", FULL, str(disk), str(write_spec(spec, tmp_path)), spec.name]
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", str(disk), *job]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, f"cannot mount a small disk here, or the job failed:\n{answer.stderr}"
    big, no_manifest, made = json.loads(answer.stdout.splitlines()[-1])
    assert big == no_manifest == [1, []]
    lines = answer.stderr.splitlines()
    assert len(lines) == 2
    assert all(f"error: {spec.name}: {disk}" in line and "No space left on device" in line for line in lines)
    assert made == [f"{spec.name}/content.bin", f"{spec.name}/{MANIFEST}", NOTES]


# --- several jobs for one artefact


@pytest.mark.parametrize("before", ["nothing", "empty folder", "leftovers"])
@pytest.mark.parametrize("remake", [None, "planted"])
def test_jobs_that_make_the_same_artefact_at_once_all_succeed_and_leave_one(
    results: Path, spec: Spec, before: str, remake: str | None
):
    folder = results / spec.name
    if before != "nothing":
        folder.mkdir(parents=True)
    if before == "leftovers":
        (folder / "content.txt").write_text("half")
    settings = write_spec(replace(spec, remake=remake), results)
    together = multiprocessing.get_context("fork").Barrier(4)

    def job() -> None:
        with Job(Namespace(spec=settings, results=None), dict) as job:
            (job.folder / "content.txt").write_text("made")
            together.wait(timeout=30)

    assert [exit_code(process) for process in [forked(job) for _ in range(4)]] == [0] * 4
    verify(folder, spec.name)
    assert (folder / "content.txt").read_text() == "made"
    assert sorted(path.name for path in folder.iterdir()) == ["content.txt", MANIFEST]
    assert scratch(results) == []


def slow_job(spec: Spec, results: Path, text: str) -> Making:
    """A job that has done its work and is about to end, while others go on."""
    making = Making(spec, results, {})
    making.folder = making.folder.with_name(f"{spec.id}.elsewhere.1")
    making.__enter__()
    (making.folder / "content.txt").write_text(text)
    return making


def test_an_artefact_that_another_job_made_meanwhile_stays(results: Path, spec: Spec):
    late = slow_job(spec, results, "late")
    folder = make(spec, results, "early")
    inode = folder.stat().st_ino
    late.__exit__(None, None, None)
    assert (folder.stat().st_ino, (folder / "content.txt").read_text()) == (inode, "early")
    assert scratch(results) == []


def test_an_artefact_from_the_store_that_is_here_already_stays_and_leaves_no_scratch(
    results: Path, spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CAPACITY_STORE", str(tmp_path / "store"))
    folder = make(spec, results)
    inode = folder.stat().st_ino
    with pytest.raises(SystemExit) as caught:
        in_process(spec, results).__enter__()
    assert caught.value.code == 0
    assert folder.stat().st_ino == inode
    assert scratch(results) == []


@pytest.mark.parametrize("same", [True, False])
def test_an_artefact_is_taken_from_the_store_if_it_was_made_from_the_same_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool
):
    """Its job may have verified more on its way than its parents, as the table's does with every score."""
    monkeypatch.setenv("CAPACITY_STORE", str(tmp_path / "store"))
    dataset, tokenizer = of_stage(tiny_grid(), "datasets"), of_stage(tiny_grid(), "tokenizers")
    extra = make_spec("datasets", "extra", {"seed": 2}, {})
    plant(dataset, tmp_path / "a")
    plant(extra, tmp_path / "a")
    with in_process(tokenizer, tmp_path / "a") as job:
        (job.folder / "content.txt").write_text("of the first checkout")
        job.add_input(extra.name)
    monkeypatch.delenv("CAPACITY_STORE")
    (plant if same else make)(dataset, tmp_path / "b")
    monkeypatch.setenv("CAPACITY_STORE", str(tmp_path / "store"))
    with contextlib.suppress(SystemExit):  # a job that takes its artefact from the store ends there
        make(tokenizer, tmp_path / "b", "made here")
    expected = "of the first checkout" if same else "made here"
    assert (tmp_path / "b" / tokenizer.name / "content.txt").read_text() == expected


def test_an_artefact_that_is_to_be_made_anew_is_replaced_even_if_another_job_made_it_meanwhile(
    results: Path, spec: Spec
):
    late = slow_job(replace(spec, remake="planted"), results, "late")
    folder = make(spec, results, "early")
    late.__exit__(None, None, None)
    assert (folder / "content.txt").read_text() == "late"
    verify(folder, spec.name)
    assert scratch(results) == []


@pytest.mark.parametrize("damage", [lambda f: (f / MANIFEST).unlink(), lambda f: (f / "content.txt").write_text("x")])
def test_a_damaged_artefact_that_appeared_meanwhile_is_replaced(
    results: Path, spec: Spec, damage: Callable[[Path], Any]
):
    late = slow_job(spec, results, "late")
    folder = make(spec, results, "early")
    damage(folder)
    late.__exit__(None, None, None)
    assert (folder / "content.txt").read_text() == "late"
    verify(folder, spec.name)
    assert scratch(results) == []


def test_an_artefact_of_another_version_of_the_project_is_left_alone(
    results: Path, spec: Spec, capsys: pytest.CaptureFixture[str]
):
    folder = make(spec, results, "theirs")
    text = (folder / MANIFEST).read_text().replace('"schema": 2', '"schema": 99')
    (folder / MANIFEST).write_text(text)
    with pytest.raises(SystemExit):
        make(spec, results, "ours")
    assert "schema 99" in capsys.readouterr().err
    assert (folder / "content.txt").read_text() == "theirs"
    assert scratch(results) == []


def test_an_old_folder_that_another_job_moves_away_first_does_no_harm(
    results: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    folder = make(spec, results, "old")
    elsewhere, rename = results / "moved", os.rename

    def faster(source: Path, target: Path) -> None:
        if source == folder and not elsewhere.exists():
            rename(folder, elsewhere)
        rename(source, target)

    monkeypatch.setattr(artefacts.os, "rename", faster)
    make(replace(spec, remake="planted"), results, "new")
    assert (folder / "content.txt").read_text() == "new"
    assert elsewhere.exists()


def test_a_disk_that_cannot_rename_ends_the_job_and_leaves_nothing(
    results: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(source: Path, target: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(artefacts.os, "rename", broken)
    with pytest.raises(SystemExit):
        make(spec, results)
    assert "Input/output error; check the disk" in capsys.readouterr().err
    assert is_absent(results / spec.name)
    assert scratch(results) == []


# --- what a job refuses


def refusal(spec: Spec, results: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a job refuses to start."""
    with pytest.raises(SystemExit) as caught:
        in_process(spec, results)
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "content.txt").write_text("x"), "content.txt: has 1 bytes"),
        (lambda f: (f / MANIFEST).unlink(), "no manifest.json"),
        (lambda f: f.rename(f.with_name("gone")), "is missing; `make table ARGS="),
    ],
)
def test_a_job_never_starts_from_a_damaged_parent(
    results: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], Any], words: str
):
    grid = tiny_grid()
    parent = plant(of_stage(grid, "datasets"), results)
    damage(parent)
    error = refusal(of_stage(grid, "tokenizers"), results, capsys)
    assert str(parent) in error
    assert words in error


def test_a_job_never_starts_with_other_code_than_its_spec_names(
    results: Path, spec: Spec, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(specs, "code_digest", lambda *_, **__: "other code")
    assert "make_dataset.py changed" in refusal(spec, results, capsys)


def test_a_job_refuses_a_spec_that_was_edited(results: Path, spec: Spec, capsys: pytest.CaptureFixture[str]):
    assert "edited by hand" in refusal(replace(spec, settings={"seed": 2}), results, capsys)


def test_code_that_is_edited_while_it_is_imported_ends_the_job(
    results: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    with in_process(spec, results) as job:
        job.check_again()
    (results / spec.name).rename(results / "moved")
    job = in_process(spec, results)
    monkeypatch.setattr(specs, "code_digest", lambda *_, **__: "edited")
    with pytest.raises(SystemExit), job:
        job.check_again()
    assert is_absent(results / spec.name)


# --- sets


@pytest.fixture
def variants(results: Path) -> Spec:
    """The spec of a set of two variants whose checkpoint exists."""
    grid = tiny_grid()
    spec = of_stage(grid, "variants")
    checkpoint = grid.specs[str(spec.parents["checkpoint"])]
    for name in checkpoint.parent_names():
        plant(grid.specs[name], results)
    plant(checkpoint, results)
    return spec


def make_set(spec: Spec, results: Path, text: str) -> list[str]:
    """Make a set by a job; the members that it made."""
    made = []

    def make(member: Spec, making: Making) -> None:
        (making.folder / "content.txt").write_text(text)
        made.append(member.name)

    with in_process(spec, results) as job:
        job.make_set(make, "members")
    assert job.metrics == {"members": len(spec.members), "reused": len(spec.members) - len(made)}
    return made


def contents(spec: Spec, results: Path) -> list[str]:
    return [(results / member.name / "content.txt").read_text() for member in spec.members]


def test_a_set_makes_its_missing_members_and_chains_all(results: Path, variants: Spec):
    first, second = (member.name for member in variants.members)
    plant(variants.members[0], results)
    kept = contents(replace(variants, members=variants.members[:1]), results)
    assert make_set(variants, results, "new") == [second]
    assert contents(variants, results) == [*kept, "new"]
    inputs = verify(results / variants.name, variants.name)["inputs"]
    assert inputs.keys() == {first, second, variants.parents["checkpoint"]}
    for name in (first, second):
        assert inputs[name]["content"] == verify(results / name, name)["content"]


def test_an_empty_folder_is_no_member(results: Path, variants: Spec):
    """As the survey has it: what is missing there and not made here is asked for by every run."""
    second = variants.members[1].name
    plant(variants.members[0], results)
    (results / second).mkdir(parents=True)
    assert make_set(variants, results, "new") == [second]
    assert verify(results / second, second)


def test_the_content_of_a_set_is_that_of_its_members(results: Path, variants: Spec):
    make_set(variants, results, "old")
    before = read_manifest(results / variants.name)["content"]
    make_set(replace(variants, remake="planted"), results, "new")
    assert read_manifest(results / variants.name)["content"] != before


def test_a_set_that_is_to_be_made_anew_makes_every_member_again(results: Path, variants: Spec):
    make_set(variants, results, "old")
    again = replace(variants, remake="follows from its checkpoint, which is made again")
    assert len(make_set(again, results, "new")) == 2
    assert contents(variants, results) == ["new", "new"]


def test_a_set_with_a_damaged_member_is_not_made(results: Path, variants: Spec, capsys: pytest.CaptureFixture[str]):
    member = plant(variants.members[0], results)
    (member / "content.txt").write_text("x")
    with pytest.raises(SystemExit):
        make_set(variants, results, "new")
    assert str(member) in capsys.readouterr().err
    assert is_absent(results / variants.name)


def test_a_score_is_never_made_from_a_damaged_variant(
    results: Path, variants: Spec, capsys: pytest.CaptureFixture[str]
):
    make_set(variants, results, "weights")
    probes = next(o for o in tiny_grid().specs.values() if variants.name in o.parent_names())
    bad = results / str(probes.members[1].parents["variant"])
    (bad / "content.txt").write_text("x")
    with pytest.raises(SystemExit):
        make_set(probes, results, "scores")
    assert str(bad) in capsys.readouterr().err
    assert is_absent(results / probes.members[1].name)
    assert is_absent(results / probes.name)
