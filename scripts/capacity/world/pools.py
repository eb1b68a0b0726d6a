"""The value lists and sentence templates that ship with the project."""

import re
from pathlib import Path

from capacity.errors import UserError

FOLDER = Path(__file__).resolve().parents[1] / "pools"
TEMPLATE = re.compile(r"\{subject\}(?P<before> [^{}]*[^{} ]) \{value\}(?P<after>[^{}]*[^{} ])")


def read_pool(name: str, count: int) -> list[str]:
    """The first `count` values of a shipped list. Raises UserError where it does not have so many."""
    values = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    if not 1 <= count <= len(values):
        raise UserError(f"pools.{name}: {count}; {len(values)} values ship, use 1 to {len(values)}")
    return values[:count]


def read_employers(count: int) -> tuple[list[str], list[str]]:
    """The first `count` employers and the city that each of them works in."""
    rows = [row.split("; ") for row in read_pool("employers", count)]
    return [name for name, _ in rows], [city for _, city in rows]


def read_templates(attribute: str, at_most: int) -> list[tuple[str, str]]:
    """The first sentence templates of an attribute: (text between subject and value, text after the value).

    The blank in front of the value belongs to the value. Raises UserError where at_most is below 1.
    """
    if at_most < 1:
        raise UserError(f"templates: {at_most}; a sentence needs at least one")
    lines = (FOLDER / "templates" / f"{attribute}.txt").read_text(encoding="utf-8").splitlines()
    matches = [TEMPLATE.fullmatch(line) for line in lines[:at_most]]
    assert all(matches), f"a template of {attribute} is not '{{subject}} ... {{value}}...'"
    return [(match["before"], match["after"]) for match in matches if match]
