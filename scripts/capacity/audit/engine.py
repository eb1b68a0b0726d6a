"""The engine in a folder of its own: links to the present tree, a configuration, results apart from the audited.

An audit never runs the engine on the folder that it audits, not even for a dry run, which writes stamps.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from capacity.artefacts.hash_index import INDEX
from capacity.artefacts.spec import Spec, spec_text
from capacity.artefacts.stages import STAGES
from capacity.audit.findings import Level
from capacity.audit.folder import Folder
from capacity.config.experiment import Config
from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.plan.forecast import forecast
from capacity.plan.grid import Grid
from capacity.plan.survey import hold_against

# What jobs of an audit inherit. Keys, tokens and proxies are not here, nor what brings in anything made before: the
# shared store, compile caches, the engine's own options.
INHERITED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "NO_COLOR", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        *("LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHASHSEED", "VIRTUAL_ENV", "CONDA_PREFIX"),
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "GLIBC_TUNABLES", "CUBLAS_WORKSPACE_CONFIG", "ATEN_CPU_CAPABILITY"),
        *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME", "CUDA_PATH", "NVIDIA_VISIBLE_DEVICES"),
        *("NVIDIA_DRIVER_CAPABILITIES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
        *("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"),
    }
)
OWN = ("results", "config.yaml")  # of the repository's top level: what a clean checkout has of its own
JOB = re.compile(r"python scripts/(\w+)\.py(?: --spec '?results/specs/([\w-]+)\.json)?")  # a job's command

EngineJob = tuple[str, str]  # rule, and id of the artefact that it makes, if any


@dataclass(frozen=True)
class CleanCheckout:
    """A folder in which the engine runs on the present tree and the audited configuration."""

    path: Path

    @classmethod
    def new(cls, path: Path, config: Config | None) -> "CleanCheckout":
        """Nothing made, no records, no shared store. config: None where scripts alone will run, which read none."""
        path.mkdir(parents=True)
        for source in REPOSITORY.iterdir():
            if source.name not in OWN and not source.name.startswith("."):
                (path / source.name).symlink_to(source)
        if config:
            (path / "config.yaml").write_text(config_text(config), encoding="utf-8")
        (path / "results").mkdir()
        return cls(path)

    @property
    def results(self) -> Path:
        return self.path / "results"

    def link(self, results: Path, stages: Iterable[str]) -> None:
        """Take the artefacts of some stages from another results folder, as links."""
        for stage in stages:
            if (results / stage).is_dir():
                (self.results / stage).symlink_to((results / stage).absolute())

    def borrow(self, results: Path) -> None:
        """Show the engine another folder's artefacts and fixed paths, through links and copies."""
        self.link(results, STAGES)
        for path in results.iterdir():
            if path.is_file() and not path.is_symlink() and path.suffix in (".csv", ".id", ".json"):
                shutil.copy2(path, self.results / path.name)

    def engine(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the engine here; both streams are in stdout."""
        command = [sys.executable, "-m", "snakemake", *words]
        return subprocess.run(
            command, cwd=self.path, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def job(self, spec: Spec, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Make one artefact by its job's script, without the engine."""
        path = self.results / "specs" / f"{spec.id}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(spec_text(spec), encoding="utf-8")
        return self.script(spec.script, "--spec", f"results/specs/{path.name}", *words, **variables)

    def script(self, name: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one job's script without the engine, on one core."""
        command = [sys.executable, f"scripts/{name}", *words]
        environment = {"OMP_NUM_THREADS": "1", **self.environment(), **variables}
        return subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True)

    def environment(self) -> dict[str, str]:
        """Of the auditor's own what a job needs to run, nothing that is secret, and no network for models."""
        kept = {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("LC_")}
        return {**kept, "HF_HUB_OFFLINE": "1"}


def config_text(config: Config) -> str:
    """A configuration as it is written to a file for others: without its store, and without loggers that report.

    It is JSON that YAML reads too, which knows no character by two escapes, and takes none that does not print.
    """
    said = {**config.model_dump(mode="json", exclude_unset=True), "store": None, "loggers": []}
    text = json.dumps(said, indent=1, ensure_ascii=False) + "\n"
    return "".join(_escaped(each) for each in text)


def _escaped(character: str) -> str:
    """A character of JSON as YAML takes it too."""
    plain = character.isprintable() or character == "\n" or character > "\uffff"
    return character if plain else f"\\u{ord(character):04x}"


def last_line_of(output: str) -> str:
    """The last line of a program's output, which says why it failed."""
    return (output.strip().splitlines() or ["no output"])[-1][:200]


def planned(output: str) -> set[EngineJob]:
    """The jobs that a dry run with printed commands lists; a rule's script has its name."""
    return {(match[1], match[2] or "") for match in JOB.finditer(output)}


def check_engine(folder: Folder, grid: Grid, config: Config, damaged: set[str], scratch: Path, level: Level) -> None:
    """What the engine would do with the audited folder, against what this project's own plan and the audit say.

    damaged: artefacts that level 2 found damaged.
    """
    checkout = CleanCheckout.new(scratch / "dry-run", config)
    checkout.borrow(folder.results)
    try:
        answer = forecast(hold_against(grid, checkout.results), checkout.results)
    except UserError as error:
        level.fault("engine differs", INDEX, f"nothing can be planned: {error}")
        return
    made = {spec.name for spec in grid.specs.values()}
    mine = {(job.rule, job.name.partition("/")[2] if job.name in made else "") for job in answer.jobs}
    run = checkout.engine("-n", "-p", "--cores", "1")
    if run.returncode:
        level.fault("engine differs", "Snakefile", f"the engine's dry run fails: {last_line_of(run.stdout)}")
        return
    its = planned(run.stdout)
    level.facts["jobs that the engine would run"] = len(its)
    for rule, identity in sorted(mine ^ its):
        who, other = ("the engine", "the plan") if (rule, identity) in its else ("the plan", "the engine")
        level.fault("engine differs", identity or rule, f"{who} would run {rule}, {other} would not")
    again = {identity for _, identity in its}
    wanted = {each.name for spec in grid.specs.values() for each in spec.with_members()}
    sets = {member.name: spec.name for spec in grid.specs.values() for member in spec.members}
    for name in sorted(damaged & wanted):
        if not {name.partition("/")[2], sets.get(name, name).partition("/")[2]} & again:
            level.fault("engine differs", name, "is damaged, and the engine would use it as it is")
