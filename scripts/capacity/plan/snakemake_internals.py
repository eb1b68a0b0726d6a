"""All that this workflow takes from inside Snakemake and its SLURM plugin, or does to them, with the reason for each.

None of it is their public interface: tests/plan/test_snakemake_internals.py fails where a new version changes it.
`workflow` is the engine's own object, available in every Snakefile.
"""

import contextlib
import gc
import inspect
import logging
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from snakemake.io import ancient

from capacity.errors import UserError
from capacity.jobs.slurm import Request
from capacity.plan.run_lock import alone

Function = TypeVar("Function", bound=Callable[..., Any])
Job = Any  # of the engine


def pause_garbage_collection() -> None:
    """Until jobs start: planning makes objects that stay, and looking through them took a sixth of its time."""
    gc.disable()


def resume_garbage_collection() -> None:
    """Collect again, but never look through what planning made."""
    gc.enable()
    gc.freeze()


def for_each_job(function: Function) -> Function:
    """A function with its signature noted, which the engine otherwise works out again for every job."""
    function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return function


def will_run_here(workflow: Any) -> bool:
    """Whether jobs will run on this machine, asked while rules are read, before the engine has its executor.

    It takes `--jobs` for `--cores` where they do.
    """
    return workflow.nodes is None


def never_too_new(path: str) -> Any:
    """A path whose time the engine does not compare."""
    return ancient(path)


def config_files(workflow: Any) -> list[Path]:
    """The files of --configfile: the engine would merge them itself, without checking a key."""
    return [Path(file) for file in workflow.overwrite_configfiles]


def config_values(workflow: Any) -> dict[str, Any]:
    """The values of --config, without those of files; the studies as they were typed, or 2024 were no name."""
    settings = workflow.config_settings
    studies = [word.removeprefix("study=") for word in settings.config_args or () if word.startswith("study=")]
    return dict(settings.config) | ({"study": studies[-1]} if studies else {})


def check_cores(workflow: Any) -> None:
    """Raises UserError for fewer than one core: the engine would wait for ever, without a word."""
    if (cores := workflow.resource_settings.cores) is not None and cores < 1:
        raise UserError(f"--cores: {cores}; give 1 or more, or all")


def forget_interruptions(results: Path, engine_records: Path) -> None:
    """Clear the engine's marks of jobs that began and did not end, where no run is under way.

    An artefact appears whole or not at all, so a mark means nothing. The engine would run the marked job again and,
    with its output there and old, nothing after it: a run that ends well without a table.
    engine_records: the folder of the marks, `.snakemake/incomplete`.
    """
    if not engine_records.is_dir() or not any(engine_records.iterdir()):
        return
    with contextlib.suppress(OSError), alone(results):  # held by another run, or nothing can be written here
        for mark in engine_records.rglob("*"):
            if mark.is_file() and mark.name != "migration_underway":
                mark.unlink(missing_ok=True)


def lift_job_rate(workflow: Any) -> None:
    """No limit to jobs a second on this machine: its timers, one more for each job that ended, took 5 % of a core."""
    workflow.scheduler.job_rate_limiter = None


def limit_resource(workflow: Any, name: str, amount: int) -> None:
    """Let jobs that run at once ask for so much together, unless the user set a limit; to be called before the first.

    The engine cuts down what a job asks for to a limit that it knows when it reads the rules; one that comes later
    leaves a job that no machine here can run as it is, to be refused.
    """
    if name not in workflow.global_resources:
        scheduler = workflow.scheduler
        scheduler.global_resources[name] = scheduler.resources[name] = amount


def jobs_to_run(workflow: Any) -> list[Job]:
    """The jobs of this run, before the first: what they ask for can be checked in time."""
    return list(workflow.dag.needrun_jobs())


def notice_ctrl_c() -> Callable[[], bool]:
    """What tells whether Ctrl-C was pressed since. From then on the engine calls no job failed: it ends them itself.

    It would print each of them as an exception, and one more at the end.
    """
    from snakemake.logging import logger

    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        if not pressed:
            logger.addFilter(lambda record: record.levelno < logging.ERROR)
        pressed.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # nobody else's, and not ignored
        signal.signal(signal.SIGINT, note)
    return lambda: bool(pressed)


def is_watched(workflow: Any) -> bool:
    """Whether this run shows itself in the live view, as `--logger capacity` asks."""
    return "capacity" in workflow.output_settings.log_handler_settings


def failed_jobs(workflow: Any) -> list[Job]:
    """The jobs that the engine gave up on, those of a group each: its own message does not name them together."""
    return sorted((each for job in workflow.scheduler.failed for each in getattr(job, "jobs", [job])), key=str)


def name_of(job: Job) -> str:
    """Rule and wildcards."""
    return " ".join([job.rule.name, *job.wildcards])


def slurm_settings(workflow: Any) -> Any:
    """The settings of the SLURM plugin, or None where another executor runs."""
    settings = workflow.executor_settings
    return settings if hasattr(settings, "status_command") else None


def ask_again_where_slurm_is_silent() -> None:
    """A look at the jobs that SLURM does not answer tells of none of them, and the plugin looks again.

    The plugin forgets all jobs after such a look: a controller that is away for some seconds too many, and the run
    waits for ever for jobs that have long ended.
    """
    import snakemake_executor_plugin_slurm as plugin

    query = plugin.query_job_status

    async def ask(command: str, logger: Any) -> tuple[dict[str, str], float]:
        states, seconds = await query(command, logger)
        if states is None:
            logger.warning(f"SLURM does not answer {command.split()[0]}; the jobs go on, and it is asked again")
            return {}, 0.0
        return states, seconds

    plugin.query_job_status = ask


def switch_arrays_off(workflow: Any, job: Job) -> None:
    """No job arrays: the plugin takes them by rules that were given when it started, before a cluster was looked at."""
    workflow.scheduler.get_executor(job).array_jobs.clear()


def most_jobs_at_once(workflow: Any) -> int:
    """Ready jobs that the engine hands over in one round, at most; one where resources of the whole run are capped."""
    rate = workflow.scheduling_settings.max_jobs_per_timespan
    capped = set(workflow.global_resources) - {"_cores", "_nodes"}
    return 1 if capped else min(workflow.nodes, rate.max_jobs if rate else sys.maxsize)


def partition_asked(job: Job) -> str:
    """The partition that a job names; "" for the cluster's default."""
    return str(job.resources.get("slurm_partition", ""))


def partition_chooser(partitions: list[Any] | None) -> Callable[[Job], str]:
    """What gives the partition of a job, as the SLURM plugin chooses among those that its user described in a file.

    partitions: the plugin's own, `plugin_partitions`; none: what each job names.
    """
    if not partitions:
        return partition_asked
    from snakemake_executor_plugin_slurm.partitions import get_best_partition

    return lambda job: partition_asked(job) or get_best_partition(partitions, job, logging.getLogger(__name__)) or ""


def plugin_partitions(workflow: Any, job: Job) -> list[Any] | None:
    """What the SLURM plugin read of `--slurm-partition-config`."""
    return getattr(workflow.scheduler.get_executor(job), "_partitions", None)


def cluster_requests(jobs: Iterable[Job], partition_of: Callable[[Job], str] = partition_asked) -> Iterable[Request]:
    """What jobs will ask the cluster for: one request for all of a rule that ask for the same.

    The time is that of the last attempt, which the engine works out only when the one before has failed.
    """
    asked: dict[Any, Request] = {}
    for job in jobs:
        last = job.rule.expand_resources(job.wildcards_dict, job.input, 1 + job.restart_times, {"tmpdir"})
        ask = (
            partition_of(job),
            str(job.resources.get("slurm_account", "")),
            job.resources.get("gpu", 0),
            job.resources.get("mem_mb", 0),
            last.get("runtime", 0),
        )
        asked.setdefault((job.rule.name, ask), Request(name_of(job), *ask))
    return asked.values()


def submissions_of(
    jobs: Iterable[Job], settings: Any, partition_of: Callable[[Job], str] = partition_asked
) -> dict[str, str]:
    """What the plugin would submit, to the name of one such job: one of each rule and kind, whatever amounts they ask.

    The plugin tries nothing out: a job that the cluster refuses would fail after hours. Raises WorkflowError where the
    plugin would not take a value.
    """
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    found: dict[str, tuple[str, str]] = {}
    for job in jobs:
        given = {
            "run_uuid": "check",
            "slurm_logfile": "/dev/null",
            "comment_str": job.rule.name,
            "account": _flag("-A", job.resources.get("slurm_account")),
            "partition": _flag("-p", partition_of(job)),
            "workdir": "",
        }
        call = get_submit_command(job, given, settings)
        call += set_gres_string(job)
        kind = re.sub(r" (-t|--mem) \S+", "", call)
        found.setdefault(kind, (call, name_of(job)))
    return dict(found.values())


def _flag(letter: str, value: Any) -> str:
    return f"{letter} {shlex.quote(str(value))}" if value else ""
