"""What would run and why, in words, and what it would cost. Changes nothing.

Reasons compare each new artefact with the most similar one that exists; with --against, the edit itself is told too:
which keys of the configuration differ from another one, and the runs that this makes new.
"""

import argparse
import json
import math
from collections import Counter
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from capacity.cli.arguments import RESULTS, add_config_options, read_config
from capacity.config.experiment import Config
from capacity.config.load import load_config
from capacity.errors import UserError, fail
from capacity.jobs.gpus import lack_of_gpus
from capacity.plan.estimates import (
    PUBLISHED_DAYS,
    PUBLISHED_FLOPS,
    PUBLISHED_GPUS,
    assumed_rate,
    published_rate,
    training_flops,
)
from capacity.plan.forecast import Cost, Forecast, compare, forecast
from capacity.plan.gaps import gap_messages, gaps
from capacity.plan.grid import Grid, resolve
from capacity.plan.survey import hold_against
from capacity.rewriting.spec import read_dataset
from capacity.tables.naming import run_names
from capacity.tokenizers.spec import read_tokenizer
from capacity.training.spec import TrainingSettings

DAY = 86_400  # seconds
SECTIONS = {
    "scales": "scale",
    "datasets": "dataset",
    "tokenizers": "tokenizer",
    "models": "model",
    "regimes": "regime",
    "quantizers": "quantizer",
    "studies": "study",
}


def edits(old: Config, new: Config) -> list[str]:
    """What differs between two configurations, for example `regime long: lr 0.01 -> 0.005`."""
    lines = []
    for key, before, after in compare(old.model_dump(), new.model_dump()):
        section, _, rest = key.partition(".")
        name, _, option = rest.partition(".")
        subject = f"{SECTIONS[section]} {name}" if section in SECTIONS else section
        lines.append(
            f"{subject}: {' '.join(filter(None, [option or rest if section not in SECTIONS else option]))} ".rstrip()
        )
        lines[-1] += f" {_show(before)} -> {_show(after)}"
    return lines


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_show(v)}" for k, v in value.items() if v is not None) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def new_runs(grid: Grid, answer: Forecast) -> list[str]:
    """Runs whose checkpoint would be trained, by the configuration's own names, with the studies that ask for them."""
    trained = {job.name.split("/")[1] for job in answer.jobs if job.rule == "train_checkpoint"}
    rows = grid.table.settings["rows"]
    names: dict[str, str] = {}
    studies: dict[str, dict[str, None]] = {}
    for row, name in zip(rows, run_names(rows), strict=True):
        if row["checkpoint_id"] in trained:
            names.setdefault(row["checkpoint_id"], name)
            studies.setdefault(row["checkpoint_id"], {})[row["study"]] = None
    return [f"{name} (study {', '.join(studies[checkpoint])})" for checkpoint, name in names.items()]


def costs_by_size(answer: Forecast) -> list[str]:
    """A small table of what the trainings cost, a line for each order of size, and what their costs are taken from.

    An order of size is half a power of ten of parameters.
    """
    sizes: dict[int, list[Cost]] = {}
    for job in answer.jobs:
        if job.cost.P is not None:
            sizes.setdefault(math.floor(2 * math.log10(job.cost.P)), []).append(job.cost)
    rows = [("P", "runs", "cost", "taken from")]
    for _, costs in sorted(sizes.items()):
        least, most = min(cost.P or 0 for cost in costs), max(cost.P or 0 for cost in costs)
        P = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        total = duration(sum(cost.seconds for cost in costs), costs[0].device)
        rows.append((P, str(len(costs)), total, "; ".join(_bases(costs))))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return ["  ".join([*map(str.rjust, row[:3], widths), row[3]]) for row in rows]


def _bases(costs: list[Cost]) -> list[str]:
    """What costs are taken from, with the rates, and how many where that differs."""
    words = []
    for cost in costs:
        rate = f": {cost.rate:.1e} FLOP/s of one {cost.device}" if cost.rate else ""
        words.append(f"{cost.basis}{rate}")
    counts = Counter(words)
    return [f"{number} of {word}" if len(counts) > 1 else word for word, number in counts.items()]


def duration(seconds: float, device: str) -> str:
    """Seconds of one device in minutes, or in days where they are many."""
    return f"{seconds / 60:.1f} {device} minutes" if seconds < 2 * DAY else f"{seconds / DAY:,.1f} {device} days"


def training_costs(grid: Grid, pattern: str) -> list[str]:
    """A line for each training whose name fits a pattern: its FLOPs, the rate that is assumed, the time."""
    lines = []
    for spec in grid.specs.values():
        if spec.stage == "checkpoints" and fnmatchcase(spec.id, pattern):
            dataset, tokenizer = (grid.specs[str(spec.parents[role])].settings for role in ("dataset", "tokenizer"))
            training = TrainingSettings.read(spec.settings)
            flops = training_flops(read_dataset(dataset), read_tokenizer(tokenizer), training)
            rate = assumed_rate(training.hardware.accelerator)
            device = "core" if training.hardware.accelerator == "cpu" else "GPU"
            cost = f"at {rate:.1e} FLOP/s of one {device}, assumed: {duration(flops / rate, device)}"
            lines.append(f"{spec.id.rpartition('-')[0]}: {flops:.3g} FLOPs; {cost}")
    paper = (
        f"the paper: {PUBLISHED_DAYS} days on {PUBLISHED_GPUS} A100 for gpt2-20-16 on bioS(10M), {PUBLISHED_FLOPS:.3g} "
        f"FLOPs, which implies {published_rate():.1e} FLOP/s of each"
    )
    return [*lines, paper] if lines else [f"no training fits {pattern!r}"]


def as_text(changes: list[str], runs: list[str], answer: Forecast) -> str:
    """The plan as people read it."""
    lines = [f"edit: {line}" for line in changes]
    total = answer.total()
    if not answer.jobs:
        return "\n".join([*lines, f"nothing to do: {answer.reused} artefacts are current"])
    for rule, count in Counter(job.rule for job in answer.jobs).items():
        lines.append(f"\n{rule}: {count} job{'s' if count > 1 else ''}")
        reasons = Counter(job.reason for job in answer.jobs if job.rule == rule)
        lines += [f"  {number} x {reason}" for reason, number in reasons.most_common(5)]
        if len(reasons) > 5:
            lines.append(f"  and {len(reasons) - 5} other reasons (--json lists every job)")
    if runs:
        lines += [f"\nnew runs: {len(runs)}", *(f"  {run}" for run in runs[:20])]
        lines += [f"  and {len(runs) - 20} more (--json lists all)"] if len(runs) > 20 else []
        lines += ["\nwhat they cost, by parameters (P):", *(f"  {line}" for line in costs_by_size(answer))]
    mark = " (partly estimated)" if total["estimated"] else " (from past manifests)"
    cost = " and ".join(
        duration(total[key], device)
        for key, device in (("gpu_seconds", "GPU"), ("core_seconds", "core"))
        if total[key] or (device == "core" and not total["gpu_seconds"])
    )
    lines.append(f"\n{total['jobs']} jobs, {total['reused']} artefacts reused, about {cost}{mark},")
    megabytes = f"{total['bytes'] / 1e6:.1f} MB"
    lines.append(f"at least {megabytes} (nothing like some of them was made yet)" if total["estimated"] else megabytes)
    return "\n".join(lines)


def main() -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_options(parser)
    parser.add_argument("--against", type=Path, help="another configuration file: tell what differs from it")
    parser.add_argument("--trainings", metavar="PATTERN", help="instead: FLOPs and time of these trainings, by name")
    parser.add_argument("--json", action="store_true", help="every job, as JSON")
    args = parser.parse_args()
    try:
        config = read_config(args)
        changes = edits(load_config([args.against]), config) if args.against else []
        grid = resolve(config)
        if args.trainings:
            print("\n".join(training_costs(grid, args.trainings)))
            return
        plan = hold_against(grid, RESULTS)
        answer, missing = forecast(plan, RESULTS), gaps(plan, RESULTS)
    except UserError as error:
        fail(error)
    runs = new_runs(grid, answer)
    if args.json:
        jobs = [asdict(job) for job in answer.jobs]
        told = {"edits": changes, "runs": runs, "jobs": jobs, "missing": missing, "total": answer.total()}
        print(json.dumps(told, indent=1))
    else:
        print(as_text(changes, runs, answer))
        on_cpu = config.scales[config.scale].accelerator == "cpu"
        asked = 0 if on_cpu or not answer.jobs else config.scales[config.scale].devices
        if lack := lack_of_gpus(asked, f"scale {config.scale}", grid.cpu_scales):
            print(lack)
        for line in gap_messages(plan, RESULTS):
            print(line)


if __name__ == "__main__":
    main()
