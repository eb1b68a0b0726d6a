"""What jobs wait for and ask of a machine, and what the main process asks a cluster before the first job.

Rules take inputs, memory, time and GPUs from the order of the job. On a cluster memory, and the time of jobs that
cannot go on where they stopped, grow with every attempt.
"""

import functools
import inspect
import re
import shlex

from capacity.plan import estimates as estimate
from capacity.plan import requests


def parent(child, role):
    """The order of an order's one parent in a role."""
    return spec(child.parents[role].split("/")[1])


def world(child):
    """The specs of the dataset and the tokenizer that an order was made from."""
    return parent(child, "dataset").settings, parent(child, "tokenizer").settings


def for_each_job(function):
    """A function with its signature noted: the engine works it out again for every job."""
    function.__signature__ = inspect.signature(function)
    return function


def inputs_of(wildcard):
    """An input function: all parents of the artefact that the wildcard names.

    Its order too where the artefact is there and is to be made again: the order is newer, so the engine does.
    """

    @for_each_job
    def inputs(wildcards):
        asked = spec(wildcards[wildcard])
        parents = [made(name) for name in asked.parent_names()]
        return (
            [*parents, f"{RESULTS}/specs/{asked.id}.json"] if again(asked) else parents
        )

    return inputs


def growing(stage, ask):
    """A resource: what the largest job of the stage asks for; on a cluster half of it more in every attempt.

    A number where jobs run on this machine: to call a function for every job of a large grid takes the engine long.
    """
    if workflow.is_main_process and workflow.local_exec:
        return requests.growing(largest(stage, ask), 1)

    @for_each_job
    def amount(wildcards, attempt):
        if workflow.is_main_process:
            return requests.growing(largest(stage, ask), attempt)
        return requests.growing(ask(spec(wildcards[0])), attempt)

    return amount


def alike(stage, ask):
    """A resource for which all jobs of a stage ask alike, because all run on the hardware of the one scale."""
    if workflow.is_main_process:
        return largest(stage, ask)
    return for_each_job(lambda wildcards: ask(spec(wildcards[0])))


def gpus(child):
    """GPUs that a training, a probe or a rewriter needs: none on a CPU."""
    alone = child.settings.get("rewriter", child.settings).get("accelerator")
    hardware = child.settings.get("hardware", {"accelerator": alone, "devices": 1})
    return hardware["devices"] if hardware["accelerator"] == "gpu" else 0


@functools.cache
def largest(stage, ask):
    """The most that a job of a stage asks for: all tasks of a job array get what its first task asks for."""
    return max(
        (ask(each) for each in SPECS.values() if each.stage == stage), default=0
    )


def check_gpus():
    """Before the first job on this machine: end the process with one line where a job needs more GPUs than there are."""
    from capacity.jobs.gpus import lack_of_gpus

    asking = {job: job.resources.get("gpu", 0) for job in workflow.dag.needrun_jobs()}
    largest = max(asking, key=asking.get)
    by = f"scale {PLAN.grid.scale} (accelerator: gpu): {name_of(largest)}"
    if lack := lack_of_gpus(asking[largest], by, PLAN.grid.cpu_scales):
        print(f"error: {lack}", file=sys.stderr)
        sys.exit(1)


def serve_forks():
    """Let jobs of this machine start as forks of one process that has torch in memory; not where a GPU is used.

    A process that has looked for GPUs must not fork, and importing torch's friends may look.
    """
    if sys.platform == "linux" and not any(map(gpus, SPECS.values())):
        from capacity.jobs.fork_server import start_server
        from capacity.jobs.startup import FORK_SERVER

        os.environ[FORK_SERVER], server = start_server()
        HELD.append(server)


def failed_jobs():
    """Jobs that the engine gave up on in this run, with the order and the log of each."""
    return [
        FailedJob(
            job.rule.name,
            next((SPECS[name] for name in job.wildcards if name in SPECS), None),
            Path(job.log[0]),
        )
        for job in sorted(workflow.scheduler.failed, key=str)
    ]


def check_cluster():
    """Before the first job on SLURM: say what was found, choose how jobs are followed, refuse what would never end.

    Ends the process with one line where a job would be refused or would wait for ever.
    """
    settings = workflow.executor_settings
    if not hasattr(settings, "status_command"):  # another executor
        return
    from capacity.jobs.slurm import look, try_out

    jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    try:
        cluster = look()
        command = cluster.status_command(settings.init_seconds_before_status_checks)
        cluster.check(requests_of(jobs))
        for call, name in submissions_of(jobs).items():
            try_out(name, call)
    except (UserError, WorkflowError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    settings.status_command = command
    print(cluster.describe(command), file=sys.stderr)
    why = cluster.no_arrays(command, len(jobs), most_jobs_at_once())
    if why and jobs and settings.array_jobs:
        print(f"job arrays are off: {why}", file=sys.stderr)
        workflow.scheduler.get_executor(jobs[0]).array_jobs.clear()


def most_jobs_at_once():
    """Ready jobs that the engine hands over in one round, at most; one where resources of the whole run are capped."""
    rate = workflow.scheduling_settings.max_jobs_per_timespan
    capped = set(workflow.global_resources) - {"_cores", "_nodes"}
    return 1 if capped else min(workflow.nodes, rate.max_jobs if rate else sys.maxsize)


def requests_of(jobs):
    """What jobs will ask the cluster for: one request for all of a rule that ask for the same."""
    from capacity.jobs.slurm import Request

    asked = {}
    for job in jobs:
        last = job.rule.expand_resources(
            job.wildcards_dict, job.input, 1 + job.restart_times, {"tmpdir"}
        )
        ask = (
            str(job.resources.get("slurm_partition", "")),
            str(job.resources.get("slurm_account", "")),
            job.resources.get("gpu", 0),
            job.resources.get("mem_mb", 0),
            last.get("runtime", 0),
        )
        asked.setdefault((job.rule.name, ask), Request(name_of(job), *ask))
    return asked.values()


def name_of(job):
    return " ".join([job.rule.name, *job.wildcards])


def submissions_of(jobs):
    """What the plugin would submit, to the name of one such job: one of each rule and kind, whatever amounts they ask for.

    Raises WorkflowError where the plugin would not take a value.
    """
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    found = {}
    for job in jobs:
        given = {
            "run_uuid": "check",
            "slurm_logfile": "/dev/null",
            "comment_str": job.rule.name,
            "account": flag("-A", job.resources.get("slurm_account")),
            "partition": flag("-p", job.resources.get("slurm_partition")),
            "workdir": "",
        }
        call = get_submit_command(job, given, workflow.executor_settings)
        call += set_gres_string(job)
        kind = re.sub(r" (-t|--mem) \S+", "", call)
        found.setdefault(kind, (call, name_of(job)))
    return dict(found.values())


def flag(letter, value):
    return f"{letter} {shlex.quote(str(value))}" if value else ""
