"""Promises where nothing can be written: one line names the place, nothing half-written stays, all else is shown."""

import ast
import errno
import gc
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from checkout import TARGETS, Checkout
from planted import tiny_grid

from capacity.artefacts.spec import spec_text
from capacity.errors import UserError, unwritable
from capacity.jobs.job import Job, job_parser
from capacity.plan.flow import make_plan
from capacity.plan.prepare import STUDIES, prepare_run, write_studies
from capacity.plan.run_lock import lock_run

ROOT = Path(__file__).resolve().parents[1]
FULL = Path("/dev/full")  # every write to it fails as on a disk without room

needs_mount = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0,
    reason="mounting needs privileges",
)


def job(results: Path) -> Job:
    """A job that makes the dataset of the tiny configuration."""
    spec = next(spec for spec in tiny_grid().specs.values() if spec.stage == "datasets")
    path = results / "specs" / f"{spec.id}.json"
    path.parent.mkdir(parents=True)
    path.write_text(spec_text(spec))
    return Job(job_parser(None).parse_args(["--spec", str(path)]), dict)


def make_on_a_full_disk(making: Job) -> None:
    with making:
        (making.folder / "facts.parquet").symlink_to(FULL)
        with open(making.folder / "facts.parquet", "wb") as file:
            file.write(bytes(100_000))


def test_a_job_on_a_full_disk_ends_in_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    making = job(tmp_path)
    with pytest.raises(SystemExit) as caught:
        make_on_a_full_disk(making)
    assert caught.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {making.spec.name}: ")
    assert "No space left on device; free some of it" in lines[0]
    assert not making.target.exists()
    assert not list((tmp_path / "scratch").iterdir())


def test_a_manifest_that_finds_no_room_leaves_no_artefact(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_room)
    making = job(tmp_path)
    with pytest.raises(SystemExit), making:
        (making.folder / "facts.parquet").write_bytes(b"facts")
    assert "No space left on device" in capsys.readouterr().err
    assert not making.target.exists()


def test_a_full_disk_is_told_in_the_words_of_every_library(tmp_path: Path) -> None:
    told = "No space left on device"
    with pytest.raises(OSError, match=told) as plain, open(FULL, "wb", buffering=0) as file:
        file.write(b"x")
    for error in (plain.value, RuntimeError("I/O error: No space left on device (os error 28)")):
        assert told in str(unwritable(error, tmp_path))
    assert unwritable(ValueError("shapes differ"), tmp_path) is None
    denied = UserError("datasets/a-1/facts.parquet: cannot be read (Permission denied); make it readable")
    assert unwritable(denied, tmp_path) is None, "it says already which file and what to do"
    assert unwritable(FileNotFoundError(errno.ENOENT, "No such file"), tmp_path) is None


def test_a_results_folder_that_takes_nothing_ends_a_run_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "engine.lock"))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(SystemExit):
        lock_run(tmp_path)
    monkeypatch.undo()
    assert capsys.readouterr().err.splitlines() == [
        f"error: {tmp_path}/engine.lock: Read-only file system; make it writable, then start the run again"
    ]


def test_what_studies_ask_ends_a_run_in_one_line_where_it_finds_no_room(
    results: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    write_studies(tiny_grid(), results)
    (results / STUDIES).write_text("older")
    monkeypatch.setattr("capacity.plan.prepare.write_atomically", no_room)
    with pytest.raises(SystemExit):
        write_studies(tiny_grid(), results)
    assert capsys.readouterr().err.splitlines() == [
        f"error: {results / STUDIES}: No space left on device; free some of it, then start the run again"
    ]


def test_what_a_run_cannot_read_ends_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "results/capacity_table.csv")

    monkeypatch.setattr("capacity.config.load.load_asked", refuse)
    monkeypatch.setattr(gc, "disable", lambda: None)
    settings = {
        "config_settings": SimpleNamespace(config={}, config_args=None),
        "resource_settings": SimpleNamespace(cores=1),
    }
    workflow = SimpleNamespace(overwrite_configfiles=[], **settings)
    with pytest.raises(SystemExit):
        make_plan(workflow, tmp_path)
    assert capsys.readouterr().err.splitlines() == [
        "error: results/capacity_table.csv: Permission denied; nothing was started"
    ]


@needs_mount
@pytest.mark.long
def test_a_finished_table_is_shown_planned_and_audited_where_results_are_read_only(checkout: Checkout) -> None:
    commands = [
        f"{sys.executable} -m snakemake --cores 1 {' '.join(TARGETS)}",
        f"{sys.executable} -m capacity.cli table",
        f"{sys.executable} -m capacity.cli plan",
        f"{sys.executable} -m capacity.cli runs",
        f"{sys.executable} -m capacity.cli audit --levels 1-3",
    ]
    script = "mount --bind results results && mount -o remount,ro,bind results && ! touch results/x 2> /dev/null"
    for command in commands:
        script += f" && echo '## {command}' && {{ {command} || test $? = 3; }}"
    answer = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script], cwd=checkout.path, env=checkout.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout
    assert "Traceback" not in answer.stdout
    shown = ("Nothing to be done", "has every column", "nothing to do", "not written to results/audit: Read-only file")
    for words in shown:
        assert words in answer.stdout, answer.stdout


@needs_mount
def test_a_run_with_work_to_do_is_refused_in_one_line_where_results_are_read_only(checkout: Checkout) -> None:
    script = (
        "mount --bind results results && mount -o remount,ro,bind results && "
        f"{sys.executable} -m snakemake --cores 1 {' '.join(TARGETS)} --config 'display={{title: other}}'"
    )
    answer = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script], cwd=checkout.path, env=checkout.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert answer.returncode == 1
    assert "Traceback" not in answer.stdout, answer.stdout
    assert sum("Read-only file system" in line for line in answer.stdout.splitlines()) == 1, answer.stdout


def test_a_copy_that_is_current_needs_no_stamp_written(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = tiny_grid()
    prepare_run(grid, results)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "utime", refuse)
    prepare_run(grid, results)


def test_a_run_that_only_plans_leaves_what_another_ones_report_reads(results: Path) -> None:
    """Two who share a checkout: the second is refused, the first one's report keeps its questions."""
    (results / STUDIES).parent.mkdir(parents=True)
    (results / STUDIES).write_text("the first one's")
    prepare_run(tiny_grid(), results)
    assert (results / STUDIES).read_text() == "the first one's"


def test_every_text_is_written_in_utf_8_whatever_the_locale() -> None:
    """A claim says "≤", and a question what its writer likes."""
    for path in sorted((ROOT / "scripts").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "write_text":
                assert "encoding" in {keyword.arg for keyword in call.keywords}, f"{path}:{call.lineno}"
