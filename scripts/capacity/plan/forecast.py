"""What a run of the present configuration would do, why, and what it would cost: the plan in the user's words."""

import functools
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capacity.artefacts.identity import canonical_json
from capacity.artefacts.manifest import read_manifest
from capacity.artefacts.orders import Order
from capacity.artefacts.stages import STAGES
from capacity.errors import UserError
from capacity.plan.estimates import training_flops, training_seconds
from capacity.plan.survey import Plan, State, is_published, published

OTHER_STAGE_SECONDS = 4.0  # a stage that only starts up and reads, where nothing similar has run


@dataclass
class PlannedJob:
    """One engine job that would run."""

    rule: str
    name: str  # artefact, or fixed path
    reason: str
    seconds: float = 0.0  # core or GPU seconds
    bytes: int = 0
    measured: bool = True  # the cost is that of a similar job, not an estimate


@dataclass
class Forecast:
    """The jobs, what is reused, and what the jobs cost together."""

    jobs: list[PlannedJob] = field(default_factory=list)
    reused: int = 0

    def total(self) -> dict[str, Any]:
        """Seconds and bytes of all jobs, and whether any of them is an estimate."""
        return {
            "jobs": len(self.jobs),
            "reused": self.reused,
            "core_seconds": round(sum(job.seconds for job in self.jobs), 1),
            "bytes": sum(job.bytes for job in self.jobs),
            "estimated": any(not job.measured for job in self.jobs),
        }


def forecast(plan: Plan, results: Path) -> Forecast:
    """The jobs that the engine would run now, in the order of the flow."""
    wanted = _wanted(plan, results)
    past = functools.cache(lambda stage: Past(results, stage))
    again = {name for key in plan.remake for name in (key, *(member.name for member in plan.orders[key].members))}
    answer = Forecast(reused=sum(state == State.DONE for name, state in plan.states.items() if name not in again))
    for order in plan.orders.values():
        if order.name in wanted:
            reason = plan.remake.get(order.name) or past(order.stage).reason(order)
            seconds, size, measured = past(order.stage).cost(order, plan)
            answer.jobs.append(PlannedJob(STAGES[order.stage].rule, order.name, reason, seconds, size, measured))
    for artefact, files, id_file in published(plan.grid):
        if artefact.name in wanted or not is_published(artefact, files, id_file, results):
            rule = "publish_table" if artefact.stage == "tables" else f"publish_{artefact.stage}"
            answer.jobs.append(PlannedJob(rule, id_file, f"{next(iter(files.values()))} is not of {artefact.id}"))
    return answer


def _wanted(plan: Plan, results: Path) -> set[str]:
    """Names of artefacts that have to be made, as the engine decides: from what is published backwards."""
    wanted: set[str] = set()

    def want(name: str) -> None:
        if name not in wanted and (plan.states[name] != State.DONE or name in plan.remake):
            wanted.add(name)
            for parent in plan.orders[name].parent_names():
                want(parent)

    for artefact, files, id_file in published(plan.grid):
        if not is_published(artefact, files, id_file, results):
            want(artefact.name)
    for name in plan.remake:
        want(name)
    for order in plan.orders.values():  # what follows from an artefact that is made again is made again too
        if any(parent in wanted and parent in plan.remake for parent in order.parent_names()):
            want(order.name)
    return wanted


class Past:
    """What earlier jobs of one stage did, read from the manifests that lie in a results folder."""

    def __init__(self, results: Path, stage: str):
        folders = sorted((results / stage).iterdir()) if (results / stage).is_dir() else []
        self.manifests = list(_readable(folders))
        self.examples = {_traits(m["spec"], m["code"]["modules"], m["packages"]): m for m in reversed(self.manifests)}
        by_shape: dict[str, list[dict[str, Any]]] = {"": self.manifests} if self.manifests else {}
        for manifest in self.manifests:
            by_shape.setdefault(_shape(manifest["name"], manifest["spec"]), []).append(manifest)
        self.costs = {shape: _typical(manifests) for shape, manifests in by_shape.items()}  # "": of any shape
        rates = [m["metrics"]["flops"] / m["cpu_seconds"] for m in self.manifests if m["metrics"].get("flops")]
        self.flops_a_second = statistics.median(rates) if rates else None

    def reason(self, order: Order) -> str:
        """Why an artefact is new: what differs from the most similar one that exists."""
        if not self.manifests:
            return "nothing like it was made yet"
        mine = _traits(order.spec, order.present_modules(), order.packages)
        nearest = min(reversed(self.examples), key=lambda other: len(other ^ mine))
        best = differences(order, self.examples[nearest])
        if not best:
            return "its parents are new"
        return "; ".join(best[:4]) + (f" (and {len(best) - 4} more)" if len(best) > 4 else "")

    def cost(self, order: Order, plan: Plan) -> tuple[float, int, bool]:
        """Core seconds, bytes, and whether they were measured on a job of the same shape."""
        same = self.costs.get(_shape(order.name, order.spec))
        if same:
            return (*same, True)
        typical = self.costs.get("")
        if order.stage == "checkpoints":
            dataset, tokenizer = (plan.orders[str(order.parents[role])].spec for role in ("dataset", "tokenizer"))
            seconds = training_seconds(dataset, tokenizer, order.spec)
            if self.flops_a_second:
                seconds = training_flops(dataset, tokenizer, order.spec) / self.flops_a_second
            return seconds, typical[1] if typical else 0, False
        return (*typical, True) if typical else (OTHER_STAGE_SECONDS, 0, False)


def _traits(spec: dict[str, Any], modules: dict[str, str], packages: dict[str, str]) -> frozenset[tuple[str, str]]:
    """All that can differ between two artefacts of a stage, such that the most similar one is found quickly."""
    return frozenset([*_leaves(spec), *modules.items(), *packages.items()])


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


def _typical(manifests: list[dict[str, Any]]) -> tuple[float, int]:
    """Median CPU seconds and bytes."""
    size = statistics.median(sum(entry["bytes"] for entry in m["outputs"].values()) for m in manifests)
    return statistics.median(m["cpu_seconds"] for m in manifests), int(size)


def _shape(name: str, spec: dict[str, Any]) -> str:
    """What decides a job's cost, as text: all of its name and spec but digest and seed; people are in the name."""
    slug = [part for part in name.split("-")[:-1] if not re.fullmatch(r"s\d+", part)]
    return canonical_json([slug, {key: value for key, value in spec.items() if key != "seed"}])


def differences(order: Order, manifest: dict[str, Any]) -> list[str]:
    """What differs between an order and a made artefact: spec keys, code modules, packages; in words."""
    words = [_words(key, old, new) for key, old, new in compare(manifest["spec"], order.spec)]
    if manifest["code"]["digest"] != order.code:
        now, then = order.present_modules(), manifest["code"]["modules"]
        changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        words += [f"code of {name.replace('__main__', order.script)} changed" for name in changed]
    words += [
        f"{package} {manifest['packages'].get(package)} -> {version}"
        for package, version in order.packages.items()
        if manifest["packages"].get(package) != version
    ]
    return words


def compare(old: Any, new: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Dotted keys whose values differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(name for name in new if name not in old)]
        return [
            change
            for name in keys
            for change in compare(old.get(name), new.get(name), f"{key}.{name}" if key else name)
        ]
    return [] if old == new else [(key, old, new)]


def _words(key: str, old: Any, new: Any) -> str:
    rows = isinstance(new, list) and any(isinstance(item, dict) for item in new)
    return f"{key} changed" if rows else f"{key} {_show(old)} -> {_show(new)}"


def _show(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
