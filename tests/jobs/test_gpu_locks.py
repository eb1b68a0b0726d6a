"""Jobs of local runs have a GPU each, or a share of one, by locks that end with their processes; the engine waits."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from checkout import Checkout
from invented_gpus import TWO, invent

from capacity.artefacts.identity import SCRIPTS
from capacity.environment import REPOSITORY
from capacity.jobs.gpu_locks import VARIABLE, deal_out

TRAINING = {"hardware": {"accelerator": "gpu", "devices": 1}}
# What a training does: take its GPUs, say which, work until it is told to end.
JOB = """
import os, sys
from capacity.jobs import gpu_locks
gpu_locks.POLL = 0.02
gpu_locks.take_gpus([{"hardware": {"accelerator": "gpu", "devices": int(sys.argv[1])}}])
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""
SECONDS = 60  # for what must happen
A_WHILE = 0.3  # for what must not


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of jobs on a machine whose locks are this test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return {**os.environ, "PYTHONPATH": str(SCRIPTS)}


class Jobs:
    """Processes that take GPUs, and what they hold."""

    def __init__(self) -> None:
        self.waiting: list[subprocess.Popen[str]] = []
        self.held: dict[subprocess.Popen[str], str] = {}

    def start(self, environment: dict[str, str], devices: int = 1) -> None:
        command = [sys.executable, "-c", JOB, str(devices)]
        job = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.waiting.append(job)

    def taken(self, seconds: float = SECONDS) -> str:
        """What the next job takes; "" where none does in time."""
        ready, _, _ = select.select([job.stdout for job in self.waiting], [], [], seconds)
        if not ready:
            return ""
        job = next(job for job in self.waiting if job.stdout is ready[0])
        self.waiting.remove(job)
        self.held[job] = ready[0].readline().strip()
        return self.held[job]

    def end(self, kill: bool = False) -> str:
        """End the job that has held its GPUs for longest; which they were."""
        job = next(iter(self.held))
        if kill:
            job.kill()
        job.communicate(timeout=SECONDS)
        assert job.returncode == (-signal.SIGKILL if kill else 0)
        return self.held.pop(job)


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    """None yet; those that a failed test leaves are ended."""
    jobs = Jobs()
    yield jobs
    for job in [*jobs.waiting, *jobs.held]:
        job.kill()
        job.communicate()


@pytest.mark.parametrize("share", [1, 2])
def test_ten_trainings_have_a_gpu_each_or_a_share_and_finish_though_one_is_killed(
    share: int, environment: dict[str, str], jobs: Jobs
) -> None:
    deal_out(environment, TWO, share)
    for _ in range(10):
        jobs.start(environment)
    assert Counter(jobs.taken() for _ in range(2 * share)) == dict.fromkeys(TWO, share)
    assert jobs.taken(A_WHILE) == ""
    assert jobs.end(kill=True) == jobs.taken()
    while jobs.waiting:
        assert jobs.end() == jobs.taken()
        assert jobs.taken(0) == ""
    while jobs.held:
        jobs.end()


def test_the_first_of_those_that_may_share_have_a_gpu_each(environment: dict[str, str], jobs: Jobs) -> None:
    deal_out(environment, TWO, 5)
    for _ in TWO:
        jobs.start(environment)
    assert {jobs.taken(), jobs.taken()} == set(TWO)


def test_a_training_on_two_gpus_waits_for_both(environment: dict[str, str], jobs: Jobs) -> None:
    deal_out(environment, TWO, 1)
    jobs.start(environment)
    alone = jobs.taken()
    jobs.start(environment, devices=2)
    assert jobs.taken(A_WHILE) == ""
    assert jobs.end() == alone
    assert jobs.taken() == ",".join(TWO)


@pytest.mark.parametrize("shares", [(1, 2), (2, 1)])
def test_runs_that_share_and_runs_that_do_not_never_meet_on_a_gpu(
    shares: tuple[int, int], environment: dict[str, str], jobs: Jobs
) -> None:
    for share in shares:
        deal_out(environment, TWO[:1], share)
        jobs.start(dict(environment))
        if share == shares[0]:
            assert jobs.taken() == TWO[0]
    assert jobs.taken(A_WHILE) == ""
    jobs.end()
    assert jobs.taken() == TWO[0]


def test_jobs_without_a_gpu_in_their_spec_and_jobs_of_clusters_take_none(environment: dict[str, str]) -> None:
    code = (
        "import json, os, sys; from capacity.jobs.gpu_locks import take_gpus; take_gpus(json.loads(sys.argv[1]));"
        "print(os.environ.get('CUDA_VISIBLE_DEVICES'))"
    )
    told = dict(environment)
    deal_out(told, TWO, 1)
    on_cpu = {"hardware": {"accelerator": "cpu", "devices": 1}}
    for given, settings, seen in (
        (told, [on_cpu, {"draws": 1, "accelerator": "cpu"}], "None"),
        (told, [{}, TRAINING], TWO[0]),  # a set asks for what its members do
        ({**told, "LOCAL_RANK": "1"}, [TRAINING], "None"),
        (environment, [TRAINING], "None"),
    ):
        command = [sys.executable, "-c", code, json.dumps(settings)]
        assert subprocess.run(command, env=given, capture_output=True, text=True).stdout.strip() == seen


def test_what_is_dealt_out_is_not_inherited_from_another_run() -> None:
    variables = {VARIABLE: "of another run"}
    deal_out(variables, [], 1)
    assert VARIABLE not in variables


ENGINE = f"""
import sys
sys.path.insert(0, {str(REPOSITORY / "scripts")!r})
from capacity.plan import snakemake_internals as engine

onstart:
    engine.limit_resource(workflow, "gpu", 2)

rule all:
    input: expand("{{n}}.txt", n=range(4)), "cpu.txt"

rule train:
    output: "{{n}}.txt"
    resources: gpu=1
    shell: "touch {{wildcards.n}}.begun {{wildcards.n}}.gpu; set -- *.gpu; echo $# > {{output}}; {{WAIT}} "
           "$(ls *.begun | wc -l) -ge 2 ] && [ -e met ] && break; sleep 0.1; done; rm {{wildcards.n}}.gpu"

rule quantise:
    output: "cpu.txt"
    shell: "{{WAIT}} $(ls *.gpu | wc -l) -ge 1 ] && touch met {{output}} && break; sleep 0.1; done"

ruleorder: quantise > train
WAIT = "for i in $(seq 300); do ["  # so that no job ends before those that it should meet have begun
"""


def test_the_engine_starts_no_more_trainings_than_find_a_gpu_and_cpu_jobs_beside(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(ENGINE)
    command = [sys.executable, "-m", "snakemake", "--cores", "6"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "cpu.txt").is_file(), "it met no training"
    assert max(int((tmp_path / f"{n}.txt").read_text()) for n in range(4)) == 2


TRAIN = """
import os, time
from capacity.jobs.job import Job, job_parser


def note(word):
    with open("held.txt", "a") as file:
        file.write(f"{time.monotonic()} {word} {os.getpid()} {os.environ['CUDA_VISIBLE_DEVICES']}\\n")


with Job(job_parser(None).parse_args(), dict) as job:
    note("takes")
    time.sleep(1)
    (job.folder / "nothing").touch()
    note("leaves")
"""


def on_invented_gpus(path: Path, seeds: int, gpu_share: int) -> Checkout:
    """The tiny configuration at a scale of GPUs, where a driver lists two and a training does nothing."""
    checkout = Checkout.new(path)
    invent(path / "scripts", [{"uuid": uuid} for uuid in TWO])
    config = yaml.safe_load((path / "config.yaml").read_text())
    config["scales"]["box"] = {"accelerator": "gpu", "precision": "fp32", "compile": False}
    study = config["studies"]["base"] | {"seeds": list(range(1, seeds + 1)), "regimes": ["short"]}
    config |= {"scale": "box", "gpu_share": gpu_share, "study": ["base"], "studies": {"base": study}}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    (path / "scripts" / "train_checkpoint.py").write_text(TRAIN)
    return checkout


def gpus_used(checkout: Checkout, stage: str) -> list[str]:
    """What each artefact's job saw as its GPU."""
    manifests = (checkout.path / "results" / stage).glob("*/manifest.json")
    found = [json.loads(path.read_text())["environment"]["variables"] for path in manifests]
    return [variables.get("CUDA_VISIBLE_DEVICES", "") for variables in found]


def test_a_user_s_choice_of_gpus_is_obeyed_by_the_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    checkout = on_invented_gpus(tmp_path / "checkout", seeds=1, gpu_share=1)
    answer = checkout.engine("--until", "train_checkpoint")
    assert answer.returncode == 0, answer.stdout + checkout.logs()
    assert f"GPUs: {TWO[1]}; jobs that share one: 1" in answer.stdout
    assert gpus_used(checkout, "checkpoints") == [TWO[1]]
    assert gpus_used(checkout, "datasets") == ["1"]  # jobs of the CPU take none


@pytest.mark.long
@pytest.mark.parametrize("share", [1, 2])
def test_ten_trainings_of_the_engine_finish_though_one_is_killed(
    share: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    checkout = on_invented_gpus(tmp_path / "checkout", seeds=10, gpu_share=share)
    command = [sys.executable, "-m", "snakemake", "results/capacity_table.csv", "--until", "train_checkpoint"]
    engine = subprocess.Popen(
        [*command, "--cores", "6", "--retries", "1"],
        cwd=checkout.path, env=checkout.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    noted = checkout.path / "held.txt"
    while not noted.is_file() and engine.poll() is None:
        time.sleep(0.05)
    _, _, killed, gpu = noted.read_text().splitlines()[0].split()
    os.kill(int(killed), signal.SIGKILL)
    ended = f"{time.monotonic()} leaves {killed} {gpu}"
    output = engine.communicate()[0]
    assert engine.returncode == 0, output + checkout.logs()
    events = [
        line.split() for line in sorted([*noted.read_text().splitlines(), ended], key=lambda it: float(it.split()[0]))
    ]
    assert len(events) == 2 * 11  # all ten, and one again
    most = most_at_once([(word, gpu) for _, word, _, gpu in events])
    assert set(most) == set(TWO)
    assert max(most.values()) == share


def most_at_once(events: list[tuple[str, str]]) -> Counter[str]:
    """By GPU: how many trainings were on it at the same time, at most."""
    now, most = Counter[str](), Counter[str]()
    for word, gpu in events:
        now[gpu] += 1 if word == "takes" else -1
        most[gpu] = max(most[gpu], now[gpu])
    return most
