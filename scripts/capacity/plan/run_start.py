"""What happens before the first job: GPUs are dealt out, a process to fork from starts, the cluster is looked at."""

import os
import sys
from typing import Any

from capacity.errors import UserError, fail
from capacity.plan import requests
from capacity.plan import snakemake_internals as engine
from capacity.plan.survey import Plan


def deal_out_gpus(plan: Plan, workflow: Any) -> None:
    """Let jobs find a GPU each, or a share of one, and the engine start no more than find one."""
    from capacity.jobs.gpu_locks import deal_out
    from capacity.jobs.gpus import visible_gpus
    from capacity.plan.gpu_sharing import trainings_a_gpu

    gpus = visible_gpus() if _most_gpus(plan, workflow) else []
    if not gpus:
        deal_out(os.environ, [], 1)
        return
    specs = plan.specs.values()
    trainings = [spec for spec in specs if spec.stage == "checkpoints"]
    rewritings = [spec for spec in specs if spec.stage == "rewritings" and requests.gpus(spec)]
    share = trainings_a_gpu(plan.grid.gpu_share, gpus, trainings, plan.by_id.__getitem__, rewritings)
    names = [gpu.name for gpu in gpus]
    engine.limit_resource(workflow, "gpu", len(gpus) * share)
    print(f"GPUs: {', '.join(names)}; jobs that share one: {share}", file=sys.stderr)
    deal_out(os.environ, names, share)


def _most_gpus(plan: Plan, workflow: Any) -> int:
    """GPUs of the largest job; ends the process with one line where this machine has fewer."""
    from capacity.jobs.gpus import lack_of_gpus

    asking = {job: job.resources.get("gpu", 0) for job in engine.jobs_to_run(workflow)}
    most = max(asking, key=lambda job: asking[job])
    by = f"scale {plan.grid.scale} (accelerator: gpu): {engine.name_of(most)}"
    if lack := lack_of_gpus(asking[most], by, plan.grid.cpu_scales):
        fail(UserError(lack))
    return int(asking[most])


def serve_forks(plan: Plan) -> list[Any]:
    """Let jobs of this machine start as forks of one process that has torch in memory; not where a GPU is used.

    A process that has looked for GPUs must not fork, and importing torch's friends may look. A server that the
    environment names already serves these jobs too. Returns what keeps a server of this run alive.
    """
    from capacity.jobs.startup import FORK_SERVER

    if any(map(requests.gpus, plan.specs.values())):
        os.environ.pop(FORK_SERVER, None)
    elif sys.platform == "linux" and FORK_SERVER not in os.environ:
        from capacity.jobs.fork_server import start_server

        os.environ[FORK_SERVER], server = start_server()
        return [server]
    return []


def check_cluster(workflow: Any) -> None:
    """On SLURM: say what was found, choose how jobs are followed, refuse what would never end."""
    settings = engine.slurm_settings(workflow)
    if settings is None:
        return
    from snakemake.exceptions import WorkflowError

    from capacity.jobs.slurm import look, try_out

    jobs = [job for job in engine.jobs_to_run(workflow) if not job.is_local]
    try:
        cluster = look()
        command = cluster.status_command(settings.init_seconds_before_status_checks)
        partitions = engine.plugin_partitions(workflow, jobs[0]) if jobs else None
        partition_of = engine.partition_chooser(partitions)
        cluster.check(engine.cluster_requests(jobs, partition_of))
        for call, name in engine.submissions_of(jobs, settings, partition_of).items():
            try_out(name, call)
    except (UserError, WorkflowError) as error:
        fail(error)
    settings.status_command = command
    engine.ask_again_where_slurm_is_silent()
    print("\n".join([cluster.describe(command), *cluster.notes]), file=sys.stderr)
    why = cluster.no_arrays(command, len(jobs), engine.most_jobs_at_once(workflow))
    if why and jobs and settings.array_jobs:
        print(f"job arrays are off: {why}", file=sys.stderr)
        engine.switch_arrays_off(workflow, jobs[0])
