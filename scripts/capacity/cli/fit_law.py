"""Fit the law R(exposures, P, R_max, scheme) to the reference tables of all scales, check it on sizes it has not seen.

Takes the best learning rate of each cell. Each size in turn is held out: the law of the others says what it stores.
"""

import itertools
from dataclasses import replace
from pathlib import Path

import pandas as pd

from capacity.cli.arguments import REFERENCE, plain_parser
from capacity.errors import UserError
from capacity.tables.reference import read_tables, scales_of
from capacity.tables.scaling_law import CURVE, FEWEST_SIZES, SIZE, FittedLaw, each_size_held_out, fit_law

STUDIES = [
    "base-law",
    "base-law-seeds",
    "base-law-more-seeds",
    "base-law-short",
    "exposures",
    "sizes",
    "ladder",
    "ladder-top",
    "ladder-top-short",
]


def fitted_rows(reference: Path, studies: list[str]) -> pd.DataFrame:
    """The rows of some studies at every scale that counted: of the best learning rate, each checkpoint once.

    Raises UserError for a study that no scale has.
    """
    tables = pd.concat([read_tables(scale) for scale in scales_of(reference)], ignore_index=True)
    for study in studies:
        if studies is not STUDIES and study not in (known := sorted(tables["study"].unique())):
            raise UserError(f"--studies: {study!r} is none of {', '.join(known)}")
    counted = tables[tables["study"].isin(studies) & tables["chosen"]]
    return counted.drop_duplicates(["checkpoint_id", "scheme"])


def as_text(fitted: FittedLaw) -> str:
    """The parameters with their intervals over resampled seeds."""
    lines = [f"{fitted.rows} models, {fitted.seeds} seeds; 95 % over seeds alone, not over laws of other forms"]
    for name in CURVE | SIZE:
        low, high = fitted.interval(lambda law, name=name: getattr(law, name))
        lines.append(f"{name:<8} {getattr(fitted.law, name):8.3g}   95 % {low:.3g} to {high:.3g}")
    for exposures, P in itertools.product((100, 1000), fitted.P_range):
        low, high = fitted.interval(lambda law, E=exposures, P=P: law.capacity(E, P))
        capacity = fitted.law.capacity(exposures, P)
        lines.append(f"C({exposures}, {P:,}) {capacity:.3g}   95 % {low:.3g} to {high:.3g}")
    for scheme in fitted.law.damage:
        for exposures in (100, 1000):
            low, high = fitted.interval(lambda law, E=exposures, s=scheme: law.share(E, s), scheme)
            left = fitted.law.share(exposures, scheme)
            lines.append(f"{scheme} leaves {left:.3g} of R after {exposures} exposures   95 % {low:.3g} to {high:.3g}")
    return "\n".join(lines)


def main() -> None:
    """Fit, check, write."""
    parser = plain_parser(__doc__)
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="a folder of scales")
    parser.add_argument("--studies", nargs="+", default=STUDIES, help="what to fit")
    parser.add_argument("--output", type=Path, help="default: law.json in the reference folder")
    args = parser.parse_args()
    table = fitted_rows(args.reference, args.studies)
    fitted = fit_law(table)
    print(as_text(fitted))
    if table["P"].nunique() > FEWEST_SIZES:
        unseen = each_size_held_out(table)
        print("\neach size by the law of the others:")
        print(unseen.to_string(index=False, float_format="{:.3f}".format))
        error = float(unseen["relative_error"].abs().median())
        print(f"median error of a cell: {error:.1%}")
        fitted = replace(fitted, unseen_error=error)
    fitted.write(args.output or args.reference / "law.json")
