"""What the settings of worlds have in common; those of a kind stand in its own module."""

from typing import Literal

from capacity.artefacts.settings import Settings


class JunkSettings(Settings):
    """Junk people between the world's own, as a share of rows, of pure windows, or of the tokens of mixed ones."""

    people: int
    share: float
    windows: Literal["pure", "mixed"]


class Wording(Settings):
    """paragraphs: that each keeps; None: worded anew each time. tag: one token in front of each biography."""

    sentences: Literal["shuffled", "in_order"]
    paragraphs: int | None
    tag: bool


class DrawnPeople(Wording):
    """N synthetic people. files: shipped lists and the user's own that are read, by content."""

    N: int
    seed: int
    junk: JunkSettings | None
    files: dict[str, str]
