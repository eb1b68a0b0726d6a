"""Print the capacity table as a short text, with where the files are."""

from pathlib import Path

from capacity.cli.arguments import TABLE, plain_parser
from capacity.errors import UserError, printable
from capacity.tables.table import read_table, readable


def main() -> None:
    """Print the table."""
    parser = plain_parser(__doc__)
    parser.add_argument("table", type=Path, nargs="?", default=TABLE)
    args = parser.parse_args()
    table = read_table(args.table)
    if table.empty:
        raise UserError(f"{args.table}: has no rows; `make table` makes some")
    print(printable(readable(table), kept="\n"))
    if others := int((~table["chosen"].astype(bool)).sum()):
        print(f"\n{others} rows of learning rates that were tried and store less are not shown")
    figures = args.table.parent / "figures"
    print(f"\n{args.table} has every column" + (f"; figures are in {figures}" if figures.is_dir() else ""))
