"""Level 5: one training repeated: one seed gives the same bits, another seed other bits, a stop changes nothing.

The cheapest training behind the table is taken, and is made from nothing each time. Threads and the compile flag are
reported: a specification fixes both.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from capacity.artefacts.manifest import MANIFEST
from capacity.artefacts.spec import Spec, spec_digest
from capacity.audit.differences import compare_artefacts, far_text
from capacity.audit.engine import CleanCheckout, last_line_of
from capacity.audit.execution import Counterparts, cost
from capacity.audit.findings import Level
from capacity.audit.folder import Artefact, Folder, read_folder
from capacity.audit.pinned import pinned, rests_on_lost, take
from capacity.config.experiment import Config
from capacity.plan.grid import Grid


class Failed(Exception):
    """A training that should have ended did not; the text is its last line."""


class Trainings:
    """Trainings of one specification, or of a changed one, each in a folder of its own on the same dataset."""

    def __init__(self, spec: Spec, config: Config, scratch: Path, folder: Folder, kept: list[str]):
        """kept: artefacts of the folder to be taken as they are."""
        self.spec, self.config, self.scratch = spec, config, scratch
        self.first = CleanCheckout.new(scratch / "straight", config)
        take(folder, kept, self.first.results)

    def straight(self, jobs: int) -> Artefact:
        """By the engine, from nothing, dataset and tokenizer too."""
        run = self.first.engine(f"results/{self.spec.name}/{MANIFEST}", "--cores", str(jobs), "--nocolor")
        return self._made(self.first, self.spec, run.stdout)

    def once_more(self, label: str, spec: Spec | None = None, stopped: bool = False, threads: int = 1) -> Artefact:
        """By the script alone, from the same dataset and tokenizer. stopped: after its first step, then resumed."""
        spec = spec or self.spec
        checkout = CleanCheckout.new(self.scratch / label, self.config)
        checkout.link(self.first.results, {name.partition("/")[0] for name in spec.parent_names()})
        variables = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        if stopped:
            run = checkout.job(spec, "--time-budget", "0", **variables)
            if run.returncode != os.EX_TEMPFAIL:
                raise Failed(f"told to stop, it ended with code {run.returncode}: {last_line_of(run.stderr)}")
        run = checkout.job(spec, **variables)
        return self._made(checkout, spec, run.stderr)

    def changed(self, **settings: Any) -> Spec:
        """The spec with a changed specification, under a name of its own."""
        spec = replace(self.spec, settings={**self.spec.settings, **settings})
        return replace(spec, id=f"{self.spec.id.rpartition('-')[0]}-{spec_digest(spec)}")

    def _made(self, checkout: CleanCheckout, spec: Spec, output: str) -> Artefact:
        artefact = read_folder(checkout.results, []).artefacts.get(spec.name)
        if artefact is None:
            raise Failed(last_line_of(output))
        return artefact


def check_determinism(folder: Folder, grid: Grid, config: Config, jobs: int, scratch: Path) -> Level:
    """Train six times the cheapest checkpoint behind the table that took more than one step: it is to be stopped."""
    level = Level(5)
    counterparts = Counterparts(folder, grid)
    trained = [
        artefact.name
        for artefact in folder.behind_published()
        if artefact.stage == "checkpoints"
        and (spec := counterparts.spec(artefact.name))
        and artefact.manifest.metrics.get("steps", 0) > 1
        and not rests_on_lost(folder, counterparts.specs, spec.name)
    ]
    if not trained:
        level.skipped = "the present configuration has none of the trainings behind the table"
        return level
    name = min(trained, key=lambda each: cost(folder, [each]))
    spec = counterparts.spec(name)
    assert spec is not None
    try:
        kept = pinned(counterparts.specs, [spec.name])
        _compare_trainings(Trainings(spec, config, scratch / "determinism", folder, kept), name, jobs, level)
    except Failed as failed:
        level.fault("not made again", name, str(failed))
    return level


def _compare_trainings(trainings: Trainings, name: str, jobs: int, level: Level) -> None:
    settings = trainings.spec.settings
    straight = trainings.straight(jobs)
    level.facts |= {"training": name, "device": straight.manifest.metrics.get("device"), "trainings": 6}
    again = compare_artefacts(straight, trainings.once_more("again"))
    if not again.equal:
        level.fault("not deterministic", name, f"the same seed gives other bits ({again.where}, {again.files})")
    resumed = trainings.once_more("resumed", stopped=True)
    if resumed.manifest.metrics.get("num_sessions") != 2:
        level.warn("not interrupted", name, "the training that was to be interrupted was not")
    stopped = compare_artefacts(straight, resumed)
    if not stopped.equal:
        level.fault("not deterministic", name, f"stopped and resumed, other bits ({stopped.where}, {stopped.files})")
    other_seed = trainings.once_more("other-seed", trainings.changed(seed=settings["seed"] + 1))
    if _weights(other_seed) == _weights(straight):
        level.fault("seed without effect", name, "another seed gives the same weights")
    threads = compare_artefacts(straight, trainings.once_more("threads", threads=2))
    level.facts["two threads in the environment"] = "equal bits" if threads.equal else f"differ by {threads.files}"
    compiled_before = straight.manifest.metrics["execution"]["compile"]
    flipped = {**settings["hardware"], "compile": not compiled_before}
    fact = f"compile {compiled_before} -> {flipped['compile']}"
    try:
        compiled = trainings.once_more("compile", trainings.changed(hardware=flipped))
    except Failed as failed:
        if not flipped["compile"]:
            raise
        level.facts[fact] = f"not done: {failed}"  # no compiler here, or no model of one graph
        return
    equal = _weights(compiled) == _weights(straight)
    far = compare_artefacts(straight, compiled)
    words = "equal weights" if equal else f"numbers differ by up to {far.files:.2g}, metrics {far_text(far.metrics)}"
    level.facts[fact] = words


def _weights(artefact: Artefact) -> dict[str, str]:
    return {name: o.sha256 for name, o in artefact.manifest.outputs.items() if name.endswith(".safetensors")}
