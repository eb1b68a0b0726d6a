"""Write the report, one page with all results, from the published table, figures and claims."""

import argparse
import json
from pathlib import Path

from capacity.errors import UserError, fail
from capacity.figures.report_page import read_claims_table, write_report
from capacity.tables.table import read_table

TEMPLATES = Path(__file__).resolve().parents[1] / "report"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), help="the results folder")
    parser.add_argument("--studies", type=Path, required=True, help="JSON file: name -> question and paper")
    parser.add_argument("--claims", type=Path, nargs="*", default=[], help="claims.csv, where claims were judged")
    parser.add_argument("--output", type=Path, required=True, help="the page to write")
    args = parser.parse_args()
    try:
        table = read_table(args.results / "capacity_table.csv")
        claims = read_claims_table(args.claims[0]) if args.claims else None
        studies = json.loads(args.studies.read_text(encoding="utf-8"))
        write_report(table, claims, studies, args.results, TEMPLATES, args.output)
    except UserError as error:
        fail(error)


if __name__ == "__main__":
    main()
