"""Options of wording that every kind of world has."""

from typing import Any

from capacity.world.spec import Wording

TAG = " TAG"  # one token in front of what is worth learning; a word that no pool and no template has


def wording_options(settings: Wording) -> dict[str, Any]:
    """The grammar's fields for a spec's `sentences`, `paragraphs` and `tag`."""
    shuffled = settings.sentences == "shuffled"
    return {"shuffled": shuffled, "paragraphs": settings.paragraphs, "tag": TAG if settings.tag else ""}
