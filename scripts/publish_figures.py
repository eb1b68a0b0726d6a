"""Copy the figures to their fixed paths, and their identity last."""

import argparse
import shutil
from pathlib import Path

from capacity.artefacts import fail
from capacity.errors import UserError
from capacity.manifest import verify, write_atomically


def main() -> None:
    """Publish one set of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", type=Path, required=True, help="the artefact's manifest.json")
    parser.add_argument("--png", type=Path, required=True, help="where capacity.png goes")
    parser.add_argument("--svg", type=Path, required=True, help="where capacity.svg goes")
    parser.add_argument("--identity", type=Path, required=True, help="where the figures' id goes")
    args = parser.parse_args()
    folder = args.figures.parent
    try:
        verify(folder)
    except UserError as error:
        fail(error)
    for name, target in (("capacity.png", args.png), ("capacity.svg", args.svg)):
        scratch = target.with_name(f".{target.name}.new")
        shutil.copyfile(folder / name, scratch)
        scratch.replace(target)
    write_atomically(args.identity, folder.name + "\n")


if __name__ == "__main__":
    main()
