"""Rows that hold every valid pair of values of several dimensions, where rules forbid some combinations.

The rows come from allpairspy, which stops where its next row brings nothing new; what it leaves is filled in here. A
pair is valid where some whole row that breaks no rule holds it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from allpairspy import AllPairs

Row = dict[str, str]  # dimension -> value
Pair = tuple[tuple[str, str], tuple[str, str]]  # ((dimension, value), (dimension, value)), in the order of dimensions


@dataclass(frozen=True)
class Rule:
    """A combination that cannot be, and how it is refused.

    breaks: from the values of `dimensions`, whether they cannot be together. refusal: a regular expression that the
    one line of the refusal holds.
    """

    dimensions: tuple[str, ...]
    breaks: Callable[..., bool]
    refusal: str

    def broken_by(self, row: Mapping[str, str]) -> bool:
        """Whether a row, which may be unfinished, breaks the rule for certain."""
        return all(name in row for name in self.dimensions) and self.breaks(*(row[name] for name in self.dimensions))


@dataclass(frozen=True)
class Space:
    """Dimensions with their values, the plainest first, and the rules between them."""

    dimensions: Mapping[str, Sequence[str]]
    rules: Sequence[Rule]

    def pairs(self) -> Iterator[Pair]:
        """Every pair of values of two dimensions."""
        for (one, values), (other, others) in combinations(self.dimensions.items(), 2):
            yield from (((one, value), (other, another)) for value in values for another in others)

    def completed(self, start: Row, rules: Sequence[Rule], gain: Callable[[Row, str, str], int] | None = None) -> Row:
        """A whole row with the values of `start` that breaks none of the rules; {} where there is none.

        gain: of a row, a dimension and a value, how much the value brings; by default the plainest values are taken.
        """
        of_dimension = {name: [rule for rule in rules if name in rule.dimensions] for name in self.dimensions}
        if any(rule.broken_by(start) for rule in rules):
            return {}
        # What rules name first: a dead end shows early.
        left = sorted((n for n in self.dimensions if n not in start), key=lambda name: -len(of_dimension[name]))
        return self._filled(dict(start), left, of_dimension, gain)

    def _filled(
        self, row: Row, left: list[str], rules: dict[str, list[Rule]], gain: Callable[[Row, str, str], int] | None
    ) -> Row:
        if not left:
            return {name: row[name] for name in self.dimensions}
        name, *rest = left
        values = self.dimensions[name]
        if gain:
            values = sorted(values, key=lambda value: -gain(row, name, value))
        for value in values:
            longer = {**row, name: value}
            if not any(rule.broken_by(longer) for rule in rules[name]):
                whole = self._filled(longer, rest, rules, gain)
                if whole:
                    return whole
        return {}

    def valid(self, pair: Pair) -> bool:
        """Whether some row without a fault holds the pair."""
        return bool(self.completed(dict(pair), self.rules))

    def refused(self, pair: Pair) -> tuple[Row, Rule] | None:
        """A row with the pair that breaks exactly one rule, and that rule; None where the pair is valid."""
        for rule in self.rules:
            others = [other for other in self.rules if other is not rule]
            row = self.completed(dict(pair), others)
            if row and rule.broken_by(row):
                return row, rule
        return None


@dataclass(frozen=True)
class Covering:
    """Rows, and the pairs that they were to hold."""

    rows: list[Row]
    pairs: list[Pair]
    valid: set[Pair]

    @property
    def covered(self) -> set[Pair]:
        """Pairs that stand in a row."""
        return set().union(*(pairs_of(row) for row in self.rows))

    def __str__(self) -> str:
        share = len(self.covered & self.valid) / len(self.valid)
        return (
            f"{len(self.pairs):,} pairs, {len(self.valid):,} valid, {len(self.pairs) - len(self.valid):,} refused; "
            f"{len(self.rows)} rows cover {100 * share:g} % of the valid ones"
        )


def pairs_of(row: Row) -> set[Pair]:
    """The pairs that a row, whole or not, holds."""
    return set(combinations(row.items(), 2))


def cover(space: Space, first: Sequence[Row] = ()) -> Covering:
    """Rows that break no rule and hold every valid pair; those of `first` stand first, as they are."""
    pairs = list(space.pairs())
    valid = {pair for pair in pairs if space.valid(pair)}
    rows = [*first, *_by_library(space, valid, first)]
    missing = valid - set().union(*map(pairs_of, rows))
    spec = list(space.dimensions)

    def gain(row: Row, name: str, value: str) -> int:
        mine = spec.index(name)
        return sum(
            (((name, value), item) if mine < spec.index(item[0]) else (item, (name, value))) in missing
            for item in row.items()
        )

    while missing:
        row = space.completed(dict(min(missing)), space.rules, gain)
        rows.append(row)
        missing -= pairs_of(row)
    return Covering([*first, *_plainer(space, rows, len(first))], pairs, valid)


def _plainer(space: Space, rows: list[Row], start: int) -> list[Row]:
    """The rows from `start` on with the plainest values, the quickest to run, where others hold the same pairs."""
    held = Counter(pair for row in rows for pair in pairs_of(row))
    plainer = []
    for row in rows[start:]:
        for name, values in space.dimensions.items():
            lost = [pair for pair in pairs_of(row) if name in (pair[0][0], pair[1][0])]
            other = {**row, name: values[0]}
            if all(held[pair] > 1 for pair in lost) and not any(rule.broken_by(other) for rule in space.rules):
                held.subtract(lost)
                row = other
                held.update(pair for pair in pairs_of(row) if name in (pair[0][0], pair[1][0]))
        plainer.append(row)
    return plainer


def _by_library(space: Space, valid: set[Pair], first: Sequence[Row]) -> Iterator[Row]:
    """Rows of allpairspy: it tries values in an order of its own and asks of every beginning whether it may stand."""
    names = list(space.dimensions)
    rules = [[rule for rule in space.rules if name in rule.dimensions] for name in names]

    def may_stand(beginning: list[str]) -> bool:
        row = dict(zip(names, beginning, strict=False))
        newest = len(beginning) - 1
        if any(rule.broken_by(row) for rule in rules[newest]):
            return False
        return all((item, (names[newest], beginning[newest])) in valid for item in list(row.items())[:-1])

    tried = [[row[name] for name in names] for row in first]
    for values in AllPairs([*map(list, space.dimensions.values())], filter_func=may_stand, previously_tested=tried):
        yield dict(zip(names, values, strict=True))
