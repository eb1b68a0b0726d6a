"""Validate a crate without network: run by the interpreter of envs/crate.txt, given a folder and a severity.

The validator reads the RO-Crate 1.1 context from the web. Here it gets the one that rocrate 0.14 ships; any other
address is an error. Prints a line an issue.
"""

import sys
from importlib import resources

import requests
from rocrate_validator import services
from rocrate_validator.utils.http import HttpRequester

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILE = "provenance-run-crate-0.5"  # and with it workflow-run-crate, process-run-crate and workflow-ro-crate


def shipped(_: object, url: str, **options: object) -> requests.Response:
    """The one document that a crate needs from the web."""
    if url != CONTEXT:
        raise RuntimeError(f"the network was asked for {url}")
    response = requests.Response()
    response.status_code, response.url, response.headers["Content-Type"] = 200, url, "application/ld+json"
    response._content = resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_bytes()
    return response


def main() -> None:
    """Exit code 0 where there is no issue."""
    folder, severity = sys.argv[1:]
    HttpRequester.get = shipped
    settings = services.ValidationSettings(
        rocrate_uri=folder, profile_identifier=PROFILE, requirement_severity=severity, validate_profile_checks=False,
        enforce_availability=True, offline=True,
    )  # fmt: skip
    result = services.validate(settings)
    issues = {f"{issue.check.identifier} {issue.severity.name}: {issue.message}" for issue in result.get_issues()}
    print("\n".join(sorted(issues)))
    print(f"{len(result.executed_checks)} checks, {len(issues)} issues")
    sys.exit(1 if issues else 0)


if __name__ == "__main__":
    main()
