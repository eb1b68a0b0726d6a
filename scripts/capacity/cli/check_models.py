"""Build models that are not of the paper, before any job, and say in one line what is wrong with them.

Reads JSON from standard input: {"models": those to be trained, "quantised": {"model", "schemes"} of those to be
quantised, "asked": those to be fine-tuned on questions, as `capacity.extraction.askable` takes them}. Prints what the
first two count, in a line that begins with "counted: ", as JSON: [[model, parameters without words, parameters a word],
...]. Run by the main process in a process of its own, since it needs torch.
"""

import json
import sys
from contextlib import redirect_stdout
from typing import Any

from capacity.artefacts.identity import canonical_json
from capacity.cli.arguments import plain_parser
from capacity.errors import UserError
from capacity.jobs.startup import lean_imports
from capacity.plan.model_checks import ANSWER

with lean_imports():
    from capacity.models.external_checks import check, count
    from capacity.models.spec import read_external
    from capacity.quantization.scheme_checks import check_schemes
    from capacity.quantization.spec import read_scheme


def check_all(wanted: dict[str, list[dict[str, Any]]]) -> list[tuple[dict[str, Any], float, float]]:
    """Check each model; the models, each with its parameters without words and those a word. Raises UserError."""
    for model in wanted["models"]:
        check(read_external(model))
    for quantised in wanted["quantised"]:
        check_schemes(read_external(quantised["model"]), [read_scheme(scheme) for scheme in quantised["schemes"]])
    if wanted["asked"]:
        with lean_imports():  # peft, a second more
            from capacity.extraction.askable import check_asked
        for asked in wanted["asked"]:
            check_asked(asked)
    models = [*wanted["models"], *(each["model"] for each in wanted["quantised"])]
    distinct = {canonical_json(model): model for model in models}
    return [(model, *count(read_external(model))) for model in distinct.values()]


def main() -> None:
    """Check each model; exit 1 with the first mistake on stderr."""
    plain_parser(__doc__).parse_args()
    try:
        wanted = json.load(sys.stdin)
    except ValueError as error:
        raise UserError(f"standard input: no JSON ({error}); a run gives it what is to be checked") from None
    try:
        with redirect_stdout(sys.stderr):  # a factory may print
            counts = check_all(wanted)
    except UserError as error:
        print(f"\n{error}", file=sys.stderr)
        raise SystemExit(1) from None
    except SystemExit as end:
        print(f"\na model's factory, or its module, ends the process: SystemExit({end.code})", file=sys.stderr)
        raise SystemExit(1) from None
    print(f"\n{ANSWER}{json.dumps(counts)}")
