"""The kinds of worlds: the settings of each, and the grammar of those that are drawn."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from capacity.world import biod, bios, strings
from capacity.world.biod import BioDWorld
from capacity.world.bios import BioSWorld
from capacity.world.grammar import Grammar
from capacity.world.records import RecordsWorld
from capacity.world.strings import StringsWorld

WorldSettings = BioDWorld | BioSWorld | RecordsWorld | StringsWorld
WORLD: TypeAdapter[WorldSettings] = TypeAdapter(Annotated[WorldSettings, Field(discriminator="kind")])

GRAMMARS: dict[type[WorldSettings], Callable[[Any], Grammar]] = {
    BioDWorld: biod.make_grammar,
    BioSWorld: bios.make_grammar,
    StringsWorld: strings.make_grammar,
}


def read_world(settings: dict[str, Any]) -> WorldSettings:
    """The settings in a dataset's spec. Raises ValueError where they are of no kind."""
    return WORLD.validate_python(settings)
