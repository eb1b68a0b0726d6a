"""Hold the committed tables of each scale against the claims: claims.csv, claims.md, figures; then scales side by side.

Nothing is trained: verdicts rest on results/reference/<scale>/<study>/capacity_table.csv. The verdict of record is
that of the largest scale which was run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from capacity.cli.arguments import REFERENCE, plain_parser
from capacity.config.claim import read_claims
from capacity.config.load import load_config
from capacity.config.study import Study
from capacity.errors import UserError
from capacity.figures.claims_figure import plot_claims
from capacity.figures.extraction_figure import plot_extraction
from capacity.figures.figure1 import plot_figure_one
from capacity.figures.law_figure import plot_law
from capacity.figures.storage import plot_storage
from capacity.figures.studies import plot_study
from capacity.measure.gallery import gallery_markdown, plot_gallery, read_gallery
from capacity.plan.fixed_paths import CONFIG_FILE
from capacity.tables.claims import as_markdown, judge
from capacity.tables.claims_by_scale import counts_text, heads_in_order_of_size, of_record, scales_markdown
from capacity.tables.reference import read_tables, scales_of
from capacity.tables.scaling_law import FittedLaw
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


def collect(
    folder: Path, claims: list[dict[str, Any]], studies: Mapping[str, Study]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write the verdicts and figures of one scale; returns its tables and its verdicts."""
    table = read_tables(folder)
    judged = judge(claims, table, folder.name)
    write_table(judged, folder / "claims.csv")
    (folder / "claims.md").write_text(as_markdown(judged), encoding="utf-8")
    plot_figure_one(table, folder)
    for study in table["study"].unique():
        draw_study(table, study, folder / study, studies.get(study))
    return table, judged


def draw_study(table: pd.DataFrame, name: str, folder: Path, study: Study | None) -> None:
    """Draw the figures of a study, under its question and as its section says, where the configuration has it."""
    question = study.question if study else ""
    plot_study(table, name, folder, question, study.figure.model_dump() if study and study.figure else None)
    plot_storage(table, name, folder, question)
    plot_extraction(table, name, folder, question)


def collect_gallery(folder: Path) -> None:
    """Rank the cards of measures in a folder, in gallery.md and a figure; nothing where there is none."""
    table = read_gallery(folder)
    if not table.empty:
        (folder / "gallery.md").write_text(gallery_markdown(table), encoding="utf-8")
        plot_gallery(table, folder)


def read_law(path: Path) -> FittedLaw | None:
    """The fitted law of a reference; None where none was fitted yet."""
    return FittedLaw.read(path) if path.is_file() else None


def main() -> None:
    """Collect every scale, then all of them side by side."""
    parser = plain_parser(__doc__)
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="a folder of scales")
    parser.add_argument("--claims", type=Path, default=Path("claims.yaml"))
    parser.add_argument("--readme", type=Path, help="a README whose table of main claims is replaced")
    parser.add_argument("--configfile", type=Path, default=CONFIG_FILE, help="what the studies ask")
    args = parser.parse_args()
    studies = load_config([args.configfile]).studies
    claims = read_claims(args.claims)
    scales = scales_of(args.reference)
    collected = {folder.name: collect(folder, claims, studies) for folder in scales}
    tables = {scale: table for scale, (table, _) in collected.items()}
    judged = {scale: verdicts for scale, (_, verdicts) in collected.items()}
    heads = heads_in_order_of_size(tables, judged)
    record = of_record(judged, heads)
    everything = pd.Series(True, index=range(len(claims)))
    counts = counts_text(record)
    text = f"{scales_markdown(judged, heads, everything)}\n{counts}"
    (args.reference / "claims.md").write_text(text, encoding="utf-8")
    everywhere = pd.concat(tables.values(), ignore_index=True)
    plot_law(everywhere, read_law(args.reference / "law.json"), args.reference)
    plot_figure_one(everywhere, args.reference, "all-studies")
    plot_claims(record, args.reference)
    collect_gallery(args.reference / "gallery")
    if args.readme:
        headlines = pd.Series([claim["headline"] for claim in claims])
        into_readme(args.readme, f"{scales_markdown(judged, heads, headlines)}\n{counts}")
    print(record["verdict"].value_counts().to_string())
