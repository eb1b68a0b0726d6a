"""Artefacts that are missing although what was made from them is there: said, because no job makes them again."""

from pathlib import Path

from capacity.plan.forecast import wanted_names
from capacity.plan.survey import Plan, State, published


def gaps(plan: Plan, results: Path) -> list[str]:
    """Names of artefacts and members of sets that are missing and that no job of this run would make."""
    wanted = wanted_names(plan, results)
    made = [order for order in plan.orders.values() if order.name not in wanted]
    names = [each.name for order in made for each in (order, *order.members)]
    return [name for name in dict.fromkeys(names) if plan.states[name] == State.MISSING]


def told_gaps(plan: Plan, results: Path) -> list[str]:
    """The same as lines for people: what is missing, which fixed paths rest on it, and how it is made again."""
    missing = gaps(plan, results)
    if not missing:
        return []
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    order = next(o for o in plan.orders.values() if missing[0] in (o.name, *(m.name for m in o.members)))
    remedy = f'make table ARGS="--force {results}/{order.name}/manifest.json"'
    lines = [f"missing from {results}/: {missing[0]}{more}; what follows is there, so no job makes it; `{remedy}` does"]
    lost = set(missing)
    for artefact, files, _ in published(plan.grid):
        if lost & ancestry(plan, artefact.name):
            lines.append(f"{results}/{next(iter(files.values()))}: its lineage is gone, it rests on what is missing")
    return lines


def ancestry(plan: Plan, name: str) -> set[str]:
    """An artefact and all that it rests on, members of sets included."""
    found: set[str] = set()
    ahead = [name]
    while ahead:
        order = plan.orders.get(ahead.pop())
        if order and order.name not in found:
            found |= {order.name, *(member.name for member in order.members)}
            ahead += order.parent_names()
    return found
