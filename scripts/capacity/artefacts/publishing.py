"""Copies of an artefact's files under fixed paths."""

import argparse
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from capacity.artefacts.identity import file_digest
from capacity.artefacts.manifest import MANIFEST, read_manifest, verify, write_atomically
from capacity.errors import UserError, fail

Told = Callable[[dict[str, Any], Path], str]  # of a manifest and the results folder, the text of a file


def publish(description: str | None, sole: bool = False, told: Mapping[str, Told] | None = None) -> None:
    """The command line of a rule that publishes: copy files of one artefact to their fixed paths, its identity last.

    sole: copies that other artefacts of the stage left in the same folder go. told: files of these names are no
    artefact's; they are written from the artefact's manifest.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--artefact", type=Path, required=True, help="the artefact's manifest.json")
    parser.add_argument("--identity", type=Path, required=True, help="where the artefact's id goes")
    parser.add_argument("targets", type=Path, nargs="+", help="where the files of these names go")
    args = parser.parse_args()
    folder, results = args.artefact.parent, args.artefact.parents[2]
    try:
        manifest = verify(folder)
        texts = {name: text(manifest, results) for name, text in (told or {}).items()}
    except UserError as error:
        fail(error)
    for target in args.targets:
        if target.name in texts:
            write_atomically(target, texts[target.name])
            continue
        scratch = target.with_name(f".{target.name}.new")
        shutil.copyfile(folder / target.name, scratch)
        scratch.replace(target)
    if sole:
        for path in stale_copies(folder, args.identity.parent):
            path.unlink()
    write_atomically(args.identity, folder.name + "\n")


def stale_copies(folder: Path, place: Path) -> list[Path]:
    """Files in a place that are byte for byte of another artefact beside this one, under a name that this one has not.

    What a person put there, or changed, matches no manifest and is none of them.
    """
    mine = read_manifest(folder)["outputs"]
    others = (manifest.parent for manifest in folder.parent.glob(f"*/{MANIFEST}"))
    return sorted({path for other in others for path in copies(other, place) if path.name not in mine})


def copies(folder: Path, place: Path) -> set[Path]:
    """Files that stand in a place itself and are byte for byte those of an artefact, by its manifest.

    None of a damaged artefact, and none that a manifest leads to elsewhere.
    """
    try:
        outputs = read_manifest(folder)["outputs"]
        digests = {place / name: entry["sha256"] for name, entry in outputs.items() if Path(name).name == name}
    except (UserError, KeyError, TypeError, AttributeError):  # damaged, or no job's
        return set()
    return {path for path, sha256 in digests.items() if path.is_file() and file_digest(path) == sha256}
