"""How many parameters a given set of facts needs, by the fitted law, with the paper's rule beside it.

FACTS is a number of bits (1e6, 14e9) or the name of a dataset of config.yaml.
"""

import argparse
from pathlib import Path

from capacity.artefacts.making import fail
from capacity.config.load import load_config
from capacity.errors import UserError
from capacity.tables.bits import bits_offered
from capacity.tables.scaling_law import FULL_PRECISION, FittedLaw
from capacity.world import make_world

PAPER = {1000: 1.8, 100: 1.0}  # bits a parameter: R = R_max holds up to 1.8 (Result 1); a peak of at least 1 (Result 4)


def facts_in_bits(facts: str) -> float:
    """Bits of a dataset of config.yaml, or the number itself. Raises UserError."""
    try:
        bits = float(facts)
    except ValueError:
        datasets = load_config([Path("config.yaml")]).datasets
        if facts not in datasets:
            raise UserError(f"facts: {facts!r} is neither a number of bits nor one of {', '.join(datasets)}") from None
        dataset = datasets[facts]
        if dataset.N is None:
            raise UserError(f"facts: the dataset {facts} states no N; give it, or the number of bits") from None
        return bits_offered(dataset.N, make_world({**dataset.model_dump(), "seed": 1}).account)
    if not 0 < bits < float("inf"):
        raise UserError(f"facts: {facts} bits; give a positive number")
    return bits


def main() -> None:
    """Print the size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", required=True, help="bits, or the name of a dataset")
    parser.add_argument("--exposures", type=float, required=True, help="how often training shows each fact")
    parser.add_argument("--scheme", default=FULL_PRECISION, help="quantisation scheme that the law knows")
    parser.add_argument("--share", type=float, default=0.95, help="share of the facts that is to be stored")
    parser.add_argument("--law", type=Path, default=Path("results/reference/laptop/law.json"), help="a fitted law")
    args = parser.parse_args()
    try:
        if not 0 < args.share < 1:
            raise UserError(f"share: {args.share}; give a number between 0 and 1")
        if args.exposures <= 0:
            raise UserError(f"exposures: {args.exposures}; give a positive number")
        fitted, bits = FittedLaw.read(args.law), facts_in_bits(args.facts)
        P = fitted.law.parameters_for(bits, args.exposures, args.share, args.scheme)
        low, high = fitted.interval(lambda law: law.parameters_for(bits, args.exposures, args.share, args.scheme))
    except UserError as error:
        fail(error)
    print(f"{bits:.4g} bits, {args.exposures:g} exposures, {100 * args.share:g} % stored, scheme {args.scheme}")
    if float("inf") == P:
        print("no size holds them: the scheme leaves too little")
        return
    print(f"by the law: {P:.3g} parameters, 95 % {low:.3g} to {high:.3g} ({bits / P:.2f} bits offered a parameter)")
    rule = PAPER.get(int(args.exposures))
    if rule and args.scheme == FULL_PRECISION:
        print(f"by the paper's rule of {rule} bits a parameter: {bits / rule:.3g}")
    for name, value, (least, most) in (("P", P, fitted.P_range), ("exposures", args.exposures, fitted.E_range)):
        if not least <= value <= most:
            print(f"extrapolated: the law was fitted to {name} from {least:,} to {most:,}")


if __name__ == "__main__":
    main()
