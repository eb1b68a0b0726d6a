"""Print what the capacity table says: two sentences and a row a cell over seeds; with --all a row a variant."""

from pathlib import Path

from capacity.cli.arguments import TABLE, plain_parser
from capacity.errors import UserError, printable
from capacity.tables.digest import digest
from capacity.tables.table import read_table, readable


def main() -> None:
    """Print the table."""
    parser = plain_parser(__doc__)
    parser.add_argument("table", type=Path, nargs="?", default=TABLE)
    parser.add_argument("--all", action="store_true", help="every seed and quantization scheme, wider than 80 columns")
    args = parser.parse_args()
    table = read_table(args.table)
    if table.empty:
        raise UserError(f"{args.table}: has no rows; `make table` makes some")
    print(printable(readable(table) if args.all else digest(table), kept="\n"))
    if others := int((~table["chosen"].astype(bool)).sum()):
        print(f"\n{others} rows of learning rates that were tried and store less are not shown")
    figures = args.table.parent / "figures"
    print(f"\n{args.table} has every column" + (f"; figures are in {figures}" if figures.is_dir() else ""))
    if not args.all:
        print("`capacity table --all` shows every seed and quantization scheme")
