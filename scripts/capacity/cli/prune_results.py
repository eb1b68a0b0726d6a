"""List, and remove when asked to, the artefacts that no study at any scale of the configuration reaches.

Reached is what any of `studies` needs under config.yaml alone, under each file of scales/, at each of `scales`, and
with the given files and values laid over them, and what the measures and mixes that lie in results rest on. What else
there is are results of other configurations and of older code: going back to those makes them useful again.
"""

import argparse
import sys
from pathlib import Path

from capacity.cli.arguments import config_files, config_parser, config_values, read_grid
from capacity.config.load import load_config
from capacity.errors import UserError
from capacity.plan.fixed_paths import CONFIG_FILE, RESULTS
from capacity.plan.grid import resolve
from capacity.plan.orphans import Orphan, damaged, folder_bytes, remove, unreached
from capacity.plan.reachable import artefacts, configurations, reached_by
from capacity.plan.run_lock import lock_run
from capacity.plan.survey import hold_against

SCALES = Path("scales")
OWN_CONFIGS = ("measures", "mixes")  # below results: of the commands that lay a study of theirs over config.yaml


def listing(orphans: list[Orphan]) -> str:
    """One line an orphan, and the sum."""
    lines = [f"{orphan.bytes / 1e6:10.2f} MB  {orphan.kind:20s} {orphan.path}" for orphan in orphans]
    total = sum(orphan.bytes for orphan in orphans)
    return "\n".join([*lines, f"{total / 1e6:10.2f} MB  in {len(orphans)} places"])


def kept(why: dict[str, str]) -> str:
    """One line for each study that reaches something: how much, and which study; what several reach counts once."""
    sizes: dict[str, list[int]] = {}
    for name in artefacts(RESULTS):
        if name in why:
            sizes.setdefault(why[name], []).append(folder_bytes(RESULTS / name))
    studies = [study for study in dict.fromkeys(why.values()) if study in sizes]
    return "\n".join(f"{sum(sizes[s]) / 1e6:10.2f} MB  kept: {len(sizes[s])} folders of {s}" for s in studies)


def studies_that_reach(args: argparse.Namespace) -> dict[str, str]:
    """Artefact to the study that reaches it, of every configuration. Raises UserError where one is wrong."""
    read_grid(args)  # what is asked for must be right before anything is said to be of no use
    values = {key: value for key, value in config_values(args).items() if key != "study"}
    reached = reached_by(configurations(config_files(args), values, sorted(SCALES.glob("*.yaml"))), RESULTS)
    for path in sorted(file for folder in OWN_CONFIGS for file in RESULTS.glob(f"{folder}/*/config.yaml")):
        try:
            reached.add(resolve(load_config([CONFIG_FILE, path])), f"{path.parent}")
        except UserError as error:
            print(f"left out, since it is no configuration: {path} ({error})", file=sys.stderr)
    reached.add_selections(RESULTS)
    return reached.why


def reached(args: argparse.Namespace) -> dict[str, str]:
    """The same, where nothing is to be removed unless all is right. Raises UserError."""
    try:
        return studies_that_reach(args)
    except UserError as error:
        raise UserError(f"{error}; nothing is removed until that is mended") from None


def found(args: argparse.Namespace, why: dict[str, str] | None) -> list[Orphan]:
    """What could be removed now. why: what is reached; None: what is damaged is asked for."""
    if why is None:
        return damaged(hold_against(read_grid(args), RESULTS), RESULTS)
    return unreached(why, RESULTS)


def confirmed() -> bool:
    """Whether the person at the terminal says yes; nobody there is a no."""
    if not sys.stdin.isatty():
        return False
    return input("Remove them? [y/N] ").strip().lower() in ("y", "yes")


def main() -> None:
    """List or remove."""
    parser = config_parser(__doc__)
    parser.add_argument("--list", action="store_true", help="list only")
    parser.add_argument("--damaged", action="store_true", help="damaged artefacts and what followed from them instead")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    args = parser.parse_args()
    why = None if args.damaged else reached(args)
    orphans = found(args, why)
    if why is not None:
        print(kept(why) or "kept: nothing is there that the configuration reaches")
    if not orphans:
        print("nothing is damaged" if args.damaged else "no orphans: the configuration reaches everything")
        return
    print(listing(orphans))
    if args.list:
        return
    if args.yes or confirmed():
        lock = lock_run(RESULTS)  # a run that is under way may need what its configuration reaches
        still = {orphan.path for orphan in found(args, why)}  # a run may have ended since the question
        gone = [orphan for orphan in orphans if orphan.path in still]
        for orphan in gone:
            remove(orphan)
        lock.close()
        print(f"removed {len(gone)} folders and files")
        if len(gone) < len(orphans):
            print(f"{len(orphans) - len(gone)} are kept: they were made or used since they were listed")
    else:
        print("nothing removed; say --yes to remove them without a question")
