"""Fit the law R(exposures, R_max, scheme) to reference tables, check it on tables it has not seen, write law.json.

Fits on one model's studies and is held against others: by default base-law-seeds and exposures against sizes.
"""

from pathlib import Path

from capacity.cli.arguments import plain_parser
from capacity.tables.reference import read_tables
from capacity.tables.scaling_law import FittedLaw, fit_law, held_out


def as_text(fitted: FittedLaw) -> str:
    """The parameters with their intervals over resampled seeds."""
    lines = [f"{fitted.rows} models, {fitted.seeds} seeds"]
    for name in ("c", "E_half", "gamma", "k"):
        low, high = fitted.interval(lambda law, name=name: getattr(law, name))
        lines.append(f"{name:<8} {getattr(fitted.law, name):8.3g}   95 % {low:.3g} to {high:.3g}")
    for exposures in (100, 1000):
        low, high = fitted.interval(lambda law, E=exposures: law.capacity(E))
        name = f"C({exposures})"
        lines.append(f"{name:<8} {fitted.law.capacity(exposures):8.3g}   95 % {low:.3g} to {high:.3g}")
    for scheme in fitted.law.damage:
        for exposures in (100, 1000):
            low, high = fitted.interval(lambda law, E=exposures, s=scheme: law.share(E, s))
            left = fitted.law.share(exposures, scheme)
            lines.append(f"{scheme} leaves {left:.3g} of R after {exposures} exposures   95 % {low:.3g} to {high:.3g}")
    return "\n".join(lines)


def main() -> None:
    """Fit, check, write."""
    parser = plain_parser(__doc__)
    parser.add_argument("--reference", type=Path, default=Path("results/reference/laptop"), help="a folder of tables")
    parser.add_argument("--studies", nargs="+", default=["base-law-seeds", "exposures"], help="what to fit")
    parser.add_argument("--held-out", nargs="+", default=["sizes"], help="what to check it on")
    parser.add_argument("--output", type=Path, help="default: law.json in the reference folder")
    args = parser.parse_args()
    table = read_tables(args.reference)
    fitted = fit_law(table[table["study"].isin(args.studies)])
    print(as_text(fitted))
    unseen = held_out(fitted, table[table["study"].isin(args.held_out)])
    print("\nheld out:")
    print(unseen.to_string(index=False, float_format="{:.3f}".format))
    fitted.write(args.output or args.reference / "law.json")
