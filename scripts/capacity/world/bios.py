"""bioS(N) of arXiv 2404.05405, section 2: six facts a person in English sentences."""

import functools
from typing import Literal

from capacity.world.grammar import Attribute, Grammar, Slot
from capacity.world.options import wording_options
from capacity.world.pools import PoolSizes, choose_pool, read_templates, split_employers
from capacity.world.spec import DrawnPeople

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
FIRST_YEAR = 1900


class BioSWorld(DrawnPeople):
    """bioS(N). value_lists: pool to a file of the user's own. templates: of an attribute, at most."""

    kind: Literal["bioS"]
    pools: PoolSizes
    value_lists: dict[str, str]
    templates: int
    template_folder: str | None
    pronouns: tuple[str, ...]


def make_grammar(settings: BioSWorld) -> Grammar:
    """The grammar of a bioS spec. Raises UserError for lists and templates that cannot be used."""
    sizes = settings.pools
    chosen = functools.partial(choose_pool, sizes=sizes, lists=settings.value_lists)
    pools = {name: chosen(name) for name in ("first_names", "middle_names", "last_names")}
    pools |= _birth_dates(sizes)
    pools |= {name: chosen(name) for name in ("cities", "universities", "majors")}
    pools["employers"], pools["working_cities"] = split_employers(chosen("employers"))
    pools["pronouns"] = list(settings.pronouns)
    gender = "gender" if len(pools["pronouns"]) > 1 else None  # one word for everybody carries no bits
    date = (Slot("birth_month", "months"), Slot("birth_day", "days", after=","), Slot("birth_year", "years"))
    attributes = {
        "birth_date": date,
        "birth_city": (Slot("birth_city", "cities"),),
        "university": (Slot("university", "universities"),),
        "major": (Slot("major", "majors"),),
        "employer": (Slot("employer", "employers"),),
        "working_city": (Slot("employer", "working_cities"),),
    }
    return Grammar(
        pools={name: tuple(values) for name, values in pools.items()},
        name=tuple(Slot(f"{part}_name", f"{part}_names") for part in ("first", "middle", "last")),
        name_suffix="",
        pronoun=Slot(gender, "pronouns"),
        attributes=tuple(_attribute(name, slots, settings) for name, slots in attributes.items()),
        **wording_options(settings),
    )


def _birth_dates(sizes: PoolSizes) -> dict[str, list[str]]:
    return {
        "months": list(MONTHS[: sizes.months]),
        "days": [str(day) for day in range(1, sizes.days + 1)],
        "years": [str(year) for year in range(FIRST_YEAR, FIRST_YEAR + sizes.years)],
    }


def _attribute(name: str, slots: tuple[Slot, ...], settings: BioSWorld) -> Attribute:
    determined_by = "employer" if name == "working_city" else None
    templates = read_templates(name, settings.templates, settings.template_folder)
    return Attribute(name, slots, tuple(templates), determined_by)
