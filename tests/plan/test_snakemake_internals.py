"""What the workflow takes from inside the engine is there, on the version that is pinned: one tiny run of the engine.

Each test reads what that run saw; the functions it called are those of `capacity.plan.snakemake_internals`.
"""

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from snakemake.common import get_input_function_aux_params

from capacity.environment import REPOSITORY
from capacity.plan import snakemake_internals as engine

SNAKEFILE = f"""
import json, sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, {str(REPOSITORY / "scripts")!r})
from capacity.plan import snakemake_internals as engine

SEEN = {{"files": [str(f) for f in engine.config_files(workflow)], "values": engine.config_values(workflow)}}
SEEN["will_run_here"] = engine.will_run_here(workflow)

onstart:
    SEEN["jobs"] = {{engine.name_of(job): dict(job.resources.items()) for job in engine.jobs_to_run(workflow)}}
    SEEN["local"] = [engine.name_of(job) for job in engine.jobs_to_run(workflow) if job.is_local]
    SEEN["requests"] = [vars(request) for request in engine.cluster_requests(engine.jobs_to_run(workflow))]
    SEEN["watched"] = engine.is_watched(workflow)
    from snakemake_executor_plugin_slurm.partitions import read_partition_file
    SEEN["plugin"] = engine.plugin_partitions(workflow, engine.jobs_to_run(workflow)[0])
    partition_of = engine.partition_chooser(read_partition_file(Path("partitions.yaml")))
    SEEN["partitions"] = {{engine.name_of(job): partition_of(job) for job in engine.jobs_to_run(workflow)}}
    SEEN["slurm"] = engine.slurm_settings(workflow) is not None
    SEEN["nodes"] = workflow.nodes  # None on one machine
    there = SimpleNamespace(
        nodes=9, scheduling_settings=workflow.scheduling_settings, global_resources=workflow.global_resources
    )
    SEEN["at_once"] = engine.most_jobs_at_once(there)
    SEEN["limit"] = type(workflow.scheduler.job_rate_limiter).__name__
    engine.lift_job_rate(workflow)
    engine.limit_resource(workflow, "gpu", 3)
    engine.limit_resource(workflow, "_cores", 3)
    SEEN["left"] = {{name: workflow.scheduler.resources[name] for name in ("gpu", "_cores")}}
    SEEN["executor"] = type(workflow.scheduler.get_executor(engine.jobs_to_run(workflow)[0])).__module__
    SEEN["local_exec"], SEEN["main"] = workflow.local_exec, workflow.is_main_process

onerror:
    SEEN["failed"] = [engine.name_of(job) for job in engine.failed_jobs(workflow)]
    SEEN["logs"] = [str(job.log[0]) for job in engine.failed_jobs(workflow)]
    Path("seen.json").write_text(json.dumps(SEEN, default=str))

rule all:
    input: "right.txt", "wrong.txt"

rule make:
    input: engine.never_too_new("source.dat")
    output: "{{word}}.txt"
    log: "{{word}}.log"
    threads: 1
    resources:
        mem_mb=engine.for_each_job(lambda wildcards, attempt: 100 * attempt),
        runtime=engine.for_each_job(lambda wildcards, attempt: 10 * attempt),
        gpu=0,
    shell:
        "for tenth in $(seq 100); do"  # the engine marks a job after its start
        "  ls --ignore migration_underway .snakemake/incomplete | wc -l > marks;"
        "  grep -q '^0$' marks || break; sleep 0.1;"
        "done; test {{wildcards.word}} = right && echo > {{output}}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run was, which has one job that succeeds and one that fails."""
    folder = tmp_path_factory.mktemp("engine")
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "partitions.yaml").write_text(
        "partitions:\n  small: {max_mem_mb: 50, max_runtime: 60}\n  large: {max_mem_mb: 500, max_runtime: 60}\n"
    )
    (folder / "own.yaml").write_text("study: file\n")
    (folder / "source.dat").write_text("")
    words = ["--cores", "1", "--keep-going", "--configfile", "own.yaml", "--config", "scale=here", "study=007"]
    words += ["--logger", "capacity", "--retries", "2", "--max-jobs-per-timespan", "7/1s"]
    run = subprocess.run([sys.executable, "-m", "snakemake", *words], cwd=folder, capture_output=True, text=True)
    assert (folder / "seen.json").is_file(), run.stderr
    return folder


@pytest.fixture(scope="module")
def seen(folder: Path) -> dict[str, Any]:
    """What the hooks of that run wrote."""
    return json.loads((folder / "seen.json").read_text())


def test_the_configuration_of_the_command_line_comes_apart_from_files(seen: dict[str, Any]) -> None:
    assert [Path(file).name for file in seen["files"]] == ["own.yaml"]
    assert seen["values"] == {"scale": "here", "study": "007"}, "a name of digits is no number"


def test_the_jobs_of_a_run_are_known_before_the_first(seen: dict[str, Any]) -> None:
    made = {name: asked for name, asked in seen["jobs"].items() if name.startswith("make")}
    assert made.keys() == {"make right", "make wrong"}
    assert all(asked["mem_mb"] == 100 and asked["gpu"] == 0 for asked in made.values())
    assert set(seen["local"]) == seen["jobs"].keys()  # on this machine; a cluster gets those that are not local
    assert (seen["local_exec"], seen["main"], seen["slurm"]) == (True, True, False)
    assert seen["executor"].startswith("snakemake.executors.local")


def test_it_is_known_while_rules_are_read_where_jobs_will_run(seen: dict[str, Any], tmp_path: Path) -> None:
    assert seen["will_run_here"] is True
    lines = f"import sys; sys.path.insert(0, {str(REPOSITORY / 'scripts')!r})\n"
    lines += "from capacity.plan.snakemake_internals import will_run_here\nprint('here', will_run_here(workflow))\n"
    (tmp_path / "Snakefile").write_text(lines + "rule all:\n    shell: 'true'\n")
    words = ["--executor", "slurm", "--jobs", "3", "--dry-run", "--cores", "1"]
    run = subprocess.run([sys.executable, "-m", "snakemake", *words], cwd=tmp_path, capture_output=True, text=True)
    assert "here False" in run.stdout, run.stdout + run.stderr


def test_a_run_on_no_core_is_refused_where_the_engine_would_wait_for_ever() -> None:
    words = ["--cores", "0", "--quiet", "rules", "--dry-run"]
    run = subprocess.run([sys.executable, "-m", "snakemake", *words], cwd=REPOSITORY, capture_output=True, text=True)
    assert run.stderr.splitlines()[-1] == "error: --cores: 0; give 1 or more, or all"


def test_it_is_known_whether_a_run_is_watched(seen: dict[str, Any]) -> None:
    assert seen["watched"] is True


def test_a_request_has_the_time_of_the_last_attempt(seen: dict[str, Any]) -> None:
    (asked,) = (each for each in seen["requests"] if each["job"].startswith("make"))
    assert (asked["memory_mb"], asked["minutes"]) == (100, 30)


def test_the_limit_of_jobs_a_second_is_an_attribute_of_the_scheduler(seen: dict[str, Any], folder: Path) -> None:
    assert seen["limit"] == "JobRateLimiter"
    assert (seen["at_once"], seen["nodes"]) == (7, None)
    assert (folder / "right.txt").is_file()  # jobs ran without it


def test_the_partition_of_a_job_is_the_one_that_the_plugin_chooses(seen: dict[str, Any]) -> None:
    assert seen["plugin"] is None  # no SLURM here
    assert (seen["partitions"]["make right"], seen["partitions"]["make wrong"]) == ("large", "large")


def test_a_resource_is_limited_unless_the_user_limits_it(seen: dict[str, Any]) -> None:
    assert seen["left"] == {"gpu": 3, "_cores": 1}


def test_failed_jobs_are_known_at_the_end_with_their_logs(seen: dict[str, Any]) -> None:
    assert (seen["failed"], seen["logs"]) == (["make wrong"], ["wrong.log"])


def test_a_job_that_runs_is_marked_where_marks_are_cleared(folder: Path, tmp_path: Path) -> None:
    assert int((folder / "marks").read_text()) > 0
    marks = tmp_path / "incomplete"
    marks.mkdir()
    (marks / "bWFyaw==").write_text("")
    (marks / "migration_underway").write_text("")
    engine.forget_interruptions(tmp_path / "results", marks)
    assert [path.name for path in marks.iterdir()] == ["migration_underway"]


def test_marks_stay_while_a_run_is_under_way(tmp_path: Path) -> None:
    from capacity.plan.run_lock import lock_run

    (tmp_path / "incomplete").mkdir()
    (tmp_path / "incomplete" / "bWFyaw==").write_text("")
    held = lock_run(tmp_path)
    engine.forget_interruptions(tmp_path, tmp_path / "incomplete")
    held.close()
    assert list((tmp_path / "incomplete").iterdir())


def test_the_engine_reads_the_signature_that_is_noted() -> None:
    """It does so by inspect.signature, which looks at the note first; a note that says less proves it."""

    def amount(wildcards: Any, attempt: int) -> int:
        return attempt

    offered = {"attempt": 1, "threads": 1}
    assert hasattr(engine.for_each_job(amount), "__signature__")
    assert get_input_function_aux_params(engine.for_each_job(amount), offered) == {"attempt": 1}
    amount.__signature__ = inspect.signature(lambda wildcards: 0)  # type: ignore[attr-defined]
    assert get_input_function_aux_params(amount, offered) == {}


def test_an_old_input_is_flagged_as_the_engine_flags_it() -> None:
    from snakemake.io import is_flagged

    assert is_flagged(engine.never_too_new("path"), "ancient")


class Resources(dict):
    """Of a job: values by key, as by attribute."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def test_the_plugin_says_what_it_would_submit_and_has_the_settings_that_are_set() -> None:
    from snakemake_executor_plugin_slurm import Executor, ExecutorSettings

    settings = ExecutorSettings()
    for name in ("status_command", "init_seconds_before_status_checks", "array_jobs"):
        assert hasattr(settings, name)
    asked = Resources(mem_mb=100, runtime=10, gpu=2, slurm_partition="gpus", slurm_account="lab", nodes=1)
    job = SimpleNamespace(name="make", rule=SimpleNamespace(name="make"), wildcards=["x"], resources=asked, threads=1)
    ((call, name),) = engine.submissions_of([job, job], settings).items()
    assert name == "make x"
    assert call.startswith("sbatch ")
    for words in ("-p gpus", "-A lab", "--mem 100", "-t 10"):
        assert words in call
    assert "gpu" in call.split("--mem 100")[1]
    assert "self.array_jobs = set()" in inspect.getsource(Executor)  # a set, empty for no arrays, and nothing else
    assert 'job.name in self.array_jobs or "all" in self.array_jobs' in inspect.getsource(Executor.run_jobs)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], list[str]]:
    """One look of the plugin at jobs of a cluster whose controller is away: the jobs that it goes on with."""
    import snakemake_executor_plugin_slurm as plugin

    async def no_answer(command: str, logger: object) -> tuple[None, None]:
        return None, None

    monkeypatch.setattr(plugin, "query_job_status", no_answer)
    monkeypatch.setattr(plugin, "get_min_job_age", lambda: None)
    settings = SimpleNamespace(status_attempts=2, init_seconds_before_status_checks=1, status_command="squeue")
    executor = MagicMock(next_seconds_between_status_checks=1)
    executor.configure_mock(
        **{f"_status_query_{each}": 0 for each in ("calls", "min_seconds", "max_seconds", "total_seconds")}
    )
    executor.workflow.executor_settings = settings
    executor.get_status_command.return_value = "squeue"

    async def look(jobs: list[str]) -> list[str]:
        active = [SimpleNamespace(external_jobid=job, aux={}) for job in jobs]
        return [job.external_jobid async for job in plugin.Executor.check_active_jobs(executor, active)]

    return lambda jobs: asyncio.run(look(jobs))


def test_jobs_are_kept_where_slurm_is_silent(looks: Callable[[list[str]], list[str]]) -> None:
    assert looks(["1", "2"]) == []  # the plugin alone: no job is looked at again. If it keeps them, ours is not needed
    engine.ask_again_where_slurm_is_silent()
    assert looks(["1", "2"]) == ["1", "2"]


def test_the_jobs_of_a_group_that_failed_are_told_each() -> None:
    """With --groups the engine gives up on groups, which have neither rule nor log."""
    jobs = [SimpleNamespace(name=name) for name in ("b", "a", "c")]
    group = SimpleNamespace(jobs=jobs[:2])
    workflow = SimpleNamespace(scheduler=SimpleNamespace(failed=[group, jobs[2]]))
    assert sorted(job.name for job in engine.failed_jobs(workflow)) == ["a", "b", "c"]
