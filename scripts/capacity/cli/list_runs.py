"""One row a run of the present configuration: state, R, seconds, when, by which code."""

import csv
import json
import sys
from collections import Counter
from typing import Any

from capacity.cli.arguments import config_parser, read_grid
from capacity.plan.fixed_paths import RESULTS
from capacity.plan.run_states import run_states
from capacity.plan.survey import hold_against
from capacity.tables.run_costs import RUN_FIELDS

SHORT = ("study", "name", "state", "stage", "R", "seconds", "ended", "commit", "note")
FIELDS = ("name", "state", "stage", "R", *RUN_FIELDS, "note")


def cells(run: dict[str, Any]) -> list[str]:
    """The main columns of a row as short text."""
    shown = dict(run, R=None if run["R"] is None else f"{run['R']:.3f}", commit=(run.get("commit") or "")[:9])
    return ["" if shown.get(name) is None else str(shown[name]) for name in SHORT]


def as_table(runs: list[dict[str, Any]]) -> str:
    """A table for the terminal, and a count of states."""
    rows = [list(SHORT), *map(cells, runs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(SHORT))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    counts = ", ".join(f"{number} {state}" for state, number in Counter(run["state"] for run in runs).items())
    return "\n".join([*lines, "", counts])


def as_markdown(runs: list[dict[str, Any]]) -> str:
    """A Markdown table of the main columns."""
    head = f"| {' | '.join(SHORT)} |\n|{'---|' * len(SHORT)}"
    return "\n".join([head, *(f"| {' | '.join(cells(run))} |" for run in runs)])


def main() -> None:
    """Print the runs."""
    parser = config_parser(__doc__)
    parser.add_argument("--format", choices=("table", "csv", "json", "markdown"), default="table")
    args = parser.parse_args()
    grid = read_grid(args)
    runs = run_states(hold_against(grid, RESULTS), RESULTS)
    if args.format == "csv":
        writer = csv.DictWriter(sys.stdout, FIELDS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(runs)
    elif args.format == "json":
        print(json.dumps(runs, indent=1))
    else:
        print(as_table(runs) if args.format == "table" else as_markdown(runs))
