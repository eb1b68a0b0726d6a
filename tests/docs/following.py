"""Type what a page shows, from top to bottom, and say what went otherwise than declared."""

import re
from pathlib import Path

from checkout import Checkout
from declared import PRINTED, Run, way_of
from pages import Block, blocks, read, within
from places import Place


def commands(page: str, text: str) -> list[str]:
    """All commands of a page, each once: those of its blocks in their order, then those within its texts."""
    shown = [block for block in blocks(page, text) if block.language != "yaml" and not printed(block)]
    return list(dict.fromkeys([command for block in shown for command in block.commands()] + within(text)))


def printed(block: Block) -> str | None:
    """The command whose output a block shows."""
    return PRINTED.get(block.text.partition("\n")[0])


def follow(page: str, built: Checkout, clone: Place, folder: Path, slow: bool) -> list[str]:
    """Type a page's commands one after another; what went otherwise than declared."""
    tiny = Place.tiny(built, folder / "tiny", page, read(page))
    wrong = []
    for command in commands(page, read(page)):
        way = way_of(command)
        if isinstance(way, Run) and way.slow <= slow:
            wrong += typed(clone if way.place == "clone" else tiny, command, way)
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
