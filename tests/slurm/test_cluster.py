"""What tests/slurm/cluster promises: a cluster that behaves like a real one and leaves nothing behind.

Run as root with `pytest tests/slurm`; the packages come from `tests/slurm/cluster install --accounting`.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import COMMAND, Slurm

CONFIG = Path("/etc/slurm/slurm.conf")
STATE = Path("/run/test-slurm-cluster")
DAEMONS = {"munged", "mariadbd", "slurmdbd", "slurmctld", "slurmscriptd", "slurmd", "slurmstepd"}
TRAPPING = 'trap "echo terminated; exit 1" TERM; echo start ${SLURM_RESTART_COUNT:-0}; while :; do sleep 0.2; done'


def living(pid: int) -> bool:
    """Whether a process exists and is not a zombie that its parent has not collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def daemon_pids() -> set[int]:
    """Every living process on this machine that is named like a daemon of the cluster."""
    pids = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name in DAEMONS and living(int(folder.name)):
            pids.add(int(folder.name))
    return pids


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def nothing_up(any_slurm: Slurm) -> Iterator[Slurm]:
    """No cluster before and after the test."""
    any_slurm.down()
    assert not CONFIG.exists()
    yield any_slurm
    any_slurm.down()


def test_one_srun_runs_on_all_nodes(slurm: Slurm) -> None:
    names = slurm.ask("srun", "--nodes=4", "printenv", "SLURMD_NODENAME").split()
    assert sorted(names) == ["n1", "n2", "n3", "n4"]


def test_each_of_two_jobs_on_a_node_sees_a_gpu_of_its_own_and_a_third_waits(slurm: Slurm, tmp_path: Path) -> None:
    show = "echo gpu $CUDA_VISIBLE_DEVICES; sleep 60"
    jobs = [slurm.submit(show, tmp_path / f"{n}", "--nodelist=n1", "--gpus=1") for n in range(2)]
    for job in jobs:
        slurm.wait_for_state(job, "RUNNING")
    third = slurm.submit(show, tmp_path / "third", "--nodelist=n1", "--gpus=1")
    slurm.wait("both have said", lambda: all(lines(tmp_path / f"{n}") for n in range(2)))
    seen = sorted(lines(tmp_path / f"{n}")[0] for n in range(2))
    assert seen == ["gpu 0", "gpu 1"]
    reason = ["squeue", "--noheader", "--format=%r", f"--jobs={third}"]
    slurm.wait("the third waits for a GPU", lambda: slurm.ask(*reason) == "Resources")


def test_jobs_with_shards_share_a_gpu_that_no_job_with_whole_gpus_gets(slurm: Slurm, tmp_path: Path) -> None:
    show = "echo gpu $CUDA_VISIBLE_DEVICES; sleep 60"
    sharing = [slurm.submit(show, tmp_path / f"shard{n}", "--nodelist=n1", "--gres=shard:1") for n in range(2)]
    slurm.wait("both have said", lambda: all(lines(tmp_path / f"shard{n}") for n in range(2)))
    both = slurm.submit(show, tmp_path / "both", "--nodes=1", "--nodelist=n1", "--gpus=2")
    reason = ["squeue", "--noheader", "--format=%r", f"--jobs={both}"]
    slurm.wait("a job with both GPUs waits", lambda: slurm.ask(*reason) == "Resources")
    slurm.ask("scancel", both)
    slurm.submit(show, tmp_path / "whole", "--nodelist=n1", "--gpus=1")
    slurm.wait("the whole GPU is seen", lambda: lines(tmp_path / "whole"))
    (shared,) = {lines(tmp_path / f"shard{n}")[0] for n in range(2)}
    assert {shared, lines(tmp_path / "whole")[0]} == {"gpu 0", "gpu 1"}
    assert {slurm.state(job) for job in sharing} == {"RUNNING"}


def test_a_job_without_gpus_sees_none(slurm: Slurm) -> None:
    script = "echo [${CUDA_VISIBLE_DEVICES-unset}]"
    assert slurm.ask("srun", "bash", "-c", script) == "[unset]"


def test_sixteen_one_core_jobs_run_at_once_and_the_next_waits(slurm: Slurm, tmp_path: Path) -> None:
    for number in range(17):
        slurm.submit("sleep 60", tmp_path / f"{number}")

    def count(state: str) -> int:
        return len(slurm.ask("squeue", "--noheader", f"--states={state}").splitlines())

    slurm.wait("16 run", lambda: count("RUNNING") >= 16)
    reasons = ["squeue", "--noheader", "--states=PENDING", "--format=%r"]
    slurm.wait("one waits", lambda: slurm.ask(*reasons) == "Resources")
    assert count("RUNNING") == 16


def test_high_requeues_low_which_starts_again_within_half_a_minute(slurm: Slurm, tmp_path: Path) -> None:
    log = tmp_path / "low"
    low = slurm.submit(TRAPPING, log, "--partition=low", "--nodelist=n1", "--gpus=2", "--requeue")
    slurm.wait("low runs", lambda: "start 0" in lines(log))
    high = slurm.submit("sleep 1", tmp_path / "high", "--partition=high", "--nodelist=n1", "--gpus=2")
    slurm.wait_for_state(high, "COMPLETED")
    slurm.wait("low runs again, under its old id", lambda: "start 1" in lines(log), seconds=30)
    assert "terminated" in lines(log)
    assert slurm.state(low) == "RUNNING"


def test_main_takes_no_place_from_low(slurm: Slurm, tmp_path: Path) -> None:
    low = slurm.submit("sleep 60", tmp_path / "low", "--partition=low", "--nodelist=n1", "--gpus=2")
    slurm.wait_for_state(low, "RUNNING")
    main = slurm.submit("sleep 60", tmp_path / "main", "--nodelist=n1", "--gpus=2")
    reason = ["squeue", "--noheader", "--format=%r", f"--jobs={main}"]
    slurm.wait("main waits", lambda: slurm.ask(*reason) == "Resources")
    assert slurm.state(low) == "RUNNING"


def test_a_node_that_loses_power_loses_its_jobs_and_gets_them_back(slurm: Slurm, tmp_path: Path) -> None:
    log, orphan = tmp_path / "job", tmp_path / "orphan"
    script = f"setsid sleep 600 & echo $! > {orphan}; {TRAPPING}"
    job = slurm.submit(script, log, "--nodelist=n2", "--requeue")
    slurm.wait("the job runs", lambda: "start 0" in lines(log))
    slurm.manage("node-stop", "n2")
    assert not living(int(orphan.read_text()))
    slurm.wait_for_state(job, "PENDING", seconds=60)
    assert "n2" in slurm.ask("sinfo", "--noheader", "--partition=main", "--states=down", "--format=%N")
    assert slurm.manage("status", check=False).returncode == 1
    slurm.manage("node-start", "n2")
    assert slurm.ask("srun", "--nodelist=n2", "printenv", "SLURMD_NODENAME") == "n2"
    slurm.wait("the job runs again", lambda: "start 1" in lines(log))
    assert "terminated" not in lines(log)


def test_up_starts_a_stopped_node_and_nothing_else(slurm: Slurm) -> None:
    before = slurm.manage("status").stdout.splitlines()
    slurm.manage("node-stop", "n3")
    slurm.manage("up")
    after = slurm.manage("status").stdout.splitlines()
    changed = [line.split()[0] for line, old in zip(after, before, strict=True) if line.split()[:3] != old.split()[:3]]
    assert changed == ["n3"]


def test_up_twice_is_one_cluster(slurm: Slurm) -> None:
    pids = daemon_pids()
    slurm.manage("up")
    assert daemon_pids() == pids


def test_a_job_lives_through_a_restart_of_the_controller(slurm: Slurm, tmp_path: Path) -> None:
    log, go = tmp_path / "job", tmp_path / "go"
    job = slurm.submit(f"echo start; until [ -e {go} ]; do sleep 0.1; done; echo end", log)
    slurm.wait("the job runs", lambda: lines(log) == ["start"])
    pids = daemon_pids()
    slurm.manage("controller-restart")
    assert daemon_pids() != pids
    assert slurm.state(job) == "RUNNING"
    go.touch()
    slurm.wait_for_state(job, "COMPLETED")
    assert lines(log) == ["start", "end"]


def test_down_leaves_no_process_no_file_no_open_port(nothing_up: Slurm, tmp_path: Path) -> None:
    before, files = daemon_pids(), sorted(CONFIG.parent.iterdir())
    nothing_up.up(accounting=True)
    pids = tmp_path / "pids"
    script = f"setsid sleep 600 & echo $! >> {pids}; echo $$ >> {pids}; {TRAPPING}"
    nothing_up.submit(script, tmp_path / "job")
    nothing_up.wait("the job runs", lambda: len(lines(pids)) == 2)
    assert daemon_pids() - before
    nothing_up.down()
    assert daemon_pids() == before
    assert not [pid for pid in lines(pids) if living(int(pid))]
    assert sorted(CONFIG.parent.iterdir()) == files
    assert not STATE.exists()
    for port in [*range(17000, 17005), 17010]:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_down_twice_is_fine(nothing_up: Slurm) -> None:
    assert nothing_up.manage("down").stdout == "down\n"
    assert nothing_up.manage("status", check=False).stdout == "down\n"


def refusal(*arguments: str, user: int = 0) -> str:
    """The one line with which the command refuses."""
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, user=user)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("command", ["up", "down", "status", "controller-restart"])
def test_a_configuration_of_somebody_else_is_never_touched(nothing_up: Slurm, command: str) -> None:
    CONFIG.write_text("ClusterName=real\n")
    try:
        assert "/etc/slurm/slurm.conf is not of this command's making" in refusal(command)
        assert CONFIG.read_text() == "ClusterName=real\n"
    finally:
        CONFIG.unlink()
    assert not STATE.exists()


def test_down_removes_only_what_it_made(nothing_up: Slurm) -> None:
    nothing_up.up(accounting=False)
    kept = STATE / "somebody-elses-file"
    kept.write_text("keep")
    try:
        assert "Directory not empty" in refusal("down")
        assert [path.name for path in STATE.iterdir()] == [kept.name]
    finally:
        kept.unlink()


def test_only_root_may_run_it() -> None:
    assert "this needs root" in refusal("up", user=65534)


def test_a_stopped_cluster_is_named_with_the_remedy(nothing_up: Slurm) -> None:
    assert "no cluster is up: run `tests/slurm/cluster up`" in refusal("node-stop", "n1")


def test_a_daemon_that_cannot_start_is_named_with_the_end_of_its_log(nothing_up: Slurm) -> None:
    with socket.create_server(("127.0.0.1", 17000)):
        done = nothing_up.manage("up", check=False)
    assert done.returncode == 2
    assert "slurmctld has ended" in done.stderr
    assert "Address already in use" in done.stderr


def test_sacct_tells_of_a_finished_gpu_job(slurm_with_accounting: Slurm, tmp_path: Path) -> None:
    slurm = slurm_with_accounting
    job = slurm.submit("exit 3", tmp_path / "job", "--account=lab", "--gpus=1")
    report = [
        "sacct",
        "--allocations",
        "--noheader",
        "--parsable2",
        "--format=account,state,exitcode,alloctres",
    ]
    slurm.wait("sacct knows the end", lambda: "FAILED" in slurm.ask(*report, f"--jobs={job}"))
    account, state, exit_code, resources = slurm.ask(*report, f"--jobs={job}").split("|")
    assert (account, state, exit_code) == ("lab", "FAILED", "3:0")
    assert "gres/gpu=1" in resources.split(",")


def test_an_unknown_account_is_refused(slurm_with_accounting: Slurm) -> None:
    done = subprocess.run(["srun", "--account=nobody", "true"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "Invalid account" in done.stderr


def test_the_other_form_is_refused_while_one_is_up(slurm_with_accounting: Slurm) -> None:
    assert "a cluster with accounting is up" in refusal("up")
