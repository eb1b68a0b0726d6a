"""What a plan and a run say beside their jobs: artefacts that are missing and that no job makes again, and the like."""

import os
from pathlib import Path

from capacity.artefacts.manifest import MANIFEST, forcing
from capacity.artefacts.spec import closure
from capacity.errors import UserError
from capacity.plan.fixed_paths import published
from capacity.plan.forecast import wanted_names
from capacity.plan.known_words import free_text_of
from capacity.plan.survey import Plan, State
from capacity.world.records import RecordsWorld

MOST_FORCED = 10  # artefacts that one command names


def gaps(plan: Plan, results: Path) -> list[str]:
    """Names of artefacts and members of sets that are missing and that no job of this run would make."""
    wanted = wanted_names(plan, results)
    made = [spec for spec in plan.specs.values() if spec.name not in wanted]
    names = [each.name for spec in made for each in spec.with_members()]
    return [name for name in dict.fromkeys(names) if plan.states[name] == State.MISSING]


def gap_messages(plan: Plan, results: Path) -> list[str]:
    """The same as lines for people: what is missing, which fixed paths rest on it, and how it is made again.

    A store that is not there yet is missing too: its name may be mistyped. Before them, the columns of own tables that
    the account does not fit.
    """
    missing = gaps(plan, results)
    lines = [*_free_text(plan), *_new_store(plan.grid.store)]
    if not missing:
        return lines
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    lost = set(missing)
    makers = [s.name for s in plan.specs.values() if lost & {each.name for each in s.with_members()}]
    remedy = forcing(results / name / MANIFEST for name in makers[:MOST_FORCED])
    does = "does" if len(makers) <= MOST_FORCED else f"makes {MOST_FORCED} of them, and a plan names the next"
    lines += [
        f"missing from {results}/: {missing[0]}{more}; what follows is there, so no job makes it; {remedy} {does}"
    ]
    for artefact, files, _ in published(plan.grid):
        if lost & ancestry(plan, artefact.name):
            lines.append(f"{results}/{next(iter(files.values()))}: its lineage is gone, it rests on what is missing")
    return lines


def _free_text(plan: Plan) -> list[str]:
    """What was seen of columns of free text when the tables of this plan were read, once a table."""
    own = [spec.settings for spec in plan.specs.values() if spec.settings.get("kind") == "records"]
    worlds = [RecordsWorld.read(settings) for settings in own]
    return list(dict.fromkeys(f"note: {world.file}: {line}" for world in worlds for line in free_text_of(world)))


def _new_store(store: str | None) -> list[str]:
    """What to say of a store that is not there yet. Raises UserError for one that cannot be made."""
    if store is None or os.path.isdir(path := os.path.abspath(os.path.expanduser(store))):
        return []
    above = next(place for place in (Path(path), *Path(path).parents) if place.exists())
    if not above.is_dir():
        raise UserError(f"store: {store}: {above} is no folder; name one, or a path at which one can be made")
    if not os.access(above, os.W_OK):
        raise UserError(f"store: {store}: nothing can be written in {above}; name another folder")
    return [f"store: {store}: there is no such folder yet; a run makes it and puts what it makes there"]


def ancestry(plan: Plan, name: str) -> set[str]:
    """An artefact and all that it rests on, members of sets included."""
    specs = [plan.specs[name] for name in closure([name], lambda each: plan.specs[each].parent_names())]
    return {each.name for spec in specs for each in spec.with_members()}
