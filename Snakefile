"""How many bits of knowledge does a language model store per parameter?

The main process reads and checks the configuration, resolves it to orders (one frozen description an artefact, in
results/specs/), and includes the rules in the order of the flow. A job on a cluster reads this file again, but nothing
of the configuration: its own order tells it everything.

Staleness is carried by paths alone: an artefact's folder is named by the digest of all that can change it.
"""

import gc
import json
import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")


report: "report/workflow.rst"


sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from capacity.errors import UserError
from capacity.artefacts.spec import read_spec
from capacity.plan.survey import set_job_environment

RESULTS = Path("results")
# Priority of what every training waits for, so that the longest training can start first.
FIRST = 10**15

set_job_environment(os.environ, RESULTS)

if workflow.is_main_process:
    # Planning makes objects that stay; looking through them for garbage took a sixth of its time. On again in onstart.
    gc.disable()
    from capacity.config.load import load_config
    from capacity.plan.grid import resolve
    from capacity.plan.failures import FailedJob, after_failure, after_success
    from capacity.plan.gaps import told_gaps
    from capacity.plan.survey import (
        figure_names,
        forget_interruptions,
        lock_run,
        prepare_run,
        told_where_unwritable,
        use_store,
        write_specs,
    )

    try:
        files = [Path("config.yaml"), *map(Path, workflow.overwrite_configfiles)]
        forget_interruptions(RESULTS, Path(".snakemake/incomplete"))
        PLAN = prepare_run(
            resolve(load_config(files, dict(workflow.config_settings.config))), RESULTS
        )
        SPECS = PLAN.by_id
        use_store(os.environ, PLAN.grid.store)
        for line in told_gaps(PLAN, RESULTS):
            print(line, file=sys.stderr)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


FIGURES = figure_names(PLAN.grid.figures) if workflow.is_main_process else []
CLAIMS = workflow.is_main_process and PLAN.grid.claims is not None


wildcard_constraints:
    dataset=r"[\w-]+",
    rewriting=r"[\w-]+",
    tokenizer=r"[\w-]+",
    checkpoint=r"[\w-]+",
    variants=r"[\w-]+",
    probes=r"[\w-]+",
    questions=r"[\w-]+",
    finetunes=r"[\w-]+",
    answers=r"[\w-]+",
    table=r"[\w-]+",
    figures=r"[\w-]+",
    claims=r"[\w-]+",


def spec(identity):
    """The order for an artefact: from memory in the main process, from its frozen file in a job."""
    if workflow.is_main_process:
        return SPECS[identity]
    return read_spec(RESULTS / "specs" / f"{identity}.json")


def made(name):
    """An artefact as an input: never too new for its children, unless it is being made again in this run."""
    path = f"{RESULTS}/{name}/manifest.json"
    return path if workflow.is_main_process and name in PLAN.remake else ancient(path)


def again(asked):
    """Whether an artefact is to be made again although it is there: the order itself says so to a job."""
    return asked.name in PLAN.remake if workflow.is_main_process else bool(asked.remake)


HELD = []  # a lock that nothing refers to is released, and so is a pipe


onstart:
    gc.enable()
    gc.freeze()
    HELD.append(lock_run(RESULTS))
    with told_where_unwritable(RESULTS):
        write_specs(PLAN, RESULTS)
    check_cluster()
    if workflow.local_exec:
        check_gpus()
        # No limit to jobs a second: its timers, one more for each job that ended, take a twentieth of a core.
        workflow.scheduler.job_rate_limiter = None
        serve_forks()


onerror:
    after_failure(PLAN, RESULTS, failed_jobs())


onsuccess:
    after_success(PLAN, RESULTS)


localrules:
    all,
    publish_table,
    publish_figures,
    publish_claims,
    write_report_pages,
    report_pages,


rule all:
    """The capacity table, the runs behind it, the figures, and the claims where the configuration names some."""
    default_target: True
    input:
        "results/capacity_table.csv",
        "results/figures/capacity.png",
        "results/claims.csv" if CLAIMS else [],


include: "rules/resources.smk"
include: "rules/dataset.smk"
include: "rules/rewriting.smk"
include: "rules/tokenizer.smk"
include: "rules/checkpoint.smk"
include: "rules/variants.smk"
include: "rules/probe.smk"
include: "rules/questions.smk"
include: "rules/finetunes.smk"
include: "rules/answers.smk"
include: "rules/table.smk"
include: "rules/figures.smk"
include: "rules/claims.smk"
include: "rules/report.smk"
