"""How questions are worded, for every kind of dataset that has attributes. Light: the main process reads it too."""

from collections.abc import Mapping, Sequence

from capacity.world.biod import BioDWorld
from capacity.world.bios import BioSWorld
from capacity.world.kinds import WorldSettings
from capacity.world.records import RecordsWorld

NAME, ATTRIBUTE = "{name}", "{attribute}"

# Of bioS and bioR, the first of each as the paper asks (arXiv 2309.14316, Section 2.2). The working city follows from
# the employer, as in the account, and is not asked.
BIOS: dict[str, tuple[str, ...]] = {
    "birth_date": (
        "What is the birth date of {name}? Answer:",
        "When was {name} born? Answer:",
        "On which day was {name} born? Answer:",
    ),
    "birth_city": (
        "What is the birth city of {name}? Answer:",
        "Where was {name} born? Answer:",
        "In which city was {name} born? Answer:",
    ),
    "university": (
        "Which university did {name} study at? Answer:",
        "Where did {name} study? Answer:",
        "Which school did {name} attend? Answer:",
    ),
    "major": (
        "What major did {name} study? Answer:",
        "What was the major of {name}? Answer:",
        "Which subject did {name} study? Answer:",
    ),
    "employer": (
        "Which company did {name} work for? Answer:",
        "Who employed {name}? Answer:",
        "What is the employer of {name}? Answer:",
    ),
}
# Of all others, by the attribute's own name.
GENERAL = (
    "What is the {attribute} of {name}? Answer:",
    "Which {attribute} does {name} have? Answer:",
    "Tell the {attribute} of {name}. Answer:",
)

Wordings = Mapping[str, Sequence[str]]  # attribute -> texts with {name}


def wordings_of(dataset: WorldSettings, own: Wordings) -> dict[str, list[str]]:
    """The wordings of every attribute that can be asked for: the user's own, or those that ship.

    dataset: of bioR its people. {} for a kind without attributes. Raises KeyError
    for a wording of an attribute that is not there.
    """
    shipped = _shipped(dataset)
    for attribute in own:
        if attribute not in shipped:
            raise KeyError(attribute)
    return {attribute: list(own.get(attribute) or texts) for attribute, texts in shipped.items()}


def _shipped(dataset: WorldSettings) -> dict[str, tuple[str, ...]]:
    if isinstance(dataset, BioSWorld):
        return BIOS
    if isinstance(dataset, BioDWorld):
        word = "id{}" if dataset.wording == "atomic" else "ID {}"
        return {f"id_{k}": _general(word.format(k)) for k in range(1, dataset.K + 1)}
    if isinstance(dataset, RecordsWorld):
        return {column: _general(column.replace("_", " ")) for column in dataset.attributes}
    return {}  # random strings: nothing in them has a name


def _general(attribute: str) -> tuple[str, ...]:
    return tuple(text.replace(ATTRIBUTE, attribute) for text in GENERAL)
