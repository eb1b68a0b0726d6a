"""What the verbs that measure a model have in common: options, the model, the measure's name, the files of a card."""

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from capacity.artefacts.identity import digest
from capacity.config.model import Model
from capacity.config.validation import NAME_PATTERN
from capacity.config.yaml_files import parse_yaml
from capacity.environment import usable_cores
from capacity.errors import UserError
from capacity.measure.recipe import RECIPES, Recipe
from capacity.measure.timing import seconds_a_token
from capacity.models.spec import PaperModel

UNITS = {"m": 60, "h": 3600}
FACTORY = r"(?:\./)?([\w/]+)\.py:(\w+)"
LONGEST_NAME = 32  # a study's is `measure-` and this one, 40 at most
OF_THE_RUN = ("model", "settings", "name", "budget", "cores", "dry_run")  # in `section`, or no part of a study


def add_options(parser: argparse.ArgumentParser, budget: str) -> None:
    """Options of every measure. budget: the default."""
    parser.add_argument("--settings", help="keyword arguments of the factory, JSON or YAML")
    parser.add_argument("--name", help="what to call it; otherwise MODEL and a digest of what is asked")
    parser.add_argument("--scale", choices=RECIPES, help="whose recipe to use; otherwise of the nearest size")
    parser.add_argument("--budget", default=budget, help=f"time that it may take: 30m, 8h (default: {budget})")
    parser.add_argument("--cores", type=int, default=usable_cores())
    parser.add_argument("--dry-run", action="store_true", help="say what it would cost")


def check_counts(args: argparse.Namespace) -> None:
    """Raise UserError where --seeds or --cores is none."""
    for key in ("seeds", "cores"):
        if (number := getattr(args, key)) is not None and number < 1:
            raise UserError(f"--{key}: {number}; give 1 or more")


def candidate(model: str, settings: str | None, config: Any) -> dict[str, Any]:
    """A section of `models`. Raises UserError."""
    if match := re.fullmatch(FACTORY, model):
        keywords = _mapping(settings or "{}", "--settings")
        return {"python": f"{match[1].replace('/', '.')}:{match[2]}", "settings": keywords}
    if settings is not None:
        raise UserError(f"--settings: {settings!r} with {model!r}, which is no file.py:factory and takes none")
    if model in config.models:
        return dict(config.models[model].model_dump(exclude_unset=True))
    if model.lstrip().startswith("{"):
        return {"hf": _mapping(model, "MODEL")}
    raise UserError(
        f"MODEL: {model!r} is no file.py:factory in this folder, no mapping with model_type, and no model of "
        f"config.yaml: {', '.join(config.models)}"
    )


def name_of(args: argparse.Namespace, section: dict[str, Any]) -> str:
    """What a measure is called where it was not said: after its model, and by a digest of all that was asked.

    So two that ask for something else have two names, and the same one has its name again. Raises UserError.
    """
    if args.name:
        if not re.fullmatch(NAME_PATTERN, args.name) or len(args.name) > LONGEST_NAME:
            raise UserError(
                f"--name: {args.name!r}; give up to {LONGEST_NAME} letters, digits, - and _, a letter or digit first"
            )
        return str(args.name)
    asked = {key: value for key, value in vars(args).items() if key not in OF_THE_RUN}
    if match := re.fullmatch(FACTORY, args.model):
        label = match[1].rpartition("/")[2] + ("" if match[2] == "make" else f"-{match[2]}")
    else:
        label = section["hf"]["model_type"] if "hf" in section else args.model
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", label).strip("-_") or "model"
    return f"{plain[: LONGEST_NAME - 9]}-{digest({**asked, 'section': section})[:8]}"


def _mapping(text: str, what: str) -> dict[str, Any]:
    try:
        value = parse_yaml(text)
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


def timed(model: Model, recipe: Recipe) -> float | None:
    """Seconds of a token's training on one core, of a model that is not of the paper; None of another one."""
    settings = model.to_settings()
    if isinstance(settings, PaperModel):
        return None
    return seconds_a_token(settings, recipe)


def write_files(folder: Path, stem: str, text: str, card: dict[str, Any], table: Path) -> None:
    """A card as page and as JSON, and the rows that it rests on, beside its picture; the page in the terminal."""
    (folder / f"{stem}.md").write_text(text, encoding="utf-8")
    (folder / f"{stem}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(table, folder / "rows.csv")
    print(f"\n{text}\n{folder}/{stem}.md, {stem}.json, {stem}.png, rows.csv")
