"""Copy the capacity table to its fixed path, write runs.csv from the manifests, and the table's identity last."""

import argparse
from pathlib import Path

from capacity.artefacts.manifest import verify, write_atomically
from capacity.errors import UserError, fail
from capacity.tables.run_costs import runs_text


def main() -> None:
    """Publish one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="the artefact's manifest.json")
    parser.add_argument("--output", type=Path, required=True, help="where capacity_table.csv goes")
    parser.add_argument("--summary", type=Path, required=True, help="where capacity_summary.csv goes")
    parser.add_argument("--runs", type=Path, required=True, help="where runs.csv goes")
    parser.add_argument("--identity", type=Path, required=True, help="where the table's id goes")
    args = parser.parse_args()
    folder = args.table.parent
    results = folder.parents[1]
    try:
        manifest = verify(folder)
        runs = runs_text(manifest["settings"]["rows"], results)
    except UserError as error:
        fail(error)
    for name, target in (("capacity_table.csv", args.output), ("capacity_summary.csv", args.summary)):
        write_atomically(target, (folder / name).read_text(encoding="utf-8"))
    write_atomically(args.runs, runs)
    write_atomically(args.identity, folder.name + "\n")


if __name__ == "__main__":
    main()
