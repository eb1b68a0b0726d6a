"""Show a dataset of the configuration: texts with what is scored, bits on offer, tokens, disk and memory."""

import os
import sys

from capacity.cli.arguments import config_parser, natural, read_config
from capacity.config.dataset import BioR
from capacity.config.experiment import Config
from capacity.plan.preview import account_lines, labelled_texts, rewritten_sample, sample_world, size_lines
from capacity.plan.study_runs import known
from capacity.plan.world_specs import counted, tokenizer_settings, world_settings
from capacity.tokenizers.spec import keeps_all_rows
from capacity.tokenizers.tokenization import build_tokenizer
from capacity.world.text_renderer import renderer_of


def chosen(config: Config, dataset: str, tokenizer: str | None) -> tuple[str, list[str]]:
    """The tokenizer and the regimes that the studies use with a dataset. Raises UserError for unknown names."""
    known(config.datasets, dataset, "dataset", "datasets")
    grids = [part for study in config.studies.values() for part in study.parts() if dataset in (part.datasets or [])]
    used = [name for part in grids for name in part.tokenizers or []]
    tokenizer = tokenizer or next(iter([*used, *config.tokenizers]), "")
    known(config.tokenizers, tokenizer, "tokenizer", "tokenizers")
    return tokenizer, list(dict.fromkeys(regime for part in grids for regime in part.regimes or []))


def main() -> None:
    """Print the preview."""
    parser = config_parser(__doc__)
    parser.add_argument("dataset", help="a name from `datasets`")
    parser.add_argument("--tokenizer", help="a name from `tokenizers`; else that of a study with this dataset")
    parser.add_argument("--count", type=natural, default=3, help="biographies to show")
    parser.add_argument("--seed", type=natural, default=1, help="of the world")
    args = parser.parse_args()
    config = read_config(args)
    name, regimes = chosen(config, args.dataset, args.tokenizer)
    dataset = counted(config.datasets[args.dataset], args.dataset)
    settings = world_settings(dataset, args.seed)
    world = sample_world(settings)
    if isinstance(dataset, BioR):
        world = rewritten_sample(world, dataset)
    how = tokenizer_settings(config.tokenizers[name])
    tokenizer = build_tokenizer(how, world)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    texts = labelled_texts(world, tokenizer, args.count, colour)
    used = {each: known(config.regimes, each, "studies: regimes", "regimes").exposures for each in regimes}
    renderer = renderer_of(world, tokenizer, keeps_all_rows(how))
    sizes = size_lines(world, renderer, settings.N, used)
    print(f"{args.dataset}, {name} tokens, seed {args.seed}; what is scored is marked\n")
    print("\n".join(text.strip() for text in texts))
    print("", *account_lines(world, settings.N), "", *sizes, sep="\n")
