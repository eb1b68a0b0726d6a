"""Which long tests a turn of the gate has: a third of each kind, and of every class of edits at least one.

`make test-long TURN=1` runs one turn, `make test-long` all of them. Names and order alone decide, so that a turn is the
same on every machine and in every test process.
"""

from collections import defaultdict

import pytest

TURNS = 3


def group_of(item: pytest.Item) -> str:
    """Tests that are alike: one function's; of edits, those that make the same stages run."""
    group = item.nodeid.partition("[")[0]
    edit = getattr(item, "callspec", None) and item.callspec.params.get("edit")  # type: ignore[attr-defined]
    return f"{group} {sorted({rule for rule, _ in edit.must_run})}" if edit else group


def in_turn(groups: dict[str, list[str]], turn: int, always: str = "edits.py") -> set[str]:
    """Names of one turn. groups: what is alike -> names. always: groups that no turn may be without, by their name."""
    chosen = set()
    for place, (group, names) in enumerate(groups.items()):
        mine = names[(turn - place) % TURNS :: TURNS]
        if not mine and always in group:
            mine = [names[turn % len(names)]]
        chosen |= set(mine)
    return chosen


def of_turn(items: list[pytest.Item], turn: int) -> set[str]:
    """Names of the long tests among these that a turn has."""
    groups = defaultdict(list)
    for item in items:
        if item.get_closest_marker("long"):
            groups[group_of(item)].append(item.nodeid)
    return in_turn(dict(groups), turn % TURNS)
