"""How many parameters a given set of facts needs, by the fitted law, with the paper's rule beside it.

FACTS is a number of bits (1e6, 14e9) or the name of a dataset of the configuration.
"""

import argparse
from pathlib import Path

from capacity.cli.arguments import REFERENCE, config_parser, read_config
from capacity.errors import UserError
from capacity.plan.preview import sample_world
from capacity.plan.world_specs import counted, world_settings
from capacity.tables.bits import bits_offered
from capacity.tables.naming import FULL_PRECISION
from capacity.tables.scaling_law import LARGEST, FittedLaw

PAPER = {1000: 1.8, 100: 1.0}  # bits a parameter: R = R_max holds up to 1.8 (Result 1); a peak of at least 1 (Result 4)


OTHER_FACTS = (
    "of other facts than the law's, so without an interval: it is of invented people in single words (bioD); texts and "
    "own tables, and small ones above all, may need several times as many parameters or exposures"
)


def facts_in_bits(facts: str, args: argparse.Namespace) -> tuple[float, bool]:
    """Bits of a dataset of the configuration, or the number itself; and whether it is of other facts than the law's.

    Raises UserError.
    """
    try:
        bits = float(facts)
    except ValueError:
        datasets = read_config(args).datasets
        if facts not in datasets:
            raise UserError(f"facts: {facts!r} is neither a number of bits nor one of {', '.join(datasets)}") from None
        if getattr(datasets[facts], "junk", None):
            print(
                f"{facts} has junk, which the law does not know: among junk far more exposures or parameters are needed"
            )
        settings = world_settings(counted(datasets[facts], facts), seed=1)
        other = not (settings.kind == "bioD" and settings.wording == "atomic")
        return bits_offered(settings.N, sample_world(settings).account), other
    if not 0 < bits < float("inf"):
        raise UserError(f"facts: {facts} bits; give a positive number")
    return bits, False


def main() -> None:
    """Print the size."""
    parser = config_parser(__doc__)
    parser.add_argument("--facts", required=True, help="bits, or the name of a dataset")
    parser.add_argument("--exposures", type=float, required=True, help="how often training shows each fact")
    parser.add_argument("--scheme", default=FULL_PRECISION, help="quantisation scheme that the law knows")
    parser.add_argument("--share", type=float, default=0.95, help="share of the facts that is to be stored")
    parser.add_argument("--law", type=Path, default=REFERENCE / "law.json", help="a fitted law")
    args = parser.parse_args()
    if not 0 < args.share < 1:
        raise UserError(f"share: {args.share}; give a number between 0 and 1")
    if not 0 < args.exposures < float("inf"):
        raise UserError(f"exposures: {args.exposures}; give a positive number")
    fitted, (bits, other) = FittedLaw.read(args.law), facts_in_bits(args.facts, args)
    if not bits > 0:
        raise UserError(f"facts: {args.facts} offers {bits:g} bits; any model holds them")
    P = fitted.law.parameters_for(bits, args.exposures, args.share, args.scheme)
    low, high = fitted.interval(
        lambda law: law.parameters_for(bits, args.exposures, args.share, args.scheme), args.scheme
    )
    print(f"{bits:.4g} bits, {args.exposures:g} exposures, {100 * args.share:g} % stored, scheme {args.scheme}")
    if float("inf") == P:
        full = args.scheme == FULL_PRECISION
        print(f"no size holds them: {f'more than {LARGEST:g} parameters' if full else 'the scheme leaves too little'}")
        return
    outside = [
        f"extrapolated, so without an interval: the law was fitted to {name} {_range(*known)}{of}"
        for name, value, known, of in (
            ("P", P, fitted.P_range, ""),
            ("exposures", args.exposures, fitted.E_range, " of several sizes"),
            ("bits", bits, fitted.bits_range, ""),
        )
        if not known[0] <= value <= known[1]
    ] + ([OTHER_FACTS] if other else [])  # fmt: skip
    interval = "" if outside else f", 95 % over seeds alone {low:.3g} to {high:.3g}"
    print(f"by the law: {P:.3g} parameters{interval} ({bits / P:.2f} bits offered a parameter)")
    if fitted.unseen_error and not outside:
        print(f"the law itself is off by {fitted.unseen_error:.1%} of R, in the median over sizes that it has not seen")
    rule = PAPER.get(args.exposures)
    if rule and args.scheme == FULL_PRECISION:
        print(f"by the paper's rule of {rule} bits a parameter: {bits / rule:.3g}")
    print("\n".join(outside), end="\n" if outside else "")


def _range(least: int, most: int) -> str:
    return f"from {least:,} to {most:,}" if least < most else f"= {least:,} alone"
