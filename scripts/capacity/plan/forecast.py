"""What a run of the present configuration would do, why, and what it would cost: the plan in the user's words."""

import functools
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from capacity.artefacts.identity import canonical_json
from capacity.artefacts.manifest import read_manifest
from capacity.artefacts.spec import Spec
from capacity.artefacts.stages import STAGES
from capacity.errors import UserError
from capacity.plan.changes import differences
from capacity.plan.estimates import STARTUP_SECONDS, training_flops, training_parameters
from capacity.plan.extraction_cost import answers_seconds, finetunes_seconds
from capacity.plan.fixed_paths import is_published, published
from capacity.plan.requests import made_from
from capacity.plan.rewriting_cost import rewriting_seconds
from capacity.plan.roofline import assumed_rate
from capacity.plan.survey import Plan, State
from capacity.rewriting.spec import RewritingSettings
from capacity.training.spec import TrainingSettings

OTHER_STAGE_SECONDS = 4.0  # a stage that only starts up and reads, where nothing similar has run
EXTRACTION_SECONDS = {"finetunes": finetunes_seconds, "answers": answers_seconds}
SAME_ORDER = 10**0.5  # a rate serves models that are so many times larger or smaller, at most


class Basis(StrEnum):
    """What a job's cost is taken from."""

    JOB = "jobs like them"  # of the same shape on the same hardware
    RATE = "a measured rate"  # of trainings on this device, in this precision, of this order of size
    ASSUMED = "an assumed rate"


@dataclass
class Cost:
    """What a job takes: seconds of one core or one GPU, as its spec asks for."""

    seconds: float = 0.0
    bytes: int = 0
    device: str = "core"  # or GPU
    basis: Basis = Basis.JOB
    P: int | None = None  # of a training: parameters
    rate: float | None = None  # of a training that nothing is like: FLOP/s of one core or GPU
    flops: float | None = None  # of such a training
    bound: str = ""  # of such a training on a GPU, where no rate was measured: what bounds it


@dataclass
class PlannedJob:
    """One engine job that would run."""

    rule: str
    name: str  # artefact, or fixed path
    reason: str
    cost: Cost = field(default_factory=Cost)


@dataclass
class Forecast:
    """The jobs, what is reused, and what the jobs cost together."""

    jobs: list[PlannedJob] = field(default_factory=list)
    reused: int = 0

    def total(self) -> dict[str, Any]:
        """Seconds of cores and of GPUs, bytes, and whether any of them is an estimate."""
        return {
            "jobs": len(self.jobs),
            "reused": self.reused,
            "core_seconds": self._seconds("core"),
            "gpu_seconds": self._seconds("GPU"),
            "bytes": sum(job.cost.bytes for job in self.jobs),
            "estimated": any(job.cost.basis != Basis.JOB for job in self.jobs),
        }

    def _seconds(self, device: str) -> float:
        return round(sum(job.cost.seconds for job in self.jobs if job.cost.device == device), 1)


def forecast(plan: Plan, results: Path) -> Forecast:
    """The jobs that the engine would run now, in the order of the flow."""
    wanted = wanted_names(plan, results)
    past = functools.cache(lambda stage: Past(results, stage))
    again = {each.name for key in plan.remake for each in plan.specs[key].with_members()}
    answer = Forecast(reused=sum(state == State.DONE for name, state in plan.states.items() if name not in again))
    for spec in plan.specs.values():
        if spec.name in wanted:
            reason = plan.remake.get(spec.name) or past(spec.stage).reason(spec)
            cost = past(spec.stage).cost(spec, plan)
            answer.jobs.append(PlannedJob(STAGES[spec.stage].rule, spec.name, reason, cost))
    for artefact, files, id_file in published(plan.grid):
        if artefact.name in wanted or not is_published(artefact, files, id_file, results):
            rule = "publish_table" if artefact.stage == "tables" else f"publish_{artefact.stage}"
            answer.jobs.append(PlannedJob(rule, id_file, f"{next(iter(files.values()))} is not of {artefact.id}"))
    return answer


def wanted_names(plan: Plan, results: Path) -> set[str]:
    """Names of artefacts that have to be made, as the engine decides: from what is published backwards."""
    wanted: set[str] = set()

    def want(name: str) -> None:
        if name not in wanted and (plan.states[name] != State.DONE or name in plan.remake):
            wanted.add(name)
            for parent in plan.specs[name].parent_names():
                want(parent)

    for artefact, files, id_file in published(plan.grid):
        if not is_published(artefact, files, id_file, results):
            want(artefact.name)
    for name in plan.remake:
        want(name)
    for spec in plan.specs.values():  # what follows from an artefact that is made again is made again too
        if any(parent in wanted and parent in plan.remake for parent in spec.parent_names()):
            want(spec.name)
    return wanted


class Past:
    """What earlier jobs of one stage did, read from the manifests that lie in a results folder."""

    def __init__(self, results: Path, stage: str):
        folders = sorted((results / stage).iterdir()) if (results / stage).is_dir() else []
        self.manifests = [manifest for manifest in _readable(folders) if _is_usable(manifest, stage)]
        self.examples = {
            _traits(m["settings"], m["code"]["modules"], m["packages"]): m for m in reversed(self.manifests)
        }
        kinds: dict[str, list[dict[str, Any]]] = {}  # by shape, and all that ran on one kind of device
        specs = {manifest["name"]: manifest["settings"] for manifest in self.manifests}
        for manifest in self.manifests:
            settings = _own_or_first(manifest["settings"], [specs.get(name, {}) for name in manifest["members"]])
            kinds.setdefault(_shape(manifest["name"], settings), []).append(manifest | {"settings": settings})
            kinds.setdefault(device_of(settings), []).append(manifest | {"settings": settings})
        self.costs = {kind: _typical(manifests) for kind, manifests in kinds.items()}

    def reason(self, spec: Spec) -> str:
        """Why an artefact is new: what differs from the most similar one that exists."""
        best = self._differences(spec)
        if best is None:
            return "nothing like it was made yet"
        made = {manifest["name"] for manifest in self.manifests}
        for member in (member for member in spec.members if member.name not in made):
            best += [words for words in self._differences(member) or [] if words not in best]
        if not best:
            return "its parents are new"
        return "; ".join(best[:4]) + (f" (and {len(best) - 4} more)" if len(best) > 4 else "")

    def _differences(self, spec: Spec) -> list[str] | None:
        """In words, from the most similar artefact of its kind that exists; None where there is none."""
        kind = spec.settings.get("kind")
        alike = [traits for traits, made in self.examples.items() if made["settings"].get("kind") == kind]
        if not alike:
            return None
        mine = _traits(spec.settings, spec.present_modules(), spec.packages)
        nearest = min(reversed(alike), key=lambda other: len(other ^ mine))
        return differences(spec, self.examples[nearest])

    def cost(self, spec: Spec, plan: Plan) -> Cost:
        """What a job takes, from jobs of the same shape; without one an estimate, for bytes by the stage's others."""
        settings = _own_or_first(spec.settings, [member.settings for member in spec.members])
        device = device_of(settings)
        same, others = self.costs.get(_shape(spec.name, settings)), self.costs.get(device)
        if spec.stage == "checkpoints":
            return self._training_cost(spec, plan, Cost(*(same or (0.0, others[1] if others else 0)), device), same)
        seconds, size = same or others or (OTHER_STAGE_SECONDS, 0)
        if spec.stage == "rewritings" and not same:
            seconds = STARTUP_SECONDS + rewriting_seconds(RewritingSettings.read(spec.settings))
        if spec.stage in EXTRACTION_SECONDS and not same:
            seconds = EXTRACTION_SECONDS[spec.stage](spec, plan.by_id.__getitem__)
        return Cost(seconds, size, device, Basis.JOB if same else Basis.ASSUMED)

    def _training_cost(self, spec: Spec, plan: Plan, cost: Cost, same: tuple[float, int] | None) -> Cost:
        parts, settings = made_from(spec, plan.by_id.__getitem__), TrainingSettings.read(spec.settings)
        P = training_parameters(*parts, settings)
        if same:
            return replace(cost, P=P)
        measured, flops = self.rate(spec.settings, P), training_flops(*parts, settings)
        rate, bound = (measured, "") if measured else assumed_rate(*parts, settings)
        seconds = STARTUP_SECONDS * _devices(spec.settings["hardware"]) + flops / rate
        basis = Basis.RATE if measured else Basis.ASSUMED
        return replace(cost, seconds=seconds, basis=basis, P=P, rate=rate, flops=flops, bound=bound)

    def rate(self, settings: dict[str, Any], P: int) -> float | None:
        """Median FLOP/s of one core or GPU in trainings like this of models of this order of size."""
        known = [rate for size, rate in self._rates[_conditions(settings)] if P / SAME_ORDER <= size <= P * SAME_ORDER]
        return statistics.median(known) if known else None

    @functools.cached_property
    def _rates(self) -> dict[tuple[str, ...], list[tuple[int, float]]]:
        """Parameters and FLOP/s of each training, by its conditions."""
        found = defaultdict(list)
        for manifest in self.manifests:
            size, rate = manifest["metrics"].get("parameters"), _rate(manifest)
            if size and rate:
                found[_conditions(manifest["settings"])].append((size, rate))
        return found


def _own_or_first(settings: dict[str, Any], members: list[dict[str, Any]]) -> dict[str, Any]:
    """The spec of a job; of a set that has none, its first member's."""
    return settings or next(iter(members), {})


def device_of(settings: dict[str, Any]) -> str:
    """What a job's seconds are of, as its spec asks for: "core" or "GPU"."""
    asked = settings.get("hardware") or settings.get("rewriter") or settings
    return "GPU" if asked.get("accelerator") == "gpu" else "core"


def _devices(hardware: dict[str, Any]) -> int:
    """GPUs that are held all the time; of cores what they do is counted."""
    return hardware["devices"] if hardware["accelerator"] == "gpu" else 1


def _conditions(settings: dict[str, Any]) -> tuple[str, ...]:
    """Device, precision, optimizer, and whose model it is."""
    hardware, model = settings["hardware"], settings["model"]
    whose = model["hf"]["model_type"] if "hf" in model else model.get("python", "")  # "": of the paper
    return hardware["accelerator"], hardware["precision"], settings["regime"]["optimizer"], whose


def _rate(manifest: dict[str, Any]) -> float:
    """FLOP/s of one core or GPU in the steps of a training; 0 where its manifest does not say."""
    hardware, metrics = manifest["settings"]["hardware"], manifest["metrics"]
    steps = metrics.get("seconds", {}).get("steps" if hardware["accelerator"] == "gpu" else "steps_cpu")
    return metrics["flops"] / (steps * _devices(hardware)) if steps and metrics.get("flops") else 0.0


def _traits(settings: dict[str, Any], modules: dict[str, str], packages: dict[str, str]) -> frozenset[tuple[str, str]]:
    """All that can differ between two artefacts of a stage, such that the most similar one is found quickly."""
    return frozenset([*_leaves(settings), *modules.items(), *packages.items()])


def _leaves(value: Any, key: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [leaf for name, inner in value.items() for leaf in _leaves(inner, f"{key}.{name}")]
    return [(key, str(value))]


def _readable(folders: Iterable[Path]) -> Iterable[dict[str, Any]]:
    for folder in folders:
        try:
            yield read_manifest(folder)
        except UserError:
            continue


def _is_usable(manifest: dict[str, Any], stage: str) -> bool:
    """Whether a manifest says all that is read of it here; a folder that no job made may hold anything."""
    try:
        settings = manifest["settings"]
        _shape(manifest["name"], settings)
        _traits(settings, manifest["code"]["modules"], manifest["packages"])
        numbers = [*_typical([manifest]), *(manifest["metrics"].get(key) or 0 for key in ("flops", "parameters"))]
        if stage == "checkpoints":
            numbers.append(_rate(manifest))
            hash(_conditions(settings))
        hash((*manifest["members"], manifest["code"]["digest"]))
    except (KeyError, TypeError, AttributeError):
        return False
    return all(isinstance(number, int | float) for number in numbers)


def _typical(manifests: list[dict[str, Any]]) -> tuple[float, int]:
    """Median seconds of one core or GPU, and bytes."""
    size = statistics.median(sum(entry["bytes"] for entry in m["outputs"].values()) for m in manifests)
    return statistics.median(map(_seconds, manifests)), int(size)


def _seconds(manifest: dict[str, Any]) -> float:
    """A GPU is held for as long as its job runs; of a core only what the job used counts."""
    if device_of(manifest["settings"]) == "GPU":
        return manifest["seconds"] * manifest["settings"].get("hardware", {}).get("devices", 1)
    return manifest["cpu_seconds"]


def _shape(name: str, settings: dict[str, Any]) -> str:
    """What decides a job's cost, as text: all of its name and spec but digest and seed; people are in the name."""
    slug = [part for part in name.split("-")[:-1] if not re.fullmatch(r"s\d+", part)]
    return canonical_json([slug, {key: value for key, value in settings.items() if key != "seed"}])
