"""What the commands for people share: a parser, with or without the options that choose the configuration."""

import argparse
from pathlib import Path
from typing import Any

from capacity.config.experiment import Config
from capacity.config.load import load_asked, parse_overrides
from capacity.plan.fixed_paths import CONFIG_FILE, RESULTS
from capacity.plan.grid import Grid, resolve

TABLE, REFERENCE = RESULTS / "capacity_table.csv", RESULTS / "reference"


def plain_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows a module's docstring as it is written."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def natural(text: str) -> int:
    """A whole number from zero up, for an option."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number, 0 or more")
    return int(text)


def config_parser(description: str | None) -> argparse.ArgumentParser:
    """The same with the options that choose the configuration, named as the engine names them."""
    parser = plain_parser(description)
    parser.add_argument(
        "--configfile", type=Path, nargs="+", default=[], help="laid over config.yaml, as for snakemake"
    )
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="laid over both, as for snakemake")
    parser.add_argument("--study", action=_Joined, help="studies to build, separated by commas")
    return parser


class _Joined(argparse.Action):
    """An option whose values add up where it is given several times, with commas between."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, f"{before},{values}" if before else values)


def config_files(args: argparse.Namespace) -> list[Path]:
    """The files that make the configuration, later ones over earlier ones."""
    return [CONFIG_FILE, *args.configfile]


def config_values(args: argparse.Namespace) -> dict[str, str]:
    """The values that are laid over the files, as text."""
    overrides = parse_overrides(args.config)
    return {**overrides, "study": args.study} if args.study else overrides


def read_config(args: argparse.Namespace) -> Config:
    """The configuration that the engine would use with the same options. Raises UserError."""
    return load_asked(config_files(args), config_values(args))


def read_grid(args: argparse.Namespace) -> Grid:
    """The specs of that configuration. Raises UserError."""
    return resolve(read_config(args))
