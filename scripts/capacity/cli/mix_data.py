"""How often must a fact be told among so much junk? Trains a model on the mixes, prints a card with the answer.

MODEL is as `capacity measure` takes it, by default the GPT-2 of the laptop's studies. One world is told 50 to 400
times, alone and among shares of junk: half a million other people in the same words. In each cell four learning rates
are tried. The answer is the number of exposures until half of the bits on offer are kept. --tag asks the same with a
token in front of what is useful, --fewer with half of the facts among the same share of junk.
"""

import argparse
import shlex
import sys
from pathlib import Path

from capacity.cli.arguments import plain_parser
from capacity.cli.measuring import add_options, candidate, check_counts, name_of, seconds_of, timed, write_files
from capacity.config.load import check, load_config
from capacity.config.model import Model
from capacity.errors import UserError
from capacity.measure.baseline import size_of
from capacity.measure.mix import MixStudy, arms_of, mix_recipe
from capacity.measure.recipe import LEAST_SEEDS, RECIPES, recipe_for
from capacity.measure.running import folder_of, hours_of, make_table, refuse_other_models
from capacity.plan.fixed_paths import CONFIG_FILE

SHARES, EXPOSURES = [0.5, 0.875], [50, 100, 200, 400]


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = plain_parser(__doc__)
    parser.add_argument("model", metavar="MODEL", nargs="?", default="gpt2-2-2")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="shares of junk in the text")
    parser.add_argument("--exposures", type=int, nargs="+", default=EXPOSURES, help="how often a fact is told")
    parser.add_argument("--tag", action="store_true", help="also with a token of its own in front of what is useful")
    parser.add_argument("--fewer", action="store_true", help="also with half of the facts among the same share of junk")
    parser.add_argument("--seeds", type=int, default=LEAST_SEEDS)
    add_options(parser, budget="2h")
    return parser


def study_of(args: argparse.Namespace) -> MixStudy:
    """What is asked. Raises UserError."""
    check_counts(args)
    arms = arms_of(args.shares, args.tag, args.fewer)
    if min(args.exposures) < 1 or len(set(args.exposures)) < 2:
        raise UserError(f"--exposures: {' '.join(map(str, args.exposures))}; give two numbers or more, each 1 or more")
    config = load_config([CONFIG_FILE])
    section = candidate(args.model, args.settings, config)
    model = check(Model, section, "MODEL")
    first = mix_recipe(RECIPES[args.scale or "9k"])
    recipe = mix_recipe(recipe_for(size_of(model, first), args.scale))
    return MixStudy(
        name_of(args, section),
        recipe,
        section,
        size_of(model, recipe),
        arms,
        tuple(sorted(set(args.exposures))),
        args.seeds,
        timed(model, recipe),
    )


def main() -> None:
    """Plan, train, print the card."""
    args = parser().parse_args()
    study = study_of(args)
    refuse_other_models(study)
    hours, budget = hours_of(study, args.cores), seconds_of(args.budget) / 3600
    texts = "; ".join(f"{arm} ({study.people(arm):,} people)" for arm in study.arms)
    print(f"{study.name}: {study.P:,} parameters; {texts}; {study.seeds} seeds; about {60 * hours:.0f} minutes")
    if hours > budget:
        raise UserError(
            f"--budget: {args.budget}, and it takes about {60 * hours:.0f} minutes; give more, or fewer cells"
        )
    if args.dry_run:
        return
    write_card(*make_table(study, args.cores))


def write_card(study: MixStudy, path: Path) -> None:
    """mix.md, mix.json, the figure and the table's rows beside the study's configuration; the card in the terminal."""
    from capacity.measure.mix_card import make_mix_card, mix_markdown
    from capacity.measure.mix_figure import plot_mix
    from capacity.tables.table import read_table

    card = make_mix_card(study, read_table(path))
    folder = folder_of(study)
    text = mix_markdown(card, shlex.join(["capacity", "mix", *sys.argv[1:]]))
    plot_mix(card, folder)
    write_files(folder, "mix", text, card.plain(), table=path)
