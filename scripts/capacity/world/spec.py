"""What a world is drawn or read from, and how it is worded; light enough for the main process."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

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


class BioDWorld(DrawnPeople):
    """bioD(N, K, C, D, L, T). names: sizes of the pools of first, middle and last names."""

    kind: Literal["bioD"]
    K: int
    C: int
    D: int
    L: int
    T: int
    names: tuple[int, int, int]
    wording: Literal["atomic", "sentence"]


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


class BioSWorld(DrawnPeople):
    """bioS(N). value_lists: pool to a file of the user's own. templates: of an attribute, at most."""

    kind: Literal["bioS"]
    pools: PoolSizes
    value_lists: dict[str, str]
    templates: int
    template_folder: str | None
    pronouns: tuple[str, ...]


class RecordsFile(Settings):
    """A table of the user's own. attributes: its columns, None: all but entity. N: its first rows, None: all."""

    file: str
    entity: str
    attributes: tuple[str, ...] | None
    missing: Literal["error", "drop"]
    N: int | None


class RecordsWorld(RecordsFile, Wording):
    """A table's first N rows that can be used. files: the table, by content."""

    kind: Literal["records"]
    attributes: tuple[str, ...]
    N: int
    phrases: dict[str, tuple[str, ...]]
    account: Literal["uniform", "frequencies"]
    seed: int
    files: dict[str, str]


class StringsWorld(Settings):
    """N random strings of so many tokens."""

    kind: Literal["random"]
    N: int
    length: int
    vocabulary: int
    seed: int


WorldSettings = BioDWorld | BioSWorld | RecordsWorld | StringsWorld
WORLD: TypeAdapter[WorldSettings] = TypeAdapter(Annotated[WorldSettings, Field(discriminator="kind")])


def read_world(settings: dict[str, Any]) -> WorldSettings:
    """The settings in a dataset's spec. Raises ValueError where they are of no kind."""
    return WORLD.validate_python(settings)
