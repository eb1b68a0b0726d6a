"""Hold your own capacity table against the committed reference: cells with intervals, and verdicts on claims.

Exit status 1 where more cells differ than chance explains, or a verdict is another one.
"""

from pathlib import Path

from capacity.cli.arguments import REFERENCE, TABLE, plain_parser
from capacity.config.claim import read_claims
from capacity.errors import UserError
from capacity.tables.compare import OPEN, OTHER, compare_cells, compare_claims, too_many_differ
from capacity.tables.reference import read_tables
from capacity.tables.table import read_table

SHOWN = ["N", "exposures", "model", "setting", "scheme", "R", "R_reference", "difference", "low", "high", "verdict"]


def main() -> None:
    """Print the comparison."""
    parser = plain_parser(__doc__)
    parser.add_argument("table", type=Path, nargs="?", default=TABLE)
    parser.add_argument("--scale", default="laptop", help="the folder of tables below --reference")
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="a folder of scales")
    parser.add_argument("--claims", type=Path, default=Path("claims.yaml"))
    args = parser.parse_args()
    mine, reference = read_table(args.table), read_tables(args.reference / args.scale)
    if mine.empty:
        raise UserError(f"{args.table}: has no rows; `make table` makes some")
    claims = read_claims(args.claims)
    cells = compare_cells(mine, reference)
    if cells.empty:
        raise UserError(
            f"{args.reference / args.scale} has none of the cells of {args.table}, whose studies are "
            f"{', '.join(mine['study'].unique())}; there are tables of {', '.join(reference['study'].unique())}"
        )
    verdicts = compare_claims(claims, mine, reference)
    print(cells[SHOWN].to_string(index=False, float_format="{:.3f}".format))
    print(f"\n{verdicts.to_string(index=False, float_format='{:.3f}'.format)}\n")
    judged, differ = int((cells["verdict"] != OPEN).sum()), int((cells["verdict"] == OTHER).sum())
    changed = verdicts["verdict"] != verdicts["verdict_reference"]
    print(
        f"{differ} of {judged} cells differ, where chance alone gives about {0.05 * judged:.1f}; {len(cells)} compared"
    )
    print(f"{int((~changed).sum())} of {len(verdicts)} verdicts are the same")
    raise SystemExit(1 if changed.any() or too_many_differ(cells) else 0)
