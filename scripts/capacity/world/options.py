"""Options of wording that every kind of world has."""

from typing import Any

from capacity.errors import UserError

TAG = " TAG"  # one token in front of what is worth learning; a word that no pool and no template has


def wording_options(settings: dict[str, Any]) -> dict[str, Any]:
    """The grammar's fields for a spec's `sentences`, `paragraphs` and `tag`; left out, they are as in bioS.

    Raises UserError for values that mean nothing.
    """
    sentences, paragraphs = settings.get("sentences", "shuffled"), settings.get("paragraphs")
    if sentences not in ("shuffled", "in_order"):
        raise UserError(f"sentences: {sentences}; use shuffled or in_order")
    if paragraphs is not None and paragraphs < 1:
        raise UserError(f"paragraphs: {paragraphs}; use 1 or more, or null for new words at every exposure")
    return {
        "shuffled": sentences == "shuffled",
        "paragraphs": paragraphs,
        "tag": TAG if settings.get("tag", False) else "",
    }
