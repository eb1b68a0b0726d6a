"""How much does a model remember beside a GPT-2 of the same size? Trains both, prints a card.

MODEL is a factory in a file of this folder (nets/mine.py:make), the configuration of any causal LM of transformers as
JSON or YAML ('{model_type: mamba, hidden_size: 16, num_hidden_layers: 2}'), or a model of config.yaml.

Both learn the same worlds in the same order, with 100 exposures at three learning rates, more where the best one is at
the end of the list, and with 1000 exposures at the best of those. All are ordinary artefacts of this project.
"""

import argparse
import hashlib
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any, get_args

import yaml

from capacity.cli.arguments import CONFIG_FILE, RESULTS, plain_parser
from capacity.config.load import check, load_config
from capacity.config.model import Model
from capacity.config.regime import Regime
from capacity.errors import UserError
from capacity.measure.baseline import equal_baseline, size_of
from capacity.measure.pair import BASELINE, CANDIDATE, MeasureStudy
from capacity.measure.recipe import LEAST_SEEDS, OFFERED, RECIPES, Recipe, recipe_for
from capacity.measure.running import bracket, build, folder_of, within
from capacity.measure.timing import seconds_a_token
from capacity.models.spec import PaperModel

UNITS = {"m": 60, "h": 3600}
FACTORY = r"(?:\./)?([\w/]+)\.py:(\w+)"
LONGEST_NAME = 32  # a study's is `measure-` and this one, 40 at most


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = plain_parser(__doc__)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--settings", default="{}", help="keyword arguments of the factory, JSON or YAML")
    parser.add_argument("--name", help="what to call it; otherwise from MODEL and settings")
    parser.add_argument("--baseline", help="a model of config.yaml instead of a GPT-2 of equal size")
    parser.add_argument("--scale", choices=RECIPES, help="whose recipe to use; otherwise of the nearest size")
    optimizers = get_args(Regime.model_fields["optimizer"].annotation)
    parser.add_argument("--optimizer", choices=optimizers, help="of the candidate's training, as in config.yaml")
    parser.add_argument(
        "--quantizer", action="append", default=[], help="a scheme of config.yaml, besides int8 and int4"
    )
    parser.add_argument("--extraction", help="an extraction of config.yaml: how much of it can be asked for")
    parser.add_argument("--offer", type=float, nargs="+", default=list(OFFERED), help="bits offered a parameter")
    parser.add_argument("--seeds", type=int, help="how many; otherwise as many as the budget allows, three at least")
    parser.add_argument("--budget", default="30m", help="time that it may take: 30m, 8h")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--dry-run", action="store_true", help="say what it would cost")
    return parser


def candidate(model: str, settings: str, config: Any) -> dict[str, Any]:
    """A section of `models`. Raises UserError."""
    if model in config.models:
        return dict(config.models[model].model_dump(exclude_unset=True))
    if model.lstrip().startswith("{"):
        return {"hf": _mapping(model, "MODEL")}
    if match := re.fullmatch(FACTORY, model):
        return {"python": f"{match[1].replace('/', '.')}:{match[2]}", "settings": _mapping(settings, "--settings")}
    raise UserError(
        f"MODEL: {model!r} is no file.py:factory, no mapping with model_type, and no model of config.yaml: "
        f"{', '.join(config.models)}"
    )


def name_of(args: argparse.Namespace, section: dict[str, Any]) -> str:
    """What a measure is called where it was not said: by its model, settings and optimizer; no two share one."""
    if args.name:
        if len(args.name) > LONGEST_NAME:
            raise UserError(f"--name: {args.name!r} has {len(args.name)} characters; give {LONGEST_NAME} at most")
        return _plain(args.name)
    if match := re.fullmatch(FACTORY, args.model):
        parts = [match[1].rpartition("/")[2], *([] if match[2] == "make" else [match[2]])]
    else:
        parts = [section["hf"]["model_type"] if args.model.lstrip().startswith("{") else args.model]
    parts += [f"{key}-{value}" for key, value in section.get("settings", {}).items()]
    name = _plain("-".join([*parts, *([args.optimizer] if args.optimizer else [])]))
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-_") or "model"


def _mapping(text: str, what: str) -> dict[str, Any]:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict):
        raise UserError(f"{what}: {text!r} is no mapping; for example '{{width: 16}}'")
    return value


def seconds_of(budget: str) -> float:
    """Raises UserError for what is no time."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mh])", budget)
    if not match:
        raise UserError(f"--budget: {budget!r}; give minutes or hours, 30m or 8h")
    return float(match[1]) * UNITS[match[2]]


def first_study(args: argparse.Namespace) -> MeasureStudy:
    """What is asked. Raises UserError."""
    config = load_config([CONFIG_FILE])
    section = candidate(args.model, args.settings, config)
    model = check(Model, section, "MODEL")
    recipe = RECIPES[args.scale] if args.scale else RECIPES["9k"]
    recipe = recipe_for(size_of(model, recipe), args.scale)
    P = size_of(model, recipe)
    for key, least in (("seeds", 1), ("cores", 1)):
        if (number := getattr(args, key)) is not None and number < least:
            raise UserError(f"--{key}: {number}; give {least} or more")
    for key, known in (("baseline", config.models), ("extraction", config.extractions)):
        if (asked := getattr(args, key)) and asked not in known:
            raise UserError(f"--{key}: {asked!r} is none of {', '.join(known)}")
    for scheme in args.quantizer:
        if scheme not in config.quantizers:
            raise UserError(f"--quantizer: {scheme!r} is none of {', '.join(config.quantizers)}")
    baseline = (
        config.models[args.baseline].model_dump(exclude_unset=True) if args.baseline else equal_baseline(P, recipe)
    )
    return MeasureStudy.first(
        name_of(args, section),
        recipe,
        {CANDIDATE: section, BASELINE: baseline},
        P,
        seeds=args.seeds or LEAST_SEEDS,
        offered=tuple(sorted(args.offer)),
        training=(("optimizer", args.optimizer),) if args.optimizer else (),
        schemes=tuple((name, config.quantizers[name].model_dump(exclude_unset=True)) for name in args.quantizer),
        extraction=args.extraction,
        seconds_a_token=timed(model, recipe),
        **({"against": args.baseline} if args.baseline else {}),
    )


def timed(model: Model, recipe: Recipe) -> float | None:
    """Seconds of a token's training on one core, of a model that is not of the paper; None of another one."""
    settings = model.to_settings()
    if isinstance(settings, PaperModel):
        return None
    return seconds_a_token(settings, recipe)


def main() -> None:
    """Plan, train, print the card."""
    args = parser().parse_args()
    study = first_study(args)
    study, hours = within(study, seconds_of(args.budget) / 3600, args.cores, bool(args.seeds))
    worlds = ", ".join(f"{N:,} ({offered:g} bits a parameter)" for offered, N in study.worlds().items())
    print(
        f"{study.name}: {study.P:,} parameters; people: {worlds}; {study.seeds} seeds; about {60 * hours:.0f} minutes"
    )
    if args.dry_run:
        return
    study, _ = bracket(study, args.cores)
    path = build(study, args.cores)
    write_card(study, path)


def write_card(study: MeasureStudy, path: Path) -> None:
    """card.md, card.json and the figure beside the study's configuration; the card in the terminal."""
    import json

    import pandas as pd

    from capacity.measure.card import as_markdown, make_card
    from capacity.measure.figure import plot_card
    from capacity.plan.runs import table_runs
    from capacity.tables.table import read_table

    table = read_table(path)
    runs = pd.DataFrame(table_runs(table.to_dict("records"), RESULTS))
    card = make_card(study, table, runs)
    folder = folder_of(study)
    text = as_markdown(card, shlex.join(["capacity", "measure", *sys.argv[1:]]))
    (folder / "card.md").write_text(text)
    (folder / "card.json").write_text(json.dumps(card.plain(), indent=1) + "\n")
    plot_card(card, folder)
    print(f"\n{text}\n{folder}/card.md, card.json, card.png")
