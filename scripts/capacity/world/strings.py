"""Random strings, the control of Morris et al. 2025 (arXiv 2505.24832, section 3): nothing but memory can predict them.

N strings of S tokens, each uniform out of V; every token is scored and there is no filler. A string's first
tokens take the place of a name: as few as make N distinct ones easily, V^k >= N^2. What is offered is the set
of strings, N log2(V^S / N) bits: their order is not knowledge, unlike in the paper's N S log2 V.
"""

import math
from typing import Literal

from capacity.artefacts.settings import Settings
from capacity.errors import UserError
from capacity.world.grammar import Attribute, Grammar, Slot


class StringsWorld(Settings):
    """N random strings of so many tokens."""

    kind: Literal["random"]
    N: int
    length: int
    vocabulary: int
    seed: int


def make_grammar(settings: StringsWorld) -> Grammar:
    """The grammar of a spec of random strings. Raises UserError where strings are too short to differ."""
    V, S, N = settings.vocabulary, settings.length, settings.N
    opening = opening_length(N, V)
    if opening >= S:
        raise UserError(f"length: {S} tokens of {V}; {N} strings need at least {opening + 1} to differ")
    width = len(str(V - 1))
    slots = [Slot(f"token_{place}", "tokens") for place in range(S)]
    return Grammar(
        pools={"tokens": tuple(f"t{number:0{width}}" for number in range(V))},
        name=tuple(slots[:opening]),
        name_suffix="",
        pronoun=None,
        attributes=(Attribute("rest", tuple(slots[opening:]), (("", ""),)),),
    )


def opening_length(N: int, V: int) -> int:
    """Tokens that stand for a name: the fewest k with V^k >= N^2."""
    return max(1, math.ceil(2 * math.log(N, V) - 1e-9))
