"""Where one cell of the capacity table comes from, as text and as a picture.

CELL is LINE:COLUMN (the header is line 1), or key=value,...:COLUMN where that fits one row, for example
`12:R` or `study=base-law,N=400,exposures=1000,seed=1,scheme=int8:R`.
"""

from pathlib import Path

from capacity.audit.folder import read_folder
from capacity.audit.lineage import as_text, draw, find_cell, lineage_of
from capacity.audit.run import published_places
from capacity.cli.arguments import config_parser, read_grid
from capacity.errors import UserError, printable
from capacity.plan.fixed_paths import RESULTS


def main() -> None:
    """Print and draw one cell's lineage."""
    parser = config_parser(__doc__)
    parser.add_argument("cell", help="LINE:COLUMN or key=value,...:COLUMN")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to look in (default: results)")
    parser.add_argument("--picture", type=Path, help="an svg or png file (default: audit/lineage.svg in the results)")
    args = parser.parse_args()
    if args.picture and args.picture.suffix not in (".svg", ".png"):
        raise UserError(f"--picture: {args.picture}; give a file that ends in .svg or .png")
    cell = find_cell(args.results / "capacity_table.csv", args.cell)
    lineage = lineage_of(cell, read_folder(args.results, published_places(read_grid(args))))
    print(printable(as_text(lineage), kept="\n"))
    picture = args.picture or args.results / "audit" / "lineage.svg"
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw(lineage, picture)
    print(f"drawn in {picture}")
    if not lineage.is_whole:
        raise SystemExit(1)
