"""How much does a model remember beside a GPT-2 of the same size? Trains both, prints a card.

MODEL is a factory in a file of this folder (nets/mine.py:make), the configuration of any causal LM of transformers as
JSON or YAML ('{model_type: mamba, hidden_size: 16, num_hidden_layers: 2}'), or a model of config.yaml.

Both learn the same worlds in the same order, with 100 exposures at three learning rates, more where the best one is at
the end of the list, and with 1000 exposures at the best of those. All are ordinary artefacts of this project.
"""

import argparse
import math
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from capacity.cli.arguments import plain_parser
from capacity.cli.measuring import add_options, candidate, check_counts, name_of, seconds_of, timed, write_files
from capacity.config.load import check, load_config
from capacity.config.model import Model
from capacity.config.regime import Regime
from capacity.errors import UserError
from capacity.measure.baseline import TOLERANCE, equal_baseline, size_of
from capacity.measure.choice import AskedMeasure, keep_choice
from capacity.measure.pair import BASELINE, CANDIDATE, SCHEMES, MeasureStudy
from capacity.measure.recipe import LEAST_SEEDS, OFFERED, RECIPES, Recipe, recipe_for
from capacity.measure.running import fit_to_budget, folder_of, refuse_other_models, train
from capacity.plan.fixed_paths import CONFIG_FILE, RESULTS


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = plain_parser(__doc__)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--baseline", help="a model of config.yaml instead of a GPT-2 of equal size")
    optimizers = get_args(Regime.model_fields["optimizer"].annotation)
    parser.add_argument("--optimizer", choices=optimizers, help="of the candidate's training, as in config.yaml")
    parser.add_argument(
        "--quantizer", action="append", default=[], help="a scheme of config.yaml, besides int8 and int4"
    )
    parser.add_argument("--extraction", help="an extraction of config.yaml: how much of it can be asked for")
    parser.add_argument("--offer", type=float, nargs="+", default=list(OFFERED), help="bits offered a parameter")
    parser.add_argument("--seeds", type=int, help="how many; otherwise as many as the budget allows, three at least")
    add_options(parser, budget="30m")
    return parser


def first_study(args: argparse.Namespace) -> MeasureStudy:
    """What is asked. Raises UserError."""
    config = load_config([CONFIG_FILE])
    section = candidate(args.model, args.settings, config)
    model = check(Model, section, "MODEL")
    recipe = RECIPES[args.scale] if args.scale else RECIPES["9k"]
    recipe = recipe_for(size_of(model, recipe), args.scale)
    P = size_of(model, recipe)
    for offered in args.offer:
        if not math.isfinite(offered):
            raise UserError(f"--offer: {offered}; give bits a parameter, such as 2.6")
    check_counts(args)
    for key, known in (("baseline", config.models), ("extraction", config.extractions)):
        if (asked := getattr(args, key)) and asked not in known:
            raise UserError(f"--{key}: {asked!r} is none of {', '.join(known)}")
    for scheme in args.quantizer:
        if scheme in SCHEMES:
            raise UserError(f"--quantizer: {scheme} is measured in any case; leave it out")
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
        offered=offers(args.offer, recipe, P),
        training=(("optimizer", args.optimizer),) if args.optimizer else (),
        schemes=tuple((name, config.quantizers[name].model_dump(exclude_unset=True)) for name in args.quantizer),
        extraction=args.extraction,
        seconds_a_token=timed(model, recipe),
        **({"against": args.baseline} if args.baseline else {}),
    )


def offers(offered: list[float], recipe: Recipe, P: int) -> tuple[float, ...]:
    """From the least up. Raises UserError for what no world offers, and for two that are the same world."""
    worlds: dict[int, float] = {}
    for each in sorted(offered):
        N = recipe.people(P, each)
        if N in worlds:
            raise UserError(f"--offer: {worlds[N]:g} and {each:g} are the same {N:,} people; give one of them")
        worlds[N] = each
    return tuple(worlds.values())


def warnings(study: MeasureStudy) -> Iterator[str]:
    """What will limit the answer, known before anything is trained."""
    sizes = {label: size_of(check(Model, section, label), study.recipe) for label, section in study.models.items()}
    if abs(sizes[CANDIDATE] / sizes[BASELINE] - 1) > TOLERANCE:
        yield f"the baseline has {sizes[BASELINE]:,} parameters; a ratio of models that differ in size says less"
    if study.models[CANDIDATE] == study.models[BASELINE] and not study.training:
        yield "the candidate is the baseline: the ratio will be 1"
    if study.seeds < LEAST_SEEDS:
        yield f"{study.seeds} seed{'s' if study.seeds > 1 else ''}: no interval; {LEAST_SEEDS} give one"


def main() -> None:
    """Plan, train, print the card."""
    args = parser().parse_args()
    study, budget = first_study(args), seconds_of(args.budget) / 3600
    refuse_other_models(study)
    asked = AskedMeasure.of(study, budget * args.cores, bool(args.seeds))
    study, hours = fit_to_budget(study, budget, args.cores, bool(args.seeds))
    worlds = ", ".join(f"{N:,} ({offered:g} bits a parameter)" for offered, N in study.worlds().items())
    print(
        f"{study.name}: {study.P:,} parameters; people: {worlds}; {study.seeds} seeds; about {60 * hours:.0f} minutes, "
        "longer where a best rate is at an end of those tried"
    )
    for warning in warnings(study):
        print(f"note: {warning}")
    if args.dry_run:
        return
    keep_choice(asked, study, folder_of(study))
    write_card(*train(study, args.cores))


def write_card(study: MeasureStudy, path: Path) -> None:
    """card.md, card.json, figure and rows of the table beside the study's configuration; the card in the terminal."""
    import pandas as pd

    from capacity.measure.card import as_markdown, make_card
    from capacity.measure.figure import plot_card
    from capacity.tables.run_costs import table_runs
    from capacity.tables.table import read_table

    table = read_table(path)
    runs = pd.DataFrame(table_runs(table.to_dict("records"), RESULTS))
    card = make_card(study, table, runs)
    folder = folder_of(study)
    text = as_markdown(card, shlex.join(["capacity", "measure", *sys.argv[1:]]))
    plot_card(card, folder)
    write_files(folder, "card", text, card.plain(), table=path)
