"""Promises of the lease: one holder at a time, nobody waits for the dead, nobody waits for ever."""

import errno
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from planted import build, of_stage, plant, write_spec
from test_extraction import asking

from capacity.artefacts.spec import Spec
from capacity.config.experiment import Config
from capacity.config.load import check
from capacity.jobs.lease import LEASE, Busy, Lease, held, holder
from capacity.jobs.stop import Interrupted, goes_on_later
from capacity.plan.grid import resolve

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

TERM = 0.4  # seconds
HERE = [sys.executable, "-c"]


def never() -> bool:
    return False


def left_by(folder: Path, **facts: object) -> Path:
    """A lease that another process left."""
    path = folder / LEASE
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps({**holder(), **facts}))
    return path


def elsewhere(folder: Path) -> Path:
    """A lease whose holder may live: on another host nobody can tell."""
    return left_by(folder, host="node7", place="node7 boot pid:[1]", pid=1, job="77")


def seconds_to_take(folder: Path) -> float:
    started = time.monotonic()
    assert Lease(folder, TERM).take(never)
    return time.monotonic() - started


def test_a_free_lease_is_taken_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    with held(tmp_path / "id", never) as mine:
        assert mine
        assert (tmp_path / "id" / LEASE).is_file()
    assert not (tmp_path / "id").exists()


def test_letting_go_keeps_what_else_is_in_the_folder(tmp_path: Path) -> None:
    with held(tmp_path / "id", never):
        (tmp_path / "id" / "state").write_text("step 7")
    assert [path.name for path in (tmp_path / "id").iterdir()] == ["state"]


def test_a_second_process_waits_names_the_first_and_goes_on_when_it_lets_go(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = elsewhere(tmp_path / "id")
    keeper = threading.Event()

    def beat() -> None:
        for _ in range(30):  # three terms
            os.utime(path)
            time.sleep(0.1 * TERM)
        keeper.set()
        path.unlink()

    thread = threading.Thread(target=beat)
    thread.start()
    with held(tmp_path / "id", never, term=TERM) as mine:
        assert mine
        assert keeper.is_set()
    thread.join()
    told = capfd.readouterr().err
    assert told == "waiting for process 1 on node7 (SLURM job 77), which works on id\n"


def test_a_holder_that_fell_silent_is_followed_after_the_term_and_not_before(tmp_path: Path) -> None:
    elsewhere(tmp_path / "id")
    assert TERM <= seconds_to_take(tmp_path / "id") < 5 * TERM


def test_a_dead_process_of_this_machine_is_not_waited_for(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left_by(tmp_path / "id", pid=gone.pid)
    assert seconds_to_take(tmp_path / "id") < TERM / 2


def test_a_process_of_another_container_with_the_same_number_may_live(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left_by(tmp_path / "id", pid=gone.pid, place=f"{socket.gethostname()} boot pid:[9]")
    assert seconds_to_take(tmp_path / "id") >= TERM


def test_an_earlier_start_of_the_same_slurm_job_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(tmp_path / "id")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert seconds_to_take(tmp_path / "id") < TERM / 2


def test_a_process_that_lives_in_the_same_allocation_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    left_by(tmp_path / "id")
    assert seconds_to_take(tmp_path / "id") >= TERM


def test_another_task_of_the_same_array_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "77")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    left_by(tmp_path / "id", host="node7", place="node7 boot pid:[1]")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert seconds_to_take(tmp_path / "id") >= TERM


def test_work_that_is_done_meanwhile_ends_the_wait_without_the_lease(tmp_path: Path) -> None:
    path = elsewhere(tmp_path / "id")
    answers = iter([False, True])
    with held(tmp_path / "id", lambda: next(answers), term=TERM) as mine:
        assert not mine
    assert path.is_file()


def test_work_that_was_done_before_the_lease_was_free_is_not_done_again(tmp_path: Path) -> None:
    answers = iter([False, True])
    with held(tmp_path / "id", lambda: next(answers)) as mine:
        assert not mine
    assert not (tmp_path / "id").exists()


def test_out_of_patience_the_holder_is_named(tmp_path: Path) -> None:
    elsewhere(tmp_path / "id")
    with (
        pytest.raises(Busy, match=r"process 1 on node7 \(SLURM job 77\) still works on it"),
        held(tmp_path / "id", never, patience=0.1),
    ):
        pass


@pytest.mark.parametrize("reason", [Busy("another works"), Interrupted("stopped")])
def test_a_job_that_goes_on_later_says_why_and_ends_with_code_75(
    reason: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, goes_on_later():
        raise reason
    assert (ended.value.code, capsys.readouterr().err) == (75, f"{reason}\n")


def test_a_lease_that_is_no_lease_ends_with_its_term(tmp_path: Path) -> None:
    (tmp_path / "id").mkdir()
    (tmp_path / "id" / LEASE).write_text("")
    assert seconds_to_take(tmp_path / "id") >= TERM


def test_a_holder_whose_lease_went_to_another_stops_itself(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from capacity.jobs.lease import held
with held(Path(sys.argv[1]), lambda: False, beat=0.05):
    print("held", flush=True)
    time.sleep(20)
"""
    process = subprocess.Popen(
        [*HERE, code, tmp_path / "id"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=paths()
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    path = elsewhere(tmp_path / "id")
    _, said = process.communicate(timeout=10)
    assert process.returncode == -15
    assert "the lease went to another process" in said
    assert json.loads(path.read_text())["host"] == "node7"


def test_a_file_system_that_does_not_answer_for_a_while_costs_no_lease_and_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is refreshed as soon as it answers again; where it does not at the end, the work is done yet."""

    def silent(self: Lease) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    look, path = Lease._look, tmp_path / "id" / LEASE
    with held(tmp_path / "id", never, beat=0.02) as mine:
        assert mine
        monkeypatch.setattr(Lease, "_look", silent)
        time.sleep(0.2)
        os.utime(path, (1, 1))
        monkeypatch.setattr(Lease, "_look", look)
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert path.stat().st_mtime > 1
        monkeypatch.setattr(Lease, "_look", silent)


def test_letting_go_leaves_a_lease_that_went_to_another(tmp_path: Path) -> None:
    with held(tmp_path / "id", never):
        path = elsewhere(tmp_path / "id")
    assert json.loads(path.read_text())["host"] == "node7"


def test_a_lease_that_was_taken_while_its_forerunner_was_judged_silent_stays(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = elsewhere(tmp_path / "id")
    Lease(tmp_path / "id")._break("the lease that was there before")
    assert [each.name for each in path.parent.iterdir()] == [LEASE]
    assert json.loads(path.read_text())["host"] == "node7"
    assert capfd.readouterr().err == ""


def test_many_that_find_a_silent_holder_never_work_at_once(tmp_path: Path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from capacity.jobs.lease import held
folder = Path(sys.argv[1])
with held(folder / "id", lambda: False, term=0.3):
    file = os.open(folder / "working", os.O_CREAT | os.O_EXCL)
    time.sleep(0.02)
    os.unlink(folder / "working")
    with open(folder / "count", "a") as count:
        count.write("x")
"""
    elsewhere(tmp_path / "id")
    workers = [
        subprocess.Popen([*HERE, code, tmp_path], stderr=subprocess.PIPE, text=True, env=paths()) for _ in range(8)
    ]
    said = [worker.communicate(timeout=60)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 8, said
    assert (tmp_path / "count").read_text() == "x" * 8


def paths() -> dict[str, str]:
    """The environment in which a new interpreter finds the library."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def fine_tuned_beside_another(results: Path, missing: Callable[[Spec], list[Spec]]) -> tuple[Spec, int, str]:
    """Tries, and exit code and output of the job that makes them, while another makes the last that is missing."""
    grid = resolve(check(Config, asking(), "planted"))
    build(grid, results)
    tries = of_stage(grid, "finetunes", "e2")
    for spec in missing(tries):
        shutil.rmtree(results / spec.name)
    theirs = missing(tries)[-1]
    (results / "resume").mkdir()
    elsewhere(results / "resume" / theirs.id)
    command = [sys.executable, str(SCRIPTS / "finetune_qa.py"), "--spec", str(write_spec(tries, results))]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert job.stderr is not None
    told = next(line for line in job.stderr if "waiting" in line)
    assert told == f"waiting for process 1 on node7 (SLURM job 77), which works on {theirs.id}\n"
    plant(theirs, results)
    output, _ = job.communicate(timeout=60)
    return tries, job.returncode, output


def test_fine_tuning_waits_for_the_process_that_does_it(tmp_path: Path) -> None:
    tries, code, output = fine_tuned_beside_another(tmp_path / "results", lambda tries: [tries])
    assert (code, output) == (0, f"{tries.name}: made by another process\n")


def test_a_try_that_two_sets_share_is_made_once(tmp_path: Path) -> None:
    """Jobs of both sets run side by side, each with the lease of its own set."""
    results = tmp_path / "results"
    tries, code, output = fine_tuned_beside_another(results, lambda tries: [tries, tries.members[0]])
    assert (code, output.startswith(f"{tries.name}: made in ")) == (0, True)
    metrics = json.loads((results / tries.name / "manifest.json").read_text())["metrics"]
    assert metrics["tries"] == len(tries.members)


def test_a_lease_that_cannot_be_written_is_not_left_for_others_to_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def full(descriptor: int, mode: str) -> Full:
        os.close(descriptor)
        return Full()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", full)
        with pytest.raises(OSError, match="No space"):
            Lease(tmp_path).take(lambda: False)
    assert not (tmp_path / LEASE).exists()
