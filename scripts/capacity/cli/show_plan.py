"""What would run and why, in words, and what it would cost. Changes nothing.

Reasons compare each new artefact with the most similar one that exists; with --against, the edit itself is shown too:
which keys of the configuration differ from another one, and the runs that this makes new.
"""

import argparse
import json
import math
import os
from collections import Counter
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from capacity.cli.arguments import config_parser, read_config
from capacity.config.experiment import Config
from capacity.config.load import load_config
from capacity.config.yaml_files import read_yaml
from capacity.errors import UserError
from capacity.jobs.gpus import lack_of_gpus, visible_gpus
from capacity.jobs.progress import duration as in_time
from capacity.jobs.run_loggers import check_loggers
from capacity.plan.changes import compare
from capacity.plan.estimates import DAY, PUBLISHED_FLOPS, PUBLISHED_RUN, published_rate, training_flops
from capacity.plan.fixed_paths import CONFIG_FILE, RESULTS
from capacity.plan.forecast import Cost, Forecast, forecast
from capacity.plan.gaps import gap_messages, gaps
from capacity.plan.gpu_plan import assumptions, fit_of_a_day
from capacity.plan.grid import Grid, resolve
from capacity.plan.prepare import try_models
from capacity.plan.requests import made_from
from capacity.plan.roofline import assumed_card, assumed_rate, in_words
from capacity.plan.survey import hold_against
from capacity.tables.naming import run_names
from capacity.training.spec import TrainingSettings

SECTIONS = {
    "scales": "scale",
    "datasets": "dataset",
    "tokenizers": "tokenizer",
    "models": "model",
    "regimes": "regime",
    "quantizers": "quantizer",
    "extractions": "extraction",
    "studies": "study",
}


def edits(old: Config, new: Config) -> list[str]:
    """What differs between two configurations, for example `regime long: lr 0.01 -> 0.005`."""
    lines = []
    for key, before, after in compare(old.model_dump(), new.model_dump()):
        section, _, rest = key.partition(".")
        name, _, option = rest.partition(".")
        subject = f"{SECTIONS[section]} {name}" if section in SECTIONS else section
        what = option if section in SECTIONS else option or rest
        lines.append(f"{subject}: {what and what + ' '}{_show(before)} -> {_show(after)}")
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
    rows = [("P, about", "runs", "cost", "taken from")]
    for _, costs in sorted(sizes.items()):
        least, most = min(cost.P or 0 for cost in costs), max(cost.P or 0 for cost in costs)
        P = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        total = duration(sum(cost.seconds for cost in costs), costs[0].device)
        rows.append((P, str(len(costs)), total, "; ".join(_bases(costs))))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return ["  ".join([*map(str.rjust, row[:3], widths), row[3]]) for row in rows]


def _bases(costs: list[Cost]) -> list[str]:
    """What costs are taken from, with the lowest and highest rate of each kind, and how many where that differs."""
    kinds: dict[tuple[str, str], list[float]] = {}
    for cost in costs:
        kinds.setdefault((cost.basis, cost.device), []).append(cost.rate or 0.0)
    words = []
    for (basis, device), rates in kinds.items():
        least, most = f"{min(rates):.1e}", f"{max(rates):.1e}"
        rate = f": {least if least == most else f'{least} to {most}'} FLOP/s of one {device}" if max(rates) else ""
        words.append(f"{len(rates)} of {basis}{rate}" if len(kinds) > 1 else f"{basis}{rate}")
    return words


def duration(seconds: float, device: str) -> str:
    """Seconds of one device in minutes, or in days where they are many."""
    return f"{seconds / 60:.1f} {device} minutes" if seconds < 2 * DAY else f"{seconds / DAY:,.1f} {device} days"


def training_costs(grid: Grid, pattern: str) -> list[str]:
    """A line for each training whose artefact or run fits a pattern: its FLOPs, the rate that is assumed, the time."""
    lines, runs = [], dict[str, set[str]]()
    rows, by_id = grid.table.settings["rows"], {spec.id: spec for spec in grid.specs.values()}
    for row, name in zip(rows, run_names(rows), strict=True):
        runs.setdefault(row["checkpoint_id"], set()).add(name)
    for spec in grid.specs.values():
        names = sorted(runs.get(spec.id, ()))
        if spec.stage == "checkpoints" and any(fnmatchcase(name, pattern) for name in (spec.id, *names)):
            parts, training = made_from(spec, by_id.__getitem__), TrainingSettings.read(spec.settings)
            flops, (rate, bound) = training_flops(*parts, training), assumed_rate(*parts, training)
            device, how = ("GPU", f"bound by {bound} ({in_words(assumed_card())})") if bound else ("core", "assumed")
            cost = f"at {rate:.1e} FLOP/s of one {device}, {how}: {duration(flops / rate, device)}"
            lines.append(f"{', '.join(names)} ({spec.slug}): {flops:.3g} FLOPs; {cost}")
    paper = (
        f"the paper: {PUBLISHED_RUN}, {PUBLISHED_FLOPS:.3g} FLOPs, which implies {published_rate():.1e} FLOP/s of each"
    )
    return [*lines, paper] if lines else [f"no training fits {pattern!r}"]


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: give FLOP/s such as 1e14")
    return rate


def as_text(changes: list[str], runs: list[str], answer: Forecast) -> str:
    """The plan as people read it."""
    lines = [f"edit: {line}" for line in changes]
    total = answer.total()
    if not answer.jobs:
        return "\n".join([*lines, f"nothing to do: {answer.reused} artefacts are current"])
    for rule, count in Counter(job.rule for job in answer.jobs).items():
        lines.append(f"\n{rule}: {count} job{'s' if count > 1 else ''}{_cost_of(answer, rule)}")
        reasons = Counter(job.reason for job in answer.jobs if job.rule == rule)
        lines += [f"  {number} x {reason}" for reason, number in reasons.most_common(5)]
        if len(reasons) > 5:
            lines.append(f"  and {len(reasons) - 5} other reasons (--json lists every job)")
    if runs:
        lines += [f"\nnew runs: {len(runs)}", *(f"  {run}" for run in runs[:20])]
        lines += [f"  and {len(runs) - 20} more (--json lists all)"] if len(runs) > 20 else []
        lines += ["\nwhat they cost, by parameters (P):", *(f"  {line}" for line in costs_by_size(answer))]
    megabytes = f"{total['bytes'] / 1e6:.1f} MB"
    lines.append(f"\n{total['reused']} artefacts reused, {'at least ' * total['estimated']}{megabytes} written")
    return "\n".join([headline(answer), *lines])


def headline(answer: Forecast) -> str:
    """The answer in one line: jobs, what they cost, and how long they take on all cores of this machine."""
    total = answer.total()
    cost = " and ".join(
        duration(total[key], device)
        for key, device in (("gpu_seconds", "GPU"), ("core_seconds", "core"))
        if total[key] or (device == "core" and not total["gpu_seconds"])
    )
    mark = "partly estimated" if total["estimated"] else "from past manifests"
    cores = os.cpu_count() or 1
    elapsed = "" if total["gpu_seconds"] else f", {in_time(total['core_seconds'] / cores)} on {cores} cores"
    return f"{total['jobs']} job{'s' * (total['jobs'] > 1)}, about {cost}{elapsed} ({mark})"


def _cost_of(answer: Forecast, rule: str) -> str:
    """What a rule's jobs take, where that is minutes; trainings have a table of their own."""
    costs = [job.cost for job in answer.jobs if job.rule == rule]
    seconds = sum(cost.seconds for cost in costs)
    return f", about {duration(seconds, costs[0].device)}" if seconds > 60 and rule != "train_checkpoint" else ""


def files_of(against: Path) -> list[Path]:
    """The files of another configuration: one that lacks a section that each one needs is laid over config.yaml."""
    needed = {name for name, field in Config.model_fields.items() if field.is_required()}
    return [against] if needed <= set(read_yaml(against)) else [CONFIG_FILE, against]


def main() -> None:
    """Print the plan."""
    parser = config_parser(__doc__)
    parser.add_argument(
        "--against",
        type=Path,
        help="tell what differs from another configuration: a whole one, or a file that is laid over config.yaml",
    )
    parser.add_argument(
        "--trainings",
        metavar="PATTERN",
        help="instead: FLOPs and time of these trainings, by the name of their run, or of their artefact",
    )
    parser.add_argument("--rate", type=_rate, metavar="FLOPS", help="FLOP/s of one GPU as measured: the cost at it too")
    parser.add_argument("--json", action="store_true", help="every job, as JSON")
    args = parser.parse_args()
    config = read_config(args)
    changes = edits(load_config(files_of(args.against)), config) if args.against else []
    grid = resolve(config)
    if args.trainings and (args.json or args.against or args.rate):
        raise UserError("--trainings: a list of its own, without --json, --against and --rate; leave them out")
    if args.trainings:
        print("\n".join(training_costs(grid, args.trainings)))
        return
    plan = hold_against(grid, RESULTS)
    try_models(plan)
    check_loggers(grid.loggers)
    answer, missing = forecast(plan, RESULTS), gaps(plan, RESULTS)
    runs = new_runs(grid, answer)
    if args.json:
        jobs = [asdict(job) for job in answer.jobs]
        content = {"edits": changes, "runs": runs, "jobs": jobs, "missing": missing, "total": answer.total()}
        print(json.dumps(content, indent=1))
    else:
        print(as_text(changes, runs, answer))
        on_cpu = config.scales[config.scale].accelerator == "cpu"
        for line in [] if on_cpu else assumptions(answer, assumed_card(), args.rate):
            print(line)
        for line in [] if on_cpu else fit_of_a_day(answer, len(visible_gpus()) or 1):
            print(line)
        asked = 0 if on_cpu or not answer.jobs else config.scales[config.scale].devices
        if lack := lack_of_gpus(asked, f"scale {config.scale}", grid.cpu_scales):
            print(lack)
        for line in gap_messages(plan, RESULTS):
            print(line)
