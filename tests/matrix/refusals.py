"""Hold configurations against the checks that a run makes before any job; run in a checkout, prints what is refused.

Reads a JSON list of configurations from standard input; writes a list with null, or the line of the refusal.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd() / "scripts"))

from capacity.cli.check_models import check_all
from capacity.config.experiment import Config
from capacity.config.load import check
from capacity.errors import UserError
from capacity.plan.grid import resolve
from capacity.plan.model_checks import wanted_of


def refusal(config: dict[str, Any]) -> str | None:
    """The line by which a configuration is refused."""
    try:
        check_all(wanted_of(resolve(check(Config, config, "config.yaml")).specs, set()))
    except UserError as error:
        return str(error)
    return None


def main() -> None:
    """Answer for each configuration."""
    json.dump([refusal(config) for config in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
