"""Copies of an artefact's files under fixed paths."""

import argparse
import shutil
from pathlib import Path

from capacity.artefacts.making import fail
from capacity.artefacts.manifest import verify, write_atomically
from capacity.errors import UserError


def publish(description: str | None) -> None:
    """The command line of a rule that publishes: copy files of one artefact to their fixed paths, its identity last."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--artefact", type=Path, required=True, help="the artefact's manifest.json")
    parser.add_argument("--identity", type=Path, required=True, help="where the artefact's id goes")
    parser.add_argument("targets", type=Path, nargs="+", help="where the files of these names go")
    args = parser.parse_args()
    folder = args.artefact.parent
    try:
        verify(folder)
    except UserError as error:
        fail(error)
    for target in args.targets:
        scratch = target.with_name(f".{target.name}.new")
        shutil.copyfile(folder / target.name, scratch)
        scratch.replace(target)
    write_atomically(args.identity, folder.name + "\n")
