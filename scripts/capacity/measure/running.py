"""A measure carried out: what it costs, its worlds and seeds within a budget, its tables made by the engine."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from capacity.artefacts.manifest import write_atomically
from capacity.artefacts.spec import Spec
from capacity.config.load import load_config
from capacity.config.yaml_files import parse_yaml, read_yaml
from capacity.errors import UserError
from capacity.measure.choice import AskedMeasure, chosen_before
from capacity.measure.diverged import diverged
from capacity.measure.pair import MOST_RATES, MeasureStudy
from capacity.measure.recipe import SHORT
from capacity.models.spec import PaperModel
from capacity.plan.estimates import STARTUP_SECONDS, training_tokens
from capacity.plan.fixed_paths import CONFIG_FILE, RESULTS
from capacity.plan.forecast import Basis, forecast
from capacity.plan.grid import Grid, resolve
from capacity.plan.survey import hold_against
from capacity.rewriting.spec import read_dataset
from capacity.tables.naming import FULL_PRECISION
from capacity.training.spec import TrainingSettings

MOST_SEEDS = 8


class Overlaid(Protocol):
    """A study of a command, laid over config.yaml. folder: below results/. whole: with all that it will train."""

    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> str: ...
    @property
    def seconds_a_token(self) -> float | None: ...
    def config(self) -> dict[str, Any]: ...
    def whole(self) -> Self: ...
    def without(self, lost: set[tuple[str, float]]) -> Self: ...


S = TypeVar("S", bound=Overlaid)


def folder_of(study: Overlaid) -> Path:
    """Where its configuration and its card lie."""
    return RESULTS / study.folder / study.name


def grid_of(study: Overlaid) -> Grid:
    """The specs of a study, laid over config.yaml. Nothing is written."""
    path = config_file(study)
    return resolve(load_config([CONFIG_FILE], unwritten=(str(path), parse_yaml(_text_of(study)))))


def hours_of(study: Overlaid, cores: int) -> float:
    """About how long the whole of it would take from here."""
    grid = grid_of(study.whole())
    answer = forecast(hold_against(grid, RESULTS), RESULTS)
    for job in answer.jobs:
        if study.seconds_a_token is not None and job.cost.P is not None and job.cost.basis == Basis.ASSUMED:
            job.cost.seconds = _timed(grid.specs[job.name], grid, study.seconds_a_token) or job.cost.seconds
    total = answer.total()
    return float(total["core_seconds"] / cores + total["gpu_seconds"]) / 3600


def _timed(checkpoint: Spec, grid: Grid, seconds_a_token: float) -> float | None:
    """Seconds of a training of the model that was timed; None of another one."""
    training = TrainingSettings.read(checkpoint.settings)
    if isinstance(training.model, PaperModel) or training.hardware.accelerator != "cpu":
        return None
    dataset = read_dataset(grid.specs[str(checkpoint.parents["dataset"])].settings)
    return STARTUP_SECONDS + seconds_a_token * training_tokens(dataset, training.regime)


def fit_to_budget(study: MeasureStudy, budget: float, cores: int, seeds_given: bool) -> tuple[MeasureStudy, float]:
    """With as many worlds and seeds as the budget of hours allows, or allowed when the same was asked before.

    Raises UserError where the least is too long.
    """
    before = chosen_before(AskedMeasure.of(study, budget * cores, seeds_given), study, folder_of(study))
    if before:
        return before, hours_of(before, cores)
    hours = hours_of(study, cores)
    while hours > budget and len(study.offered) > 1:
        left_out = study.offered[-1] if len(study.offered) > 2 else study.offered[0]
        print(f"{hours:.1f} hours are more than the budget: {left_out:g} bits a parameter are left out")
        offered = tuple(each for each in study.offered if each != left_out)
        study = replace(study, offered=offered, left_out=(*study.left_out, left_out))
        hours = hours_of(study, cores)
    if hours > budget:
        raise UserError(
            f"--budget: {budget:.2g} hours; the least of it takes about {hours:.1f}; give more, or more cores"
        )
    return (study, hours) if seeds_given else _with_more_seeds(study, hours, budget, cores)


def _with_more_seeds(study: MeasureStudy, hours: float, budget: float, cores: int) -> tuple[MeasureStudy, float]:
    """With as many seeds as fit; each number is planned by itself, since what is made already costs nothing."""
    while study.seeds < MOST_SEEDS:
        more = replace(study, seeds=study.seeds + 1)
        longer = hours_of(more, cores)
        if longer > budget:
            break
        study, hours = more, longer
    return study, hours


def config_file(study: Overlaid) -> Path:
    """What is laid over config.yaml, as JSON: YAML in which text is quoted, so that none becomes a number."""
    return folder_of(study) / "config.yaml"


def refuse_other_models(study: Overlaid) -> None:
    """Refuse a name that a study of other models has. Raises UserError."""
    path, models = config_file(study), parse_yaml(_text_of(study))["models"]
    if path.is_file() and read_yaml(path).get("models") != models:
        raise UserError(
            f"--name: {study.name!r} is the name of another one already, of other models; give another name, "
            f"or remove {path.parent}"
        )


def write_config(study: Overlaid) -> Path:
    """Put it where the engine is told to find it."""
    path = config_file(study)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _text_of(study))
    return path


def _text_of(study: Overlaid) -> str:
    return json.dumps(study.config(), indent=1, ensure_ascii=False) + "\n"


def build(study: Overlaid, cores: int) -> Path:
    """Its table, made by the engine. Raises SystemExit where the engine does not succeed."""
    path = write_config(study)
    grid = resolve(load_config([CONFIG_FILE, path]))
    table = RESULTS / grid.table.name / "capacity_table.csv"
    quiet = ["--logger", "capacity", "--quiet", "rules", "host"]
    command = ["snakemake", "--cores", str(cores), *quiet, "--configfile", str(path), "--", str(table)]
    print(shlex.join(command))
    sys.stdout.flush()
    answer = subprocess.run([sys.executable, "-m", *command], check=False)
    if answer.returncode:
        raise SystemExit(answer.returncode)
    return table


def make_table(study: S, cores: int) -> tuple[S, Path]:
    """Its table, without the rates at which a training diverged, now or when the same was trained before.

    Raises UserError where a model has no rate left, SystemExit where the engine does not succeed for another reason.
    """
    while True:
        if lost := diverged(grid_of(study), RESULTS):
            for model, rate in sorted(lost):
                print(f"{model}: diverged at a learning rate of {rate:g}; the others count", file=sys.stderr)
            study = study.without(lost)
        try:
            return study, build(study, cores)
        except SystemExit:
            if not diverged(grid_of(study), RESULTS):
                raise


def train(study: MeasureStudy, cores: int) -> tuple[MeasureStudy, Path]:
    """Trains with few exposures, then with many at each model's best rate; of the rates left where these diverge."""
    while True:
        study, table = make_table(find_best_rates(study, cores), cores)
        if study.best:
            return study, table


def find_best_rates(study: MeasureStudy, cores: int) -> MeasureStudy:
    """Trains with few exposures, at more rates where the best one is at an end; then the best rates are known."""
    from capacity.tables.table import read_table  # pandas

    while True:
        study, path = make_table(study, cores)
        table = read_table(path)
        short = table[(table["exposures"] == SHORT) & (table["scheme"] == FULL_PRECISION)]
        wider = study
        best = {}
        for label, rates in study.rates.items():
            stored = short[short["model"] == f"measure-{label}"].groupby("lr")["R"].mean()
            best[label] = float(stored.idxmax())
            if len(rates) < MOST_RATES:
                for rate in study.next_rates(label, best[label]):
                    wider = wider.with_rate(label, rate)
        if wider == study:
            return replace(study, best=best)
        study = wider
