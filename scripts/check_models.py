"""Build models that are not of the paper, before any job, and say in one line what is wrong with them.

Reads a JSON list of models from standard input; run by the main process in a process of its own, since it needs
torch.
"""

import json
import sys

from capacity.errors import UserError
from capacity.startup import lean_imports

with lean_imports():
    from capacity.foreign_checks import check


def main() -> None:
    """Check each model; exit 1 with the first mistake on stderr."""
    try:
        for model in json.load(sys.stdin):
            check(model)
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
