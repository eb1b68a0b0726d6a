"""Hold all committed tables of a scale against the claims: claims.csv, claims.md, figures, and the README's table.

Nothing is trained: verdicts rest on results/reference/<scale>/<study>/capacity_table.csv.
"""

import argparse
from pathlib import Path

import pandas as pd

from capacity.config.claim import read_claims
from capacity.errors import UserError, fail
from capacity.figures.extraction_figure import plot_extraction
from capacity.figures.figure1 import plot_figure_one
from capacity.figures.storage import plot_storage
from capacity.figures.studies import plot_study
from capacity.tables.claims import as_markdown, judge
from capacity.tables.reference import read_tables
from capacity.tables.table import write_table

BEGIN, END = "<!-- claims: made by `make reference` -->\n", "<!-- end of claims -->\n"


def into_readme(path: Path, table: str) -> None:
    """Put a table between the marks of the README. Raises UserError where they are not there."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{path}: the marks {BEGIN.strip()} and {END.strip()} are not there")
    path.write_text(f"{before}{BEGIN}{table}{END}{after}", encoding="utf-8")


def main() -> None:
    """Collect one scale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, default=Path("results/reference/laptop"), help="a folder of tables")
    parser.add_argument("--claims", type=Path, default=Path("claims.yaml"))
    parser.add_argument("--readme", type=Path, help="a README whose table of main claims is replaced")
    args = parser.parse_args()
    try:
        claims = read_claims(args.claims)
        table = read_tables(args.reference)
        judged = judge(claims, table, args.reference.name)
        write_table(judged, args.reference / "claims.csv")
        (args.reference / "claims.md").write_text(as_markdown(judged), encoding="utf-8")
        plot_figure_one(table, args.reference)
        for study in table["study"].unique():
            plot_study(table, study, args.reference / study)
            plot_storage(table, study, args.reference / study)
            plot_extraction(table, study, args.reference / study)
        if args.readme:
            main_ones = pd.Series([claim["headline"] for claim in claims])
            into_readme(args.readme, as_markdown(judged[main_ones]))
    except UserError as error:
        fail(error)
    print(judged["verdict"].value_counts().to_string())


if __name__ == "__main__":
    main()
