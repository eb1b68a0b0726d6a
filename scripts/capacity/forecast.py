"""What a run of the present configuration would do, why, and what it would cost: the plan in the user's words."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capacity.errors import UserError
from capacity.estimate import training_flops, training_seconds
from capacity.identity import module_digests
from capacity.manifest import read_manifest
from capacity.orders import Order
from capacity.planning import Plan, State, is_published, published
from capacity.stages import STAGES

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
    past = Past(results)
    answer = Forecast(reused=sum(state == State.DONE for state in plan.states.values()))
    for order in plan.orders.values():
        if order.name in wanted:
            reason = plan.remake.get(order.name) or past.reason(order)
            seconds, size, measured = past.cost(order, plan)
            answer.jobs.append(PlannedJob(STAGES[order.stage].rule, order.name, reason, seconds, size, measured))
            if order.name in plan.remake:
                answer.reused -= 1
    for artefact, files, id_file in published(plan.grid):
        if artefact.name in wanted or not is_published(artefact, files, id_file, results):
            rule = "publish_table" if artefact.stage == "tables" else "publish_figures"
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
    """What earlier jobs did, read from the manifests that lie in a results folder."""

    def __init__(self, results: Path):
        self.results = results
        self._manifests: dict[str, list[dict[str, Any]]] = {}

    def manifests(self, stage: str) -> list[dict[str, Any]]:
        """Manifests of a stage, unreadable ones left out."""
        if stage not in self._manifests:
            folders = sorted((self.results / stage).iterdir()) if (self.results / stage).is_dir() else []
            self._manifests[stage] = list(_readable(folders))
        return self._manifests[stage]

    def reason(self, order: Order) -> str:
        """Why an artefact is new: what differs from the most similar one that exists."""
        relatives = [(differences(order, manifest), manifest) for manifest in self.manifests(order.stage)]
        if not relatives:
            return "nothing like it was made yet"
        best, _ = min(relatives, key=lambda pair: (len(pair[0]), pair[1]["name"]))
        if not best:
            return "its parents are new"
        return "; ".join(best[:4]) + (f" (and {len(best) - 4} more)" if len(best) > 4 else "")

    def cost(self, order: Order, plan: Plan) -> tuple[float, int, bool]:
        """Core seconds, bytes, and whether they were measured on a job of the same shape."""
        manifests = self.manifests(order.stage)
        same = [m for m in manifests if _shape(m["spec"]) == _shape(order.spec) and _slug(m["name"]) == _slug(order.name)]
        if same:
            return (*_typical(same), True)
        if order.stage == "checkpoints":
            dataset, tokenizer = (plan.orders[str(order.parents[role])].spec for role in ("dataset", "tokenizer"))
            rates = [m["metrics"]["flops"] / m["cpu_seconds"] for m in manifests if m["metrics"].get("flops")]
            seconds = training_seconds(dataset, tokenizer, order.spec)
            if rates:
                seconds = training_flops(dataset, tokenizer, order.spec) / statistics.median(rates)
            return seconds, _typical(manifests)[1] if manifests else 0, False
        return (*_typical(manifests), True) if manifests else (OTHER_STAGE_SECONDS, 0, False)


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


def _shape(spec: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "seed"}


def _slug(name: str) -> str:
    """A name without digest and seed: people, exposures and architecture are in it."""
    return "-".join(part for part in name.rsplit("-", 1)[0].split("-") if not part.startswith("s"))


def differences(order: Order, manifest: dict[str, Any]) -> list[str]:
    """What differs between an order and a made artefact: spec keys, code modules, packages; in words."""
    words = [f"{key} {_show(old)} -> {_show(new)}" for key, old, new in compare(manifest["spec"], order.spec)]
    if manifest["code"]["digest"] != order.code:
        now, then = module_digests(order.script), manifest["code"]["modules"]
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
            change for name in keys for change in compare(old.get(name), new.get(name), f"{key}.{name}" if key else name)
        ]
    return [] if old == new else [(key, old, new)]


def _show(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
