"""List, and remove when told to, the artefacts that the present configuration does not reach.

They are results of other configurations and of older code: going back to those makes them useful again.
"""

import argparse
import sys
from collections.abc import Callable

from capacity.artefacts.making import fail
from capacity.cli.arguments import RESULTS, add_config_options, read_grid
from capacity.errors import UserError
from capacity.plan.orphans import Orphan, damaged, remove, unreached
from capacity.plan.survey import hold_against, lock_run


def listing(orphans: list[Orphan]) -> str:
    """One line an orphan, and the sum."""
    lines = [f"{orphan.bytes / 1e6:10.2f} MB  {orphan.kind:20s} {orphan.path}" for orphan in orphans]
    total = sum(orphan.bytes for orphan in orphans)
    return "\n".join([*lines, f"{total / 1e6:10.2f} MB  in {len(orphans)} folders"])


def confirmed(ask: Callable[[str], str] = input) -> bool:
    """Whether the person at the terminal says yes; nobody there is a no."""
    if not sys.stdin.isatty():
        return False
    return ask("Remove them? [y/N] ").strip().lower() in ("y", "yes")


def main() -> None:
    """List or remove."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_options(parser)
    parser.add_argument("--list", action="store_true", help="list only")
    parser.add_argument("--damaged", action="store_true", help="damaged artefacts and what followed from them instead")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    args = parser.parse_args()
    try:
        plan = hold_against(read_grid(args), RESULTS)
    except UserError as error:
        fail(error)
    orphans = (damaged if args.damaged else unreached)(plan, RESULTS)
    if not orphans:
        print("nothing is damaged" if args.damaged else "no orphans: the present configuration reaches everything")
        return
    print(listing(orphans))
    if args.list:
        return
    if args.yes or confirmed():
        lock = lock_run(RESULTS)  # a run that is under way may need what its configuration reaches
        for orphan in orphans:
            remove(orphan)
        lock.close()
        print(f"removed {len(orphans)} folders")
    else:
        print("nothing removed; say --yes to remove them without a question")


if __name__ == "__main__":
    main()
