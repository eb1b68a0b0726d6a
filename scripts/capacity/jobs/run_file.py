"""What a run tells its jobs and those who watch it: jobs by id with people's names for them, and loggers of trainings.

The main process writes `results/run.json` before the first job starts. Nothing in it can change an artefact.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

RUN_FILE = "run.json"


@dataclass(frozen=True)
class RunJob:
    """One job of a run. label: the run that it is for, in the configuration's names; "" where it is for none.

    others: further runs that it is for. seconds: its cost by the plan, 0 where nobody asked. tries: ids of the
    trainings that it does, where these have other ids than the job.
    """

    rule: str
    label: str = ""
    study: str = ""
    others: int = 0
    seconds: float = 0.0
    tries: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The rule and the runs that it is for, in words."""
        more = f" and {self.others} more" if self.others else ""
        return self.rule + (f" of {self.label} (study {self.study}){more}" if self.label else "")


@dataclass(frozen=True)
class RunFile:
    """A run's jobs by the id of their artefact, and the loggers that its trainings use besides their own files."""

    jobs: Mapping[str, RunJob] = field(default_factory=dict)
    loggers: list[str] = field(default_factory=list)

    @property
    def has_studies(self) -> bool:
        """Whether its runs are of several studies."""
        return len({job.study for job in self.jobs.values() if job.study}) > 1

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read_run(results: Path) -> RunFile:
    """The latest run below a results folder; an empty one where none wrote its file, or not as this code does."""
    try:
        content = json.loads((results / RUN_FILE).read_text(encoding="utf-8"))
        return RunFile({name: RunJob(**job) for name, job in content["jobs"].items()}, content["loggers"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return RunFile()
