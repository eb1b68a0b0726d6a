"""What the rules ask for: specs, inputs, resources; and what happens before the first job and after the last.

The main process reads and checks the configuration and resolves it to specs, each frozen in `results/specs/`. A job on
a cluster reads the Snakefile again, but nothing of the configuration: its own spec has everything.
"""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capacity.artefacts.spec import Spec, read_spec
from capacity.errors import UserError, ending_where_unwritable, fail
from capacity.plan import estimates, requests
from capacity.plan import snakemake_internals as engine
from capacity.plan.fixed_paths import CONFIG_FILE, figure_names
from capacity.plan.job_environment import set_job_environment, use_store
from capacity.plan.prepare import prepare_run, write_specs, write_studies
from capacity.plan.run_lock import lock_run
from capacity.plan.run_start import check_cluster, deal_out_gpus, serve_forks
from capacity.plan.survey import Plan
from capacity.training.spec import TrainingRegime

Amount = int | Callable[..., int]


def make_plan(workflow: Any, results: Path) -> Plan:
    """The plan of the main process. Ends the process with one line for what it cannot plan."""
    from capacity.config.load import load_asked  # heavy, and not for jobs
    from capacity.plan.gaps import gap_messages
    from capacity.plan.grid import resolve

    engine.pause_garbage_collection()
    try:
        files = [CONFIG_FILE, *engine.config_files(workflow)]
        engine.check_cores(workflow)
        engine.forget_interruptions(results, Path(".snakemake/incomplete"))
        plan = prepare_run(resolve(load_asked(files, engine.config_values(workflow))), results)
        use_store(os.environ, plan.grid.store)
        for line in gap_messages(plan, results):
            print(line, file=sys.stderr)
    except UserError as error:
        fail(error)
    except OSError as error:
        fail(UserError(f"{error.filename or results}: {error.strerror or error}; nothing was started"))
    return plan


class Flow:
    """The workflow as one process of the engine sees it. first: priority of what every training waits for."""

    first = 10**15  # so that the longest training can start first

    def __init__(self, workflow: Any, results: Path):
        set_job_environment(os.environ, results)
        self.workflow, self.results = workflow, results
        self.plan: Plan | None = make_plan(workflow, results) if workflow.is_main_process else None
        self.specs = self.plan.by_id if self.plan else {}
        self.held: list[Any] = []  # a lock that nothing refers to is released, and so is a pipe
        self.is_stopped: Callable[[], bool] = lambda: False
        self.figures = figure_names(self.plan.grid.figures) if self.plan else []  # jobs of a cluster never publish
        self.claims = self.plan is not None and self.plan.grid.claims is not None
        self._define_functions()

    @property
    def here(self) -> bool:
        """Whether jobs run on this machine; the engine has its executor only once it has read the Snakefile."""
        return self.plan is not None and self.workflow.local_exec

    # What artefacts are and wait for

    def spec(self, identity: str) -> Spec:
        """The spec of an artefact: from memory in the main process, from its frozen file in a job."""
        if not self.plan:
            return read_spec(self.results / "specs" / f"{identity}.json")
        if identity not in self.specs:
            fail(UserError(f"{identity}: no study of this run has it; name the CONFIG, STUDY and SCALE that it is of"))
        return self.specs[identity]

    def made(self, name: str) -> Any:
        """An artefact as an input: never too new for its children, unless it is being made again in this run."""
        path = f"{self.results}/{name}/manifest.json"
        return path if self.plan and name in self.plan.remake else engine.never_too_new(path)

    def published(self, stage: str) -> Callable[[Any], Any]:
        """An input function: the one artefact of a stage whose files are copied to fixed paths."""
        return lambda wildcards: self.made(getattr(self.plan.grid, stage).name) if self.plan else []

    def _is_made_again(self, spec: Spec) -> bool:
        """Whether it is to be made again although it is there: the spec itself says so to a job."""
        return spec.name in self.plan.remake if self.plan else bool(spec.remake)

    # What jobs ask of a machine

    def _define_functions(self) -> None:
        """Functions of a job that the engine calls; a rule's one wildcard is the id of its artefact."""
        needs = functools.cache(lambda identity: requests.needs(self.spec(identity), self.spec))

        @engine.for_each_job
        def inputs(wildcards: Any) -> list[Any]:
            """All parents; the spec too where the artefact is made again, since it is newer than what is there."""
            spec = self.spec(wildcards[0])
            parents = [self.made(name) for name in spec.parent_names()]
            return [*parents, f"{self.results}/specs/{spec.id}.json"] if self._is_made_again(spec) else parents

        @engine.for_each_job
        def own_memory(wildcards: Any, attempt: int) -> int:
            """MB that this one job needs, half of it more in every attempt."""
            return requests.growing(needs(wildcards[0]).memory_mb, attempt)

        @engine.for_each_job
        def own_minutes(wildcards: Any) -> int:
            """The same in every attempt: the next one goes on where this one stopped."""
            return int(needs(wildcards[0]).minutes)

        @engine.for_each_job
        def own_gpus(wildcards: Any) -> int:
            return needs(wildcards[0]).gpus

        @engine.for_each_job
        def training_tokens(wildcards: Any) -> int:
            """Tokens to train on: as a priority, the longest trainings start first."""
            training = self.spec(wildcards[0])
            dataset, _ = requests.made_from(training, self.spec)
            return estimates.training_tokens(dataset, TrainingRegime.read(training.settings["regime"]))

        @functools.cache
        def largest(stage: str) -> requests.Needs:
            """The most that a job of a stage asks for: all tasks of a job array get what its first task asks for."""
            return requests.largest(needs(spec.id) for spec in self.specs.values() if spec.stage == stage)

        self._needs, self._largest = needs, largest
        self.inputs, self.training_tokens = inputs, training_tokens
        self.own_memory, self.own_minutes, self.own_gpus = own_memory, own_minutes, own_gpus

    def memory(self, stage: str) -> Amount:
        """MB: what the largest job of the stage asks for; on a cluster half of it more in every attempt."""
        return self._growing(stage, "memory_mb")

    def minutes(self, stage: str) -> Amount:
        """Wall time, as memory."""
        return self._growing(stage, "minutes")

    def processes(self, stage: str) -> Amount:
        """Processes that train together: alike in a stage, because all run on the hardware of the one scale."""
        return self._alike(stage, "processes")

    def gpus(self, stage: str) -> Amount:
        """GPUs, as processes."""
        return self._alike(stage, "gpus")

    def _alike(self, stage: str, amount: str) -> Amount:
        if self.plan:
            return int(getattr(self._largest(stage), amount))
        return engine.for_each_job(lambda wildcards: getattr(self._needs(wildcards[0]), amount))

    def _growing(self, stage: str, amount: str) -> Amount:
        """A number where jobs run here: to call a function for every job of a large grid takes the engine long."""
        if self.plan and engine.will_run_here(self.workflow):
            return requests.growing(getattr(self._largest(stage), amount), 1)

        @engine.for_each_job
        def grown(wildcards: Any, attempt: int) -> int:
            asked = self._largest(stage) if self.plan else self._needs(wildcards[0])
            return requests.growing(getattr(asked, amount), attempt)

        return grown

    # Before the first job and after the last

    def start(self) -> None:
        """Hold the results folder, freeze the specs, refuse what this machine or cluster would never run."""
        assert self.plan is not None
        engine.resume_garbage_collection()
        self.held.append(lock_run(self.results))
        self.is_stopped = engine.notice_ctrl_c()
        write_studies(self.plan.grid, self.results)
        with ending_where_unwritable(self.results):
            write_specs(self.plan, self.results)
            self._write_run_file()
        check_cluster(self.workflow)
        if self.here:
            deal_out_gpus(self.plan, self.workflow)
            engine.lift_job_rate(self.workflow)
            self.held += serve_forks(self.plan)

    def _write_run_file(self) -> None:
        """Tell the jobs, and those who watch, what this run does."""
        from capacity.artefacts.manifest import write_atomically
        from capacity.jobs.run_file import RUN_FILE
        from capacity.plan.used_by import run_file

        assert self.plan is not None
        ids = [name for job in engine.jobs_to_run(self.workflow) for name in job.wildcards if name in self.specs]
        tells = run_file(self.plan, ids, self.results, costs=engine.is_watched(self.workflow))
        write_atomically(self.results / RUN_FILE, tells.text(), durable=False)

    def succeed(self) -> None:
        from capacity.plan.failures import after_success

        assert self.plan is not None
        after_success(self.plan, self.results)

    def fail(self) -> None:
        """Say which jobs failed, of which runs, and leave a table of the rows that are there. After Ctrl-C none did."""
        if self.is_stopped():
            print("stopped; everything is saved; the same command goes on", file=sys.stderr, flush=True)
            return
        from capacity.plan.failures import FailedJob, after_failure

        assert self.plan is not None
        failed = [
            FailedJob(
                job.rule.name,
                next((self.specs[name] for name in job.wildcards if name in self.specs), None),
                Path(job.log[0]),
            )
            for job in engine.failed_jobs(self.workflow)
        ]
        after_failure(self.plan, self.results, failed)
