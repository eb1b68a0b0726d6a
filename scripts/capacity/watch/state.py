"""What a run is doing now and how long it will take: events of the engine, and what jobs write below results.

Costs by the plan are in seconds that may be wrong by a factor; the factor of each rule follows from its jobs that are
done, and from the trainings that say how long they will take.
"""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from capacity.artefacts.manifest import MANIFEST
from capacity.artefacts.stages import STAGES
from capacity.jobs.activity import being_made
from capacity.jobs.run_file import RunFile, RunJob
from capacity.jobs.training_files import Position, read_position

LATE = 0.1  # of its age so far, that a job goes on at least which says nothing itself
EARLIER = 60.0  # seconds before a job was first seen; clocks of two nodes may differ by so much
UNSEEN = 1.0  # seconds between two looks: a job that was never seen at work took less
TRAINS = ("train_checkpoint", "finetune_qa")
FOLDERS = {stage.rule: stage.name for stage in STAGES.values()}


@dataclass
class Watched:
    """One job under way. since: time.time() when it was first seen. position: of the training that it does, if any."""

    id: str
    job: RunJob
    since: float
    position: Position | None = None

    def left(self, now: float) -> float | None:
        """Seconds to go, as its training says; None where nothing says it."""
        if self.position is None or self.position.seconds_left is None:
            return None
        return max(self.position.seconds_left - (now - self.position.time), 0.0)


@dataclass
class Outlook:
    """How far a run is. share: of its cost, 0 to 1. waiting: jobs that were started or submitted and do not work yet.

    left: seconds to go. known: whether it rests on a training of this run, not on the plan alone.
    """

    share: float
    done: int
    failed: int
    waiting: int
    jobs: int
    left: float
    known: bool


@dataclass
class RunState:
    """The jobs of one run."""

    results: Path
    run: RunFile
    began: float = field(default_factory=lambda: time.time())
    running: dict[str, Watched] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)  # of jobs that are done: seconds
    failed: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)  # started or submitted by the engine
    lanes: int = 1  # the most jobs that were seen at once
    stepped: bool = False  # whether any training has made a step
    share: float = 0.0  # the highest that was told: a bar that goes back tells nothing

    def look(self) -> None:
        """Read from the results which jobs run and where their trainings are."""
        making, now = being_made(self.results), time.time()
        ended = self.spent.keys() | self.failed  # what a killed job left may still look as if it were made
        ids = {name for name in self.run.jobs if name in making and name not in ended}
        for name in self.running.keys() - ids:
            if (self.results / FOLDERS[self.run.jobs[name].rule] / name / MANIFEST).is_file():
                self.finish(name)
            else:
                del self.running[name]
        for name in ids:
            watched = self.running.setdefault(name, Watched(name, self.run.jobs[name], now))
            watched.position = self._position(watched, making)
        self.lanes = max(self.lanes, len(self.running))
        self.stepped = self.stepped or any(watched.position for watched in self.running.values())

    def _position(self, watched: Watched, making: set[str]) -> Position | None:
        """The latest position that a job under way has written; not that of an earlier attempt."""
        name = next((member for member in watched.job.tries if member in making), watched.id)
        position = read_position(self.results / "resume" / name)
        return position if position and position.time > watched.since - EARLIER else watched.position

    def begin(self, name: str) -> None:
        """The engine has started or submitted a job, perhaps once more."""
        self.begun.add(name)
        self.failed.discard(name)

    def finish(self, name: str) -> None:
        """A job has ended well. One that was never seen took less than a look."""
        watched = self.running.pop(name, None)
        seconds = time.time() - watched.since if watched else min(self.run.jobs[name].seconds, UNSEEN)
        self.spent.setdefault(name, seconds)

    def fail(self, name: str) -> None:
        """A job has failed."""
        self.running.pop(name, None)
        self.spent.pop(name, None)
        self.failed.add(name)

    def outlook(self) -> Outlook:
        """How far the run is, weighted by cost."""
        now = time.time()
        factors = self._factors(now)
        spent = sum(self.spent.values()) + sum(now - job.since for job in self.running.values())
        to_go = {
            name: self._to_go(name, factors, now)
            for name in self.run.jobs
            if name not in self.spent and name not in self.failed
        }
        longest = max((to_go[name] for name in self.running), default=0.0)
        left = max(longest, sum(to_go.values()) / self.lanes)
        self.share = max(self.share, spent / max(spent + sum(to_go.values()), 1e-9))
        trainings = {name for name, job in self.run.jobs.items() if job.rule in TRAINS}
        told = any(job.left(now) is not None for job in self.running.values())
        known = told or not trainings or not trainings.isdisjoint(self.spent)
        waiting = len(self.begun - self.spent.keys() - self.running.keys() - self.failed)
        return Outlook(self.share, len(self.spent), len(self.failed), waiting, len(self.run.jobs), left, known)

    def _to_go(self, name: str, factors: dict[str, float], now: float) -> float:
        job, watched = self.run.jobs[name], self.running.get(name)
        expected = job.seconds * factors.get(job.rule, 1.0)
        if watched is None:
            return expected
        left, age = watched.left(now), now - watched.since
        return max(expected - age, LATE * age) if left is None else left

    def _factors(self, now: float) -> dict[str, float]:
        """Of each rule, seconds that its jobs take for each second that the plan gave them."""
        taken, planned = defaultdict[str, float](float), defaultdict[str, float](float)
        for name, seconds in self.spent.items():
            taken[self.run.jobs[name].rule] += seconds
            planned[self.run.jobs[name].rule] += self.run.jobs[name].seconds
        for watched in self.running.values():
            left = watched.left(now)
            if left is not None:
                taken[watched.job.rule] += now - watched.since + left
                planned[watched.job.rule] += watched.job.seconds
        return {rule: taken[rule] / planned[rule] for rule in taken if planned[rule]}
