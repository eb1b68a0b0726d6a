"""Bits of knowledge that losses on names and values prove to be stored: arXiv 2404.05405, Definition 4.1.

A world offers N people, each with a unique name out of N0 and values that are uniform in known sets. A model
which assigns loss p (nats, summed over the tokens of an item, averaged over people) to an item whose prior
holds b bits has saved b - p / ln 2 bits a person. Nothing is clipped: a model that does worse than its prior
stores a negative number of bits.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capacity.world.prior import Account

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PersonBits:
    """Bits stored, each float (N,): the sum over people is the sum of Definition 4.1."""

    name: Array
    value: Array
    diversity: Array

    @property
    def total(self) -> Array:
        """Bits stored of all three kinds, float (N,)."""
        return self.name + self.value + self.diversity


def bits_stored(nats: Array, prior_bits: float | Array) -> Array:
    """Bits an item adds over a model that knows only the item's prior: prior_bits - nats / ln 2.

    nats: summed over the item's tokens, any shape that broadcasts with prior_bits.
    """
    return prior_bits - nats / math.log(2)


def item_bits(nats: Array, account: Account, people: Array | float = 1.0) -> Array:
    """Bits stored by row and item, float (rows, 1 + items); column 0 is the name, then the account's order.

    nats: float (rows, 1 + items), the same columns, of a person or summed over so many people, (rows,). Raises
    ValueError for another number of columns.
    """
    priors = np.array([account.name_prior_bits, *(prior for _, prior in account.items)])
    if nats.shape[1:] != priors.shape:
        raise ValueError(f"nats of shape {nats.shape} for an account of {len(priors)} items")
    return bits_stored(nats, np.multiply.outer(people, priors))


def person_bits(
    nats: Array, first_chunk_nats: Array | None, account: Account, people: Array | None = None
) -> PersonBits:
    """Bits stored by each person's name, values and share of the diversity term.

    nats: float (N, 1 + items), column 0 the name. first_chunk_nats: float (N, K), the loss of the first chunk
    of each value (p3); not used, and may be None, where the diversity term is zero.
    people: where rows are groups that share out the N people, how many each has, (rows,); losses are then sums over
    a group, and so are the bits.
    The diversity term K D log2(T^L / (D e^p3)) is linear in the mean p3, so person n's share is that term at
    the person's own p3, divided by N.
    Source: Definition 4.1. At D = T^L there is no set to be learned and the term is 0 by convention.
    """
    people = np.ones(len(nats)) if people is None else people
    bits = item_bits(nats, account, people)
    diversity = np.zeros(len(nats))
    if has_diversity(account):
        if first_chunk_nats is None or first_chunk_nats.shape != (len(nats), account.diversity["K"]):
            raise ValueError("the diversity term needs first-chunk losses of shape (N, K)")
        sets = account.diversity["K"] * account.diversity["D"]
        offered = diversity_offered_bits(account)
        diversity = (people * offered - sets * first_chunk_nats.mean(axis=1) / math.log(2)) / people.sum()
    return PersonBits(name=bits[:, 0], value=bits[:, 1:].sum(axis=1), diversity=diversity)


def bits_offered(num_people: int, account: Account) -> float:
    """Bits of a perfect model: N log2(N0/N) + N (sum of value priors) + K D log2(T^L/D), Definition 4.1."""
    values = math.fsum(prior for _, prior in account.items)
    return num_people * (account.name_offered_bits + values) + diversity_offered_bits(account)


def diversity_offered_bits(account: Account) -> float:
    """Bits in the choice of the value sets of bioD, K D log2(T^L / D); 0 for bioS and for D = T^L."""
    if not has_diversity(account):
        return 0.0
    K, D, T_pow_L = (account.diversity[key] for key in ("K", "D", "T_pow_L"))
    return K * D * (math.log2(T_pow_L) - math.log2(D))


def has_diversity(account: Account) -> bool:
    """Whether the world draws its value sets, so that they are knowledge: bioD with D < T^L."""
    return bool(account.diversity) and account.diversity["D"] < account.diversity["T_pow_L"]
