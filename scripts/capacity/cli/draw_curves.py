"""Loss and learning rate over exposures of a study's runs, as figure and CSV; of those under way as far as they are."""

import sys

from capacity.cli.arguments import config_parser, read_grid
from capacity.errors import UserError
from capacity.jobs.run_loggers import CURVES
from capacity.plan.fixed_paths import RESULTS


def main() -> None:
    """Draw one figure a study."""
    parser = config_parser(__doc__)
    args = parser.parse_args()
    rows = read_grid(args).table.settings["rows"]
    from capacity.figures.training_curves import plot_curves, read_curves  # takes pandas and matplotlib along

    folder, drawn = RESULTS / CURVES, 0
    for study in dict.fromkeys(row["study"] for row in rows):
        curves, missing = read_curves([row for row in rows if row["study"] == study], RESULTS)
        if missing:
            print(f"study {study}: no curve yet of {', '.join(missing)}", file=sys.stderr)
        if len(curves):
            folder.mkdir(parents=True, exist_ok=True)
            plot_curves(curves, study, folder)
            drawn += 1
            print(f"{folder / study}.png, .svg and .csv: {curves['run'].nunique()} runs")
    if not drawn:
        raise UserError(f"{RESULTS}: none of these runs has begun; `make table` trains them")
