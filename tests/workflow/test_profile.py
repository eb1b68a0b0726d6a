"""Promises of the SLURM profile that need no controller: it is planned, and bad input ends in one line."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from checkout import ROOT, Checkout
from forked import run_module

# What the commands print on a cluster of two partitions; no controller is asked.
CONFIG = """\
AccountingStorageType = accounting_storage/none
MinJobAge = 300 sec
MaxArraySize = 1001
ClusterName = lab
"""
NODES = """\
main*|infinite|OFF|64000|gpu:2
gpu|infinite|OFF|64000|gpu:a100:4
short|30:00|OFF|64000|(null)
spot|infinite|CANCEL|64000|gpu:2
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Checkout:
    """A checkout with the profile, with nothing built."""
    checkout = Checkout.new(tmp_path / "checkout")
    shutil.copytree(ROOT / "slurm", checkout.path / "slurm")
    return checkout


def commands(folder: Path, **answers: str) -> Path:
    """A folder of SLURM commands that print an answer each; all others fail."""
    folder.mkdir()
    for name in ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr", "sshare"):
        path = folder / name
        text = answers.get(name, "").strip()
        path.write_text("#!/bin/sh\n" + (f"cat <<'END'\n{text}\nEND\n" if text else "echo down >&2; exit 1\n"))
        path.chmod(0o755)
    return folder


def run(checkout: Checkout, *words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The literal command in a checkout, with the SLURM commands of one folder or none."""
    fast = ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]
    command = ("--profile", "slurm", "results/capacity_table.csv", *fast, *words)
    places = [str(Path(sys.executable).parent), *([str(path)] if path else [])]
    folder = checkout.path.parent / "tools"  # what a shell needs, and nothing of SLURM
    folder.mkdir(exist_ok=True)
    for tool in ("bash", "sh", "which", "cat", "rm", "env"):
        found = shutil.which(tool)
        if found and not (folder / tool).exists():
            (folder / tool).symlink_to(found)
    environment = {**checkout.environment(), "PATH": os.pathsep.join([*places, str(folder)])}
    return run_module("snakemake", command, checkout.path, environment)


def error(answer: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a run was refused."""
    assert answer.returncode != 0
    lines = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, answer.stderr
    assert "Traceback" not in answer.stderr
    assert "sbatch failed" not in answer.stderr
    return lines[0]


def test_a_dry_run_of_the_profile_needs_no_slurm_and_plans_every_job(cluster: Checkout) -> None:
    answer = run(cluster, "-n")
    assert answer.returncode == 0, answer.stderr
    assert re.search(r"^total +15$", answer.stderr + answer.stdout, re.MULTILINE)


def submitted(checkout: Checkout, bin_folder: Path, *words: str) -> list[str]:
    """The calls of sbatch with which a run begins; each of them fails."""
    if not (checkout.path / "slurm").exists():
        shutil.copytree(ROOT / "slurm", checkout.path / "slurm")
    path = commands(bin_folder, scontrol=CONFIG, sinfo=NODES, sacctmgr="lab")
    calls = bin_folder / "calls"
    question = 'case "$*" in *--test-only*) exit 0;; esac'
    (path / "sbatch").write_text(f'#!/bin/sh\n{question}\necho "$@" >> {calls}\necho refused >&2\nexit 1\n')
    assert run(checkout, "--retries", "0", *words, path=path).returncode != 0
    return calls.read_text().splitlines()


GPU = ("laptop: {accelerator: cpu, precision: fp32", "laptop: {accelerator: gpu, precision: bf16")
OTHER_RATE = (
    "short: {exposures: 1, packing: rows, batch: 4, lr: 1e-2",
    "short: {exposures: 1, packing: rows, batch: 4, lr: 2e-2",
)


@pytest.mark.parametrize(
    ("change", "words", "flag"),
    [
        (OTHER_RATE, [], None),
        (OTHER_RATE, ["--set-resources", "train_checkpoint:gpu=1"], "--gpus=1"),
        (GPU, [], "--gpus=1"),
        (GPU, ["--set-resources", "train_checkpoint:gpu_model=a100"], "--gpus=a100:1"),
        (GPU, ["--set-resources", "train_checkpoint:gpu=0"], None),
    ],
    ids=["CPU", "CPU, told to", "GPU", "GPU of a model", "GPU, told not to"],
)
def test_a_training_asks_for_a_gpu_where_its_spec_or_the_user_says_so(
    checkout: Checkout, tmp_path: Path, change: tuple[str, str], words: list[str], flag: str | None
) -> None:
    checkout.replace("config.yaml", *change)
    calls = submitted(checkout, tmp_path / "bin", *words)
    assert calls
    for call in calls:
        assert "rule_train_checkpoint_" in call
        assert "--nodes=1 " in call
        assert re.findall(r"--gpus=\S+", call) == ([flag] if flag else [])


def test_the_lines_for_a_site_work_when_they_are_uncommented(checkout: Checkout, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "slurm", checkout.path / "slurm")
    example = re.compile(r"^# (default-resources:|set-resources:|  .*)$", re.MULTILINE)
    checkout.edit("slurm/config.yaml", lambda text: example.sub(r"\1", text))
    checkout.replace("config.yaml", *OTHER_RATE)
    (training,) = submitted(checkout, tmp_path / "bin")
    for flag in ("-A lab", "-p gpu", "-C a100", "--qos=long", "--nice=100", "--gpus=a100:1", "-t 1440"):
        assert f" {flag} " in training


def test_a_job_asks_for_the_memory_and_time_of_its_order(checkout: Checkout, tmp_path: Path) -> None:
    checkout.replace("config.yaml", *OTHER_RATE)
    (small,) = submitted(checkout, tmp_path / "small")
    checkout.replace(
        "config.yaml",
        "exposures: 1, packing: rows, batch: 4",
        "exposures: 900000000, packing: rows, batch: 40960",
    )
    (large,) = submitted(checkout, tmp_path / "large")

    def asked(call: str, flag: str) -> int:
        return int(re.search(rf"{flag} (\d+)", call)[1])  # type: ignore[index]

    assert asked(small, "-t") < asked(large, "-t")
    assert asked(small, "--mem") + 100 < asked(large, "--mem")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--default-resources", "slurm_partition=gpus"],
            "slurm_partition: 'gpus' is not on lab; there are: gpu, main, short, spot",
        ),
        (
            ["--default-resources", "slurm_partition=spot"],
            "slurm_partition: spot cancels jobs that it preempts",
        ),
        (
            ["--set-resources", "train_checkpoint:gpu=3"],
            r"train_checkpoint \S+: asks for 3 GPUs, a node of partition main has 2",
        ),
        (
            ["--set-resources", "probe_checkpoint:mem_mb=100000"],
            r"probe_checkpoint \S+: asks for 100,000 MB, a node of partition main has 64,000",
        ),
        (
            ["--set-resources", "train_checkpoint:runtime=60", "train_checkpoint:slurm_partition=short"],
            r"train_checkpoint \S+: asks for 60 minutes, partition short allows 30; put `train_checkpoint: "
            r"\{runtime: 30\}` under set-resources",
        ),
    ],
    ids=["unknown partition", "cancelling partition", "GPUs", "memory", "time"],
)
def test_what_could_never_run_is_refused_before_the_first_job(
    cluster: Checkout, tmp_path: Path, words: list[str], expected: str
) -> None:
    path = commands(tmp_path / "bin", scontrol=CONFIG, sinfo=NODES)
    assert re.match(f"error: {expected}", error(run(cluster, *words, path=path)))


def test_a_python_without_the_slurm_plugin_is_named(cluster: Checkout, tmp_path: Path) -> None:
    """The environment of the tests, but for one package."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not re.match(r"snakemake_executor_plugin_slurm(-|$)", path.name):
            (packages / path.name).symlink_to(path)
    python = sys._base_executable  # type: ignore[attr-defined]
    command = [python, "-m", "snakemake", "--profile", "slurm", "results/capacity_table.csv"]
    environment = {**cluster.environment(), "PYTHONPATH": str(packages)}
    answer = subprocess.run(command, cwd=cluster.path, env=environment, capture_output=True, text=True)
    assert re.fullmatch(r"error: SLURM: \S+ has no snakemake-executor-plugin-slurm; `make env .*`", error(answer))


def test_a_machine_without_slurm_is_named(cluster: Checkout) -> None:
    said = error(run(cluster))
    assert said.startswith("error: SLURM: sbatch, squeue, scontrol, sinfo, scancel not found on this machine")


def test_a_controller_that_does_not_answer_is_named(cluster: Checkout, tmp_path: Path) -> None:
    said = error(run(cluster, path=commands(tmp_path / "bin")))
    assert said == "error: SLURM: `scontrol show config` failed (down); is the controller up?"


def test_a_cluster_on_which_the_end_of_a_job_cannot_be_seen_is_refused(cluster: Checkout, tmp_path: Path) -> None:
    path = commands(tmp_path / "bin", scontrol=CONFIG.replace("300 sec", "60 sec"), sinfo=NODES)
    assert "MinJobAge is 60 s and there is no accounting" in error(run(cluster, path=path))


def test_two_hundred_small_jobs_need_five_calls_of_sbatch(cluster: Checkout, tmp_path: Path) -> None:
    """More tasks in a call do not fit on a command line; the plugin then runs the first in place of all."""
    text = (cluster.path / "config.yaml").read_text().replace("study: [base, prose]", "study: [base]")
    (cluster.path / "config.yaml").write_text(text.replace("seeds: [1]", f"seeds: {list(range(200))}", 1))
    calls = submitted(cluster, tmp_path / "bin", "--until", "make_dataset")
    assert [re.findall(r"--array=(\S+)", call) for call in calls] == [
        [f"{first}-{first + 39}"] for first in (1, 41, 81, 121, 161)
    ]
    assert all("--slurm-jobstep-array-execs" in call for call in calls)


@pytest.mark.parametrize("words", [["--jobs", "2"], ["--resources", "gpu=1"], ["--max-jobs-per-timespan", "1/1s"]])
def test_arrays_are_off_where_jobs_would_be_lost(cluster: Checkout, tmp_path: Path, words: list[str]) -> None:
    calls = submitted(cluster, tmp_path / "bin", *words)
    assert calls
    assert not any("--array" in call for call in calls)


def test_what_cannot_be_seen_of_a_cluster_is_said(
    cluster: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = commands(tmp_path / "bin", scontrol=CONFIG + "PreemptType = preempt/qos\n", sinfo=NODES, sacctmgr="lab")
    monkeypatch.setenv("SLURM_CONF", "/opt/site/slurm.conf")
    said = run(cluster, "--retries", "0", path=path).stderr
    assert "preemption is by QOS here" in said
    assert "SLURM_CONF" not in said, "this machine finds the cluster without it"
    found = (path / "scontrol").read_text().replace("#!/bin/sh\n", '#!/bin/sh\ntest -n "$SLURM_CONF" || exit 1\n')
    (path / "scontrol").write_text(found)
    assert "SLURM_CONF is set, and jobs do not see it" in run(cluster, "--retries", "0", path=path).stderr
