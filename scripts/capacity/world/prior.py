"""What a world offers to be learned, in bits (arXiv 2404.05405, Definition 4.1)."""

import math
from dataclasses import dataclass

from capacity.world.grammar import Grammar


@dataclass(frozen=True)
class Account:
    """Bits a person, by item; the trivial code of section 3 spends exactly so many."""

    name_prior_bits: float  # log2 N0: a name among all full names
    name_offered_bits: float  # log2 (N0 / N): what is left of it when the order of people does not count
    items: list[tuple[str, float]]  # value items in the order of their labels: (name, bits of a uniform value)
    diversity: dict[str, int]  # bioD: K sets of D out of T_pow_L strings; empty where value sets are given


def make_account(grammar: Grammar, num_people: int, diversity: dict[str, int]) -> Account:
    """The account of a grammar whose names are unique and whose values are uniform and independent."""
    num_names = math.prod(len(grammar.pools[slot.pool]) for slot in grammar.name)
    bits = {
        attribute.name: math.fsum(math.log2(len(grammar.pools[slot.pool])) for slot in attribute.slots)
        for attribute in grammar.attributes
    }
    if grammar.pronoun and grammar.pronoun.column:
        bits[grammar.pronoun.column] = math.log2(len(grammar.pools[grammar.pronoun.pool]))
    return Account(
        name_prior_bits=math.log2(num_names),
        name_offered_bits=math.log2(num_names) - math.log2(num_people),
        items=[(item, bits[item]) for item in grammar.items],
        diversity=diversity,
    )
