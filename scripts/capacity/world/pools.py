"""The value lists and sentence templates: those that ship with the project, and the user's own."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from capacity.artefacts.settings import Settings
from capacity.environment import REPOSITORY
from capacity.errors import UserError

FOLDER = Path(__file__).resolve().parent / "value_lists"
TEMPLATE = re.compile(r"\{subject\}(?P<before> [^{}]*[^{} ]) \{value\}(?P<after>[^{}]*[^{} ])")


class PoolSizes(Settings):
    """How many of the shipped values are used."""

    first_names: int
    middle_names: int
    last_names: int
    months: int
    days: int
    years: int
    cities: int
    universities: int
    majors: int
    employers: int


def read_pool(name: str, count: int) -> list[str]:
    """The first `count` values of a shipped list."""
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()[:count]


def choose_pool(name: str, sizes: PoolSizes, lists: dict[str, str]) -> list[str]:
    """The values of a pool: those of the user's own list, all of them, or the first of the shipped ones."""
    return read_list(name, lists[name]) if name in lists else read_pool(name, getattr(sizes, name))


def read_list(name: str, file: str) -> list[str]:
    """The values in a user's text file, one a line. Raises UserError naming the line that is no value."""
    lines = _own_lines(f"value_lists.{name}", REPOSITORY / file)
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line or line != " ".join(line.split()):
            raise UserError(f"value_lists.{name}: {file}, line {number}: {line!r} is empty or has stray blanks")
        if line in seen:
            raise UserError(f"value_lists.{name}: {file}, line {number}: {line!r} stands in line {seen[line]} too")
        seen[line] = number
    return lines


def _own_lines(key: str, path: Path) -> list[str]:
    if os.path.lexists(path) and not os.path.isfile(path):
        raise UserError(f"{key}: {path} is no regular file; give a text file in UTF-8, one a line")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"{key}: {path}: {reason}; give a text file in UTF-8, one a line") from None
    if not text:
        raise UserError(f"{key}: {path} is empty; give one a line")
    return text.removesuffix("\n").split("\n")  # at no other break, which then is a stray blank


def num_beginnings(values: Iterable[str]) -> int:
    """Values that, a blank behind them, begin another: a loss does not show where such a one ends."""
    ordered = sorted({f"{value} " for value in values})
    return sum(other.startswith(one) for one, other in pairwise(ordered))


def split_employers(rows: list[str]) -> tuple[list[str], list[str]]:
    """Employers and the city that each of them works in, from rows `name; city`. Raises UserError for another row."""
    parts = [[part.strip() for part in row.split(";")] for row in rows]
    for row, part in zip(rows, parts, strict=True):
        if len(part) != 2 or not all(part):
            raise UserError(f"value_lists.employers: {row!r}; write each as `name; city`")
    names, cities = ([part[place] for part in parts] for place in (0, 1))
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise UserError(
            f"value_lists.employers: {twice!r} stands twice; an employer has one city, which follows from it: name "
            "each place as an employer of its own, or keep one"
        )
    return names, cities


def read_templates(attribute: str, at_most: int, folder: str | None = None) -> list[tuple[str, str]]:
    """The first sentence templates of an attribute: (text between subject and value, text after the value).

    folder: of the user's own templates, a file an attribute. The blank in front of the value belongs to the
    value. Raises UserError for a line that is no template.
    """
    path = (REPOSITORY / folder if folder else FOLDER / "templates") / f"{attribute}.txt"
    templates = []
    for number, line in enumerate(_own_lines("template_folder", path)[:at_most], start=1):
        match = TEMPLATE.fullmatch(line)
        if not match:
            form = "{subject} ... {value}...", "blanks around it, a mark at the end"
            raise UserError(f"template_folder: {path}, line {number}: {line!r} is not `{form[0]}`, {form[1]}")
        templates.append((match["before"], match["after"]))
    return templates
