"""What the SLURM profile promises on a real cluster: the bytes of a run on one machine, whatever happens.

Faults are injected while a training runs, because only trainings are long enough to be hit; datasets and tokenizers
are made beforehand.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import Checkout, jobs_in
from conftest import Slurm
from engine import CONFIG, SLOW, Engine, Training, new_checkout, num_submissions, training, wait, with_datasets

STATE = Path("/run/test-slurm-cluster")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Datasets and tokenizers of the slow trainings."""
    checkout = new_checkout(tmp_path_factory.mktemp("prepared") / "checkout", CONFIG)
    checkout.build("--until", "make_tokenizer")
    return checkout


@pytest.fixture(scope="session")
def undisturbed(prepared: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The same, built to the end on this machine without SLURM."""
    checkout = prepared.copy(tmp_path_factory.mktemp("undisturbed") / "checkout")
    checkout.build()
    return checkout


@pytest.fixture
def disturbed(prepared: Checkout, undisturbed: Checkout, tmp_path: Path) -> Checkout:
    """A copy in which the trainings are still to be run."""
    return prepared.copy(tmp_path / "checkout")


def job_of(slurm: Slurm, one: Training, state: str = "RUNNING") -> str | None:
    """The SLURM job in some state that makes a checkpoint."""
    lines = slurm.ask("squeue", "--noheader", f"--states={state}", "--format=%i|%k").splitlines()
    jobs = [line.split("|")[0] for line in lines if one.id in line]
    return jobs[-1] if jobs else None


def node_of(slurm: Slurm, job: str) -> str:
    return slurm.ask("squeue", "--noheader", "--format=%N", f"--jobs={job}")


@contextlib.contextmanager
def paused(one: Training) -> Iterator[None]:
    """Its process stands still: a slow machine."""
    pid = signal_to(one, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def signal_to(one: Training, number: signal.Signals) -> int:
    """Signal the process of a training; its id."""
    pid = one.pid()
    assert pid
    os.kill(pid, number)
    return pid


def assert_as_undisturbed(undisturbed: Checkout, trainings: list[Training]) -> None:
    """Equal weights, and no resume state left."""
    for one in trainings:
        assert one.model() == training(undisturbed, one.id.rpartition("-")[0]).model()
        assert not one.resume.exists()


@pytest.fixture(scope="module")
def on_cluster(any_slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, str]:
    """The tiny configuration, built by the literal command; its output. config.yaml is spoilt meanwhile."""
    any_slurm.up(accounting=False)
    checkout = new_checkout(tmp_path_factory.mktemp("cluster") / "checkout")
    engine = Engine(checkout, "-p", "--set-resources", "train_checkpoint:gpu=1", literal=True)
    engine.wait("the first job is submitted", lambda: "ubmitted" in engine.said())
    config = checkout.path / "config.yaml"
    text = config.read_text()
    config.write_text("study: [none of them]\n")
    engine.succeed(seconds=400)
    config.write_text(text)
    return checkout, engine.said()


def test_the_literal_command_makes_the_table_of_a_local_run(on_cluster: tuple[Checkout, str], built: Checkout) -> None:
    checkout, said = on_cluster
    assert checkout.table() == built.table()
    assert "SLURM cluster test without accounting; jobs are followed by squeue" in said
    assert said.count("Submitted array job") >= 2  # the quantisations and the probes of three trainings


def test_trainings_get_a_gpu_each_and_other_stages_none(on_cluster: tuple[Checkout, str], slurm: Slurm) -> None:
    checkout, _ = on_cluster
    saw: dict[str, list[str | None]] = {}
    for path in (checkout.path / "results").glob("*/*/manifest.json"):
        one = Training(checkout, path.parent.name)
        variables = json.loads(path.read_text())["environment"]["variables"]
        saw.setdefault(path.parents[1].name, []).append(variables.get("CUDA_VISIBLE_DEVICES"))
        assert variables["SLURM_JOB_ID"], one
    assert set(saw.pop("checkpoints")) <= {"0", "1"}
    assert {value for values in saw.values() for value in values} == {None}
    asked = {}
    for job in slurm.ask("squeue", "--noheader", "--states=all", "--format=%A").split():
        text = slurm.ask("scontrol", "show", "job", job)
        for rule in re.findall(r"Comment=rule_(\w+?)_wildcards", text):
            asked.setdefault(rule, set()).add("TresPerJob=gres/gpu:1" in text)
    assert asked["train_checkpoint"] == {True}
    assert {rule for rule, answers in asked.items() if True in answers} == {"train_checkpoint"}


def test_after_an_edit_only_the_stale_jobs_are_submitted(
    on_cluster: tuple[Checkout, str], built: Checkout, slurm: Slurm, tmp_path: Path
) -> None:
    checkout, local = on_cluster[0].copy(tmp_path / "checkout"), built.copy(tmp_path / "local")
    for each in (checkout, local):
        each.replace("config.yaml", "probe: {draws: 1}", "probe: {draws: 2}")
    local.build()
    engine = Engine(checkout, "-p")
    engine.succeed()
    rules = {rule for rule, _ in jobs_in(engine.said())}
    assert rules == {"probe_checkpoint", "tabulate_capacity", "publish_table"}
    assert len(re.findall(r"Submitted array job|has been submitted", engine.said())) == 2
    assert checkout.table() == local.table()


def test_jobs_that_are_cancelled_killed_or_lose_their_node_end_with_the_same_bytes(
    disturbed: Checkout, undisturbed: Checkout, slurm: Slurm
) -> None:
    """One fault for each of three trainings, and a controller that is away for several looks at them, in one run."""
    trainings = cancelled, killed, unplugged = [training(disturbed, slug) for slug in SLOW]
    engine = Engine(disturbed, targets=[one.target for one in trainings])
    engine.wait_until_training(*trainings)
    job, other = job_of(slurm, cancelled), job_of(slurm, unplugged)
    assert job
    assert other
    slurm.ask("scancel", job)
    signal_to(killed, signal.SIGKILL)
    node = node_of(slurm, other)
    slurm.manage("controller-restart", "--after", "10")
    slurm.manage("node-stop", node)
    try:
        engine.succeed()
    finally:
        slurm.manage("node-start", node)
    assert re.search("SLURM does not answer s(queue|acct); the jobs go on, and it is asked again", engine.said())
    assert cancelled.num_sessions() == 2
    assert_as_undisturbed(undisturbed, trainings)
    disturbed.build()
    assert disturbed.table() == undisturbed.table()


def test_a_training_lives_through_a_restart_of_slurmd_and_ends_before_a_terminated_engine(
    disturbed: Checkout, undisturbed: Checkout, slurm: Slurm
) -> None:
    """The engine submits one of two trainings and is terminated; the next start makes the other."""
    trainings = [training(disturbed, slug) for slug in SLOW[:2]]
    targets = [one.target for one in trainings]
    engine = Engine(disturbed, "--jobs", "1", targets=targets)
    engine.wait("one trains", lambda: any(one.saves_when_asked() for one in trainings), 120)
    one, other = sorted(trainings, key=Training.saves_when_asked, reverse=True)
    node = node_of(slurm, job_of(slurm, one) or "")
    daemon = int((STATE / f"{node}.process").read_text().split()[0])
    os.kill(daemon, signal.SIGTERM)
    wait(lambda: not Path(f"/proc/{daemon}/exe").exists(), 20, "slurmd has ended")
    slurm.manage("up")
    engine.stop(signal.SIGTERM)
    engine.end()
    assert "Will exit after finishing currently running jobs" in engine.said()
    assert one.num_sessions() == 1
    assert not other.folder.exists()
    Engine(disturbed, targets=targets).succeed()
    assert_as_undisturbed(undisturbed, trainings)


def test_a_preempted_training_is_requeued_and_goes_on(disturbed: Checkout, undisturbed: Checkout, slurm: Slurm) -> None:
    one = training(disturbed, SLOW[1])
    engine = Engine(disturbed, "--default-resources", "slurm_partition=low", targets=[one.target])
    engine.wait_until_training(one)
    job = job_of(slurm, one)
    assert job
    slurm.ask("srun", "--partition=high", f"--nodelist={node_of(slurm, job)}", "--exclusive", "sleep", "1")
    engine.succeed()
    assert one.num_sessions() == 2
    assert one.manifest()["environment"]["variables"]["SLURM_JOB_ID"] == job  # type: ignore[index]
    assert_as_undisturbed(undisturbed, [one])


def test_small_trainings_share_one_gpu_where_the_profile_asks_for_shards(
    disturbed: Checkout, undisturbed: Checkout, slurm: Slurm, tmp_path: Path
) -> None:
    trainings = [training(disturbed, slug) for slug in SLOW[:2]]
    asked = ["--set-resources", "train_checkpoint:gpu=0", "train_checkpoint:gres=shard:1"]
    engine = Engine(disturbed, *asked, targets=[one.target for one in trainings])
    engine.wait_until_training(*trainings)
    (node,) = {node_of(slurm, job_of(slurm, one) or "") for one in trainings}
    both = slurm.submit("true", tmp_path / "both", "--nodes=1", f"--nodelist={node}", "--gpus=2")
    reason = ["squeue", "--noheader", "--format=%r", f"--jobs={both}"]
    slurm.wait("a job with both GPUs of the node waits", lambda: slurm.ask(*reason) == "Resources")
    engine.succeed()
    variables = [one.manifest()["environment"]["variables"] for one in trainings]  # type: ignore[index]
    (device,) = {each["CUDA_VISIBLE_DEVICES"] for each in variables}
    assert device in ("0", "1")
    assert_as_undisturbed(undisturbed, trainings)


def test_the_gpus_of_one_training_lie_on_one_node(
    disturbed: Checkout, undisturbed: Checkout, slurm: Slurm, tmp_path: Path
) -> None:
    """It waits while every node has one GPU to spare."""
    one = training(disturbed, SLOW[2])
    nodes = "n1", "n2", "n3", "n4"
    taken = [slurm.submit("sleep 600", tmp_path / node, f"--nodelist={node}", "--gpus=1") for node in nodes]
    for job in taken:
        slurm.wait_for_state(job, "RUNNING")
    engine = Engine(disturbed, "--set-resources", "train_checkpoint:gpu=2", targets=[one.target])
    engine.wait("its job is submitted", lambda: job_of(slurm, one, "PENDING"))
    reason = ["squeue", "--noheader", "--format=%r", f"--jobs={job_of(slurm, one, 'PENDING')}"]
    slurm.wait("its job waits for a node", lambda: slurm.ask(*reason) == "Resources")
    slurm.ask("scancel", taken[2])
    engine.succeed()
    variables = one.manifest()["environment"]["variables"]  # type: ignore[index]
    assert (variables["SLURMD_NODENAME"], variables["CUDA_VISIBLE_DEVICES"]) == ("n3", "0,1")
    assert_as_undisturbed(undisturbed, [one])


def test_a_training_longer_than_its_time_limit_goes_on_in_its_next_attempt(
    disturbed: Checkout, undisturbed: Checkout, slurm: Slurm
) -> None:
    one = training(disturbed, SLOW[0])
    engine = Engine(disturbed, "--set-resources", "train_checkpoint:runtime=1", targets=[one.target])
    engine.wait_until_training(one)
    left = ["squeue", "--noheader", "--format=%L", f"--jobs={job_of(slurm, one)}"]
    with paused(one):  # until its margin, 20 seconds, has begun
        slurm.wait("the limit is near", lambda: int(slurm.ask(*left).rpartition(":")[2]) <= 17, 60)
    engine.succeed()
    assert one.num_sessions() == 2
    assert "TIMEOUT" not in engine.said()  # it stopped itself, before SLURM did
    assert_as_undisturbed(undisturbed, [one])


def test_an_engine_that_is_interrupted_and_one_that_is_killed_can_be_started_again(
    disturbed: Checkout, undisturbed: Checkout, slurm: Slurm
) -> None:
    one = training(disturbed, SLOW[0])
    interrupted = Engine(disturbed, targets=[one.target])
    interrupted.wait_until_training(one)
    interrupted.stop(signal.SIGINT)
    assert interrupted.end(60) != 0
    slurm.wait("its jobs are gone", lambda: not slurm.ask("squeue", "--noheader", "--states=R,PD,CG"))
    assert (one.resume / "state").is_file()

    killed = Engine(disturbed, targets=[one.target])
    killed.wait("it goes on", lambda: one.pid() and "going on from" in one.log())
    with paused(one):
        killed.stop(signal.SIGKILL)
        killed.end(10)
        first = job_of(slurm, one)
        again = Engine(disturbed, targets=[one.target])
        again.wait("the second job waits", lambda: f"(SLURM job {first}), which works on" in one.log())
    again.succeed()
    assert one.manifest()["environment"]["variables"]["SLURM_JOB_ID"] == first  # type: ignore[index]
    assert one.num_sessions() == 2
    assert_as_undisturbed(undisturbed, [one])


def test_a_job_that_starts_after_another_made_its_checkpoint_does_not_train_again(
    disturbed: Checkout, undisturbed: Checkout, slurm: Slurm
) -> None:
    """The first job outlives its engine; that of the next engine waits in the queue meanwhile."""
    one = training(disturbed, SLOW[2])
    killed = Engine(disturbed, targets=[one.target])
    killed.wait_until_training(one)
    killed.stop(signal.SIGKILL)
    killed.end(10)
    first = job_of(slurm, one)
    with closed(slurm):
        again = Engine(disturbed, targets=[one.target])
        again.wait("its job waits in the queue", lambda: job_of(slurm, one, "PENDING"))
        slurm.wait("the first job has ended", lambda: not job_of(slurm, one), 90)
        assert one.folder.is_dir()
    again.succeed()
    assert one.manifest()["environment"]["variables"]["SLURM_JOB_ID"] == first  # type: ignore[index]
    assert_as_undisturbed(undisturbed, [one])


def test_a_full_disk_fails_the_job_and_the_next_start_finishes(
    disturbed: Checkout, undisturbed: Checkout, slurm: Slurm
) -> None:
    one = training(disturbed, SLOW[0])
    with full_disk(disturbed.path / "results" / "scratch"):
        engine = Engine(disturbed, "--retries", "0", targets=[one.target])
        assert engine.end() != 0
        assert "No space left on device" in one.log()
        assert not one.folder.exists()
    Engine(disturbed, targets=[one.target]).succeed()
    assert_as_undisturbed(undisturbed, [one])


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A file system with room for nothing."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextlib.contextmanager
def closed(slurm: Slurm) -> Iterator[None]:
    """No job starts in the partition main; those that run go on."""
    slurm.ask("scontrol", "update", "PartitionName=main", "State=DOWN")
    try:
        yield
    finally:
        slurm.ask("scontrol", "update", "PartitionName=main", "State=UP")


def test_two_hundred_small_jobs_are_five_submissions(slurm: Slurm, tmp_path: Path) -> None:
    """By the controller's own count. They are cancelled with the engine; benchmarks/slurm.py runs them to the end."""
    checkout = with_datasets(new_checkout(tmp_path / "checkout"), 200)
    pending = ["squeue", "--noheader", "--array", "--states=PENDING", "--format=%i"]
    with closed(slurm):
        before = num_submissions()
        engine = Engine(checkout, "--until", "make_dataset")
        engine.wait("all wait in the queue", lambda: len(slurm.ask(*pending).splitlines()) == 200)
        assert num_submissions() - before == 5
        engine.stop(signal.SIGINT)
        engine.end(60)
        slurm.wait("its jobs are gone", lambda: not slurm.ask(*pending))


def refused(slurm: Slurm, checkout: Checkout, *words: str) -> str:
    """The one line with which a run ends before it submits anything."""
    before = num_submissions()
    engine = Engine(checkout, *words)
    assert engine.end(60) != 0
    assert num_submissions() == before
    assert "Traceback" not in engine.said()
    (line,) = [line for line in engine.said().splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture(scope="session")
def unbuilt(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout for runs that are refused."""
    return new_checkout(tmp_path_factory.mktemp("unbuilt") / "checkout")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--default-resources", "slurm_partition=gpus"], r"'gpus' is not on test; there are: high, low, main$"),
        (["--set-resources", "train_checkpoint:gpu=3"], r"asks for 3 GPUs, a node of partition main has 2;"),
        (["--set-resources", "probe_checkpoint:mem_mb=65000"], r"asks for 65,000 MB, a node of .* main has 64,000;"),
        (
            ["--set-resources", "train_checkpoint:gpu=1", "train_checkpoint:gpu_model=a100"],
            r"refuses `.*--gpus=a100:1` \(",
        ),
        (["--set-resources", "train_checkpoint:gres=shard:9"], r"sbatch refuses `.*--gres=shard:9` \("),
        (["--set-resources", "train_checkpoint:gres=mps:25"], r"sbatch refuses .*\(Invalid generic resource"),
        (["--set-resources", "train_checkpoint:gres=shard=1"], r"Invalid GRES format: shard=1"),
        (["--set-resources", "train_checkpoint:cpus_per_task=5"], r"sbatch refuses .*\(.*configuration is not avail"),
        (["--default-resources", "constraint=a100"], r"sbatch refuses .*\(Invalid feature specification\)"),
    ],
    ids=["partition", "GPUs", "memory", "GPU model", "shards", "no MPS", "gres", "cores", "feature"],
)
def test_what_can_never_run_is_refused_in_one_line(
    unbuilt: Checkout, slurm: Slurm, words: list[str], expected: str
) -> None:
    assert re.search(expected, refused(slurm, unbuilt, *words))


def test_more_time_than_a_partition_allows_is_refused_in_one_line(unbuilt: Checkout, slurm: Slurm) -> None:
    slurm.ask("scontrol", "update", "PartitionName=main", "MaxTime=5")
    try:
        assert re.search(r"asks for \d+ minutes, partition main allows 5;", refused(slurm, unbuilt))
    finally:
        slurm.ask("scontrol", "update", "PartitionName=main", "MaxTime=UNLIMITED")


def test_a_controller_that_is_down_is_named_in_one_line(unbuilt: Checkout, slurm: Slurm) -> None:
    daemon = int((STATE / "slurmctld.process").read_text().split()[0])
    os.kill(daemon, signal.SIGTERM)
    try:
        wait(lambda: not Path(f"/proc/{daemon}/exe").exists(), 20, "slurmctld has ended")
        engine = Engine(unbuilt)
        assert engine.end(120) != 0
        assert re.search("error: SLURM: .*; is the controller up\\?", engine.said())
    finally:
        slurm.manage("up")


def test_with_accounting_an_unknown_account_is_refused_and_a_known_one_works(
    slurm_with_accounting: Slurm, tmp_path: Path
) -> None:
    checkout = new_checkout(tmp_path / "checkout")
    line = refused(slurm_with_accounting, checkout, "--default-resources", "slurm_account=nobody")
    assert line == "error: slurm_account: 'nobody' is none of yours on test; there are: lab, root"
    made = Engine(checkout, "--default-resources", "slurm_account=lab", "--until", "make_dataset")
    made.succeed()
    assert "SLURM cluster test with accounting; jobs are followed by squeue" in made.said()


def test_with_accounting_an_account_that_may_not_use_the_partition_is_refused(
    slurm_with_accounting: Slurm, unbuilt: Checkout
) -> None:
    """One that exists without this user, and one whose association with the user is for another partition."""
    slurm = slurm_with_accounting
    for account in ("others", "urgent"):
        slurm.ask("sacctmgr", "--immediate", "add", "account", account, "cluster=test")
    slurm.ask("sacctmgr", "--immediate", "add", "user", "root", "account=urgent", "partition=high")
    ask = "--default-resources"
    line = refused(slurm, unbuilt, ask, "slurm_account=others")
    assert line == "error: slurm_account: 'others' is none of yours on test; there are: lab, root, urgent"
    line = refused(slurm, unbuilt, ask, "slurm_account=urgent", "slurm_partition=main")
    assert "(Invalid account or account/partition combination specified)" in line
    made = Engine(unbuilt, ask, "slurm_account=urgent", "slurm_partition=high", "--until", "make_dataset")
    made.succeed()


def test_with_accounting_a_quality_of_service_that_is_not_there_is_refused(
    slurm_with_accounting: Slurm, unbuilt: Checkout
) -> None:
    line = refused(slurm_with_accounting, unbuilt, "--default-resources", "qos=long")
    assert "(Invalid qos specification)" in line
