"""Write a task folder for lm-evaluation-harness: the questions about a dataset's people who are held out.

Then, in an environment that has lm-eval: lm_eval run --model hf --model_args pretrained=results/finetunes/<id>
--tasks <name> --include_path <folder>.
"""

import argparse
import re
from pathlib import Path

from capacity.cli.arguments import config_parser, natural, read_config
from capacity.cli.preview_dataset import chosen
from capacity.config.experiment import Config
from capacity.config.load import check, parse_overrides
from capacity.config.validation import NAME_PATTERN
from capacity.errors import UserError
from capacity.extraction.harness import write_task
from capacity.extraction.spec import QuestionSettings
from capacity.plan.question_settings import check_questions, question_settings
from capacity.plan.study_runs import known
from capacity.plan.world_specs import counted, tokenizer_settings, world_settings
from capacity.tokenizers.tokenization import build_tokenizer
from capacity.world.facts import World, make_world


def parse() -> argparse.Namespace:
    """The command line."""
    parser = config_parser(__doc__)
    parser.add_argument("dataset", help="a name from `datasets`")
    parser.add_argument("--extraction", required=True, help="a name from `extractions`: wordings and held-out people")
    parser.add_argument(
        "--tokenizer",
        help="a name from `tokenizers`, for the length of answers; else what the studies use with the dataset",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the dataset: N=300"
    )
    parser.add_argument("--seed", type=natural, default=1, help="of the world and of the split")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    parser.add_argument("--name", help="of the task; else the dataset's and the extraction's")
    return parser.parse_args()


def world_and_spec(config: Config, args: argparse.Namespace) -> tuple[World, QuestionSettings]:
    """The world, and how it is asked. Raises UserError for unknown names and for datasets that cannot be asked."""
    dataset = known(config.datasets, args.dataset, "dataset", "datasets")
    extraction = known(config.extractions, args.extraction, "--extraction", "extractions")
    values = parse_overrides(args.set, "--set", "names='[16, 16]'")
    dataset = check(type(dataset), {**dataset.model_dump(exclude_unset=True), **values}, "--set")
    settings = world_settings(counted(dataset, args.dataset), args.seed)
    check_questions(extraction, args.extraction, "--extraction", settings, args.dataset)
    return make_world(settings), question_settings(extraction, args.seed)


def main() -> None:
    """Write the task."""
    args = parse()
    name = args.name or f"{args.dataset}-{args.extraction}"
    if not re.fullmatch(NAME_PATTERN, name):
        raise UserError(f"--name: {name!r}; give letters, digits, - and _, a letter or digit first")
    config = read_config(args)
    world, settings = world_and_spec(config, args)
    used, _ = chosen(config, args.dataset, args.tokenizer)
    tokenizer = build_tokenizer(tokenizer_settings(config.tokenizers[used]), world)
    args.output.mkdir(parents=True, exist_ok=True)
    count = write_task(world, tokenizer, settings, name, args.output)
    print(f"{args.output}: {count} questions; lm_eval run --tasks {name} --include_path {args.output}")
