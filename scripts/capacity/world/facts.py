"""A world: its people's facts as integer codes, its grammar and its account."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from capacity.errors import UserError
from capacity.world import biod, records, streams
from capacity.world.bijection import LARGEST, keyed_bijection
from capacity.world.biod import BioDWorld
from capacity.world.grammar import Grammar
from capacity.world.kinds import GRAMMARS, WorldSettings, read_world
from capacity.world.prior import Account, make_account
from capacity.world.records import RecordsWorld
from capacity.world.rewritings import Rewritings
from capacity.world.spec import DrawnPeople, JunkSettings

TEXTS = "texts.parquet"
MOST_PEOPLE = 2**31 - 1  # person numbers are int32 while they are shuffled


@dataclass(frozen=True, eq=False)
class World:
    """N people. facts: column name to codes (N,), an unsigned type that just fits."""

    settings: WorldSettings
    facts: dict[str, NDArray[np.unsignedinteger]]
    grammar: Grammar
    account: Account
    rewritings: Rewritings | None = None  # the written texts of the people, where there are any

    @property
    def N(self) -> int:
        return self.settings.N

    @property
    def seed(self) -> int:
        return self.settings.seed

    @property
    def kind(self) -> str:
        """As the configuration calls it."""
        return "bioR" if self.rewritings else self.settings.kind

    @property
    def junk(self) -> JunkSettings | None:
        """The junk to mix in."""
        return self.settings.junk if isinstance(self.settings, DrawnPeople) else None

    def codes(self, column: str, people: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
        """What a column says of some people, (len(people),)."""
        return self.facts[column].take(people)


def make_world(settings: WorldSettings) -> World:
    """The world of a spec; equal specs, equal worlds. Raises UserError for impossible ones."""
    if isinstance(settings, RecordsWorld):
        return World(settings, *records.make_parts(settings))
    grammar = GRAMMARS[type(settings)](settings)
    return World(settings, draw_facts(grammar, settings.N, settings.seed), grammar, account_of(grammar, settings))


def account_of(grammar: Grammar, settings: WorldSettings) -> Account:
    """The account of a drawn world's spec."""
    return make_account(grammar, settings.N, biod.diversity(settings) if isinstance(settings, BioDWorld) else {})


def draw_facts(grammar: Grammar, num_people: int, seed: int) -> dict[str, NDArray[np.unsignedinteger]]:
    """Unique names by a keyed bijection of all full names; every other column uniform and independent.

    Raises UserError where there are fewer full names than people.
    """
    num_names = check_names(grammar, num_people)
    numbers = keyed_bijection(np.arange(num_people), num_names, streams.key(seed, streams.NAMES))
    facts = name_codes(grammar, numbers)
    for index, (column, size) in enumerate(grammar.column_sizes.items()):
        if column not in facts:
            rng = streams.generator(seed, streams.VALUES, index)
            facts[column] = rng.integers(0, size, num_people, dtype=_code_type(size))
    return {column: facts[column] for column in grammar.column_sizes}


def check_names(grammar: Grammar, num_people: int) -> int:
    """The number of full names, N0. Raises UserError where it is below the number of people, or cannot be counted."""
    sizes = name_sizes(grammar)
    num_names = math.prod(sizes)
    if num_names > LARGEST:
        raise UserError(f"the name pools {sizes} give {num_names} full names; use shorter lists, {LARGEST} at most")
    if not 1 <= num_people <= min(num_names, MOST_PEOPLE):
        allowed = f"the name pools {sizes} give {num_names} full names; use 1 to {min(num_names, MOST_PEOPLE)}"
        raise UserError(f"N: {num_people} people, but {allowed}")
    return num_names


def name_sizes(grammar: Grammar) -> list[int]:
    """Sizes of the pools of a full name's parts; their product is N0."""
    return [len(grammar.pools[slot.pool]) for slot in grammar.name]


def name_codes(grammar: Grammar, numbers: NDArray[np.int64]) -> dict[str, NDArray[np.unsignedinteger]]:
    """The codes of each part of the full names with these numbers, 0..N0-1."""
    facts = {}
    for slot, size in reversed(list(zip(grammar.name, name_sizes(grammar), strict=True))):
        numbers, codes = np.divmod(numbers, size)
        assert slot.column is not None
        facts[slot.column] = codes.astype(_code_type(size))
    return facts


def _code_type(size: int) -> type[np.unsignedinteger]:
    """The smallest unsigned type that holds 0..size-1; bytes are avoided, numpy draws them more slowly."""
    return np.uint16 if size <= 2**16 else np.uint32 if size <= 2**32 else np.uint64


def save_world(world: World, folder: Path) -> None:
    """Write facts.parquet (one row a person), grammar.json (spec, grammar, items, account), and texts if it has any."""
    pq.write_table(pa.table(world.facts), folder / "facts.parquet", compression="zstd", use_dictionary=False)
    content = {
        "settings": world.settings.plain(),
        "rewritings": world.rewritings and world.rewritings.W,
        "items": world.grammar.items,
        "account": asdict(world.account),
        "grammar": world.grammar.to_json(),
    }
    (folder / "grammar.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if world.rewritings:
        pq.write_table(world.rewritings.table, folder / TEXTS, compression="zstd", use_dictionary=False)


def load_world(folder: Path) -> World:
    """The world that `save_world` wrote."""
    content = json.loads((folder / "grammar.json").read_text(encoding="utf-8"))
    table = pq.read_table(folder / "facts.parquet", use_threads=False)
    account = content["account"] | {"items": [(item, bits) for item, bits in content["account"]["items"]]}
    return World(
        settings=read_world(content["settings"]),
        facts={name: table[name].to_numpy() for name in table.column_names},
        grammar=Grammar.from_json(content["grammar"]),
        account=Account(**account),
        rewritings=_load_rewritings(folder / TEXTS, content["rewritings"]),
    )


def _load_rewritings(path: Path, W: int | None) -> Rewritings | None:
    return Rewritings(pq.read_table(path, use_threads=False), W) if W else None
