"""Type what a page shows, from top to bottom, and say what went otherwise than declared."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from checkout import Checkout
from declared import BEFORE, PRINTED, Run, way_of
from pages import PAGES, Block, blocks, read, within
from places import Place

from capacity.config.yaml_files import parse_yaml


def steps(page: str, text: str) -> Iterator[str | dict[str, Any]]:
    """What a reader does from top to bottom: commands, each once, and configuration; then the commands within texts."""
    seen: set[str] = set()
    for block in blocks(page, text):
        if block.language == "yaml":
            yield parse_yaml(block.text)
        elif not block.language and not printed(block):
            yield from (command for command in dict.fromkeys(block.commands()) if command not in seen)
            seen |= set(block.commands())
    yield from (command for command in dict.fromkeys(within(text)) if command not in seen)


def commands(page: str, text: str) -> list[str]:
    """All commands of a page."""
    return [step for step in steps(page, text) if isinstance(step, str)]


def slow_pages() -> list[str]:
    """Pages with commands that take minutes: all of them are typed in tests/long."""
    ways = {page: [way_of(command) for command in commands(page, read(page))] for page in PAGES}
    return [page for page in PAGES if any(isinstance(way, Run) and way.slow for way in ways[page])]


def configuration(page: str, text: str) -> list[dict[str, Any]]:
    """All configuration that a page shows."""
    return [step for step in steps(page, text) if isinstance(step, dict)]


def printed(block: Block) -> str | None:
    """The command whose output a block shows."""
    return PRINTED.get(block.text.partition("\n")[0])


def follow(page: str, built: Checkout, clone: Place, folder: Path, slow: bool) -> list[str]:
    """Type a page's commands one after another; what went otherwise than declared.

    What an earlier page shows too is typed there.
    """
    earlier = {command for other in PAGES[: PAGES.index(page)] for command in commands(other, read(other))}
    tiny = Place.tiny(built, folder / "tiny")
    wrong = typed(tiny, BEFORE[page], Run()) if page in BEFORE else []
    for step in steps(page, read(page)):
        if isinstance(step, dict):
            tiny.lay(step)
        elif step not in earlier and isinstance(way := way_of(step), Run) and way.slow <= slow:
            wrong += typed(clone if way.place == "clone" else tiny, step, way)
    return wrong


def typed(place: Place, command: str, way: Run) -> list[str]:
    """Type one command; what went otherwise than declared."""
    if way.first:
        code, said = place.type(way.first)
        if code:
            return [f"{way.first}\n{said}"]
    if way.makes and (place.path / way.makes).is_file():
        (place.path / way.makes).unlink()
    code, said = place.type(way.instead or command)
    right = code == way.ends and re.search(way.says, said) and (place.path / way.makes).exists()
    return [] if right and "Traceback" not in said else [f"{command}\nended with {code}\n{said[-3000:]}"]
