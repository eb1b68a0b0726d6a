"""bioD(N, K, C, D, L, T) of arXiv 2404.05405, section 2: K values of C chunks of L random letters."""

from typing import Literal

import numpy as np

from capacity.world import streams
from capacity.world.grammar import Attribute, Grammar, Slot
from capacity.world.options import wording_options
from capacity.world.pools import read_pool
from capacity.world.spec import DrawnPeople

NAME_PARTS = ("first", "middle", "last")


class BioDWorld(DrawnPeople):
    """bioD(N, K, C, D, L, T). names: sizes of the pools of first, middle and last names."""

    kind: Literal["bioD"]
    K: int
    C: int
    D: int
    L: int
    T: int
    names: tuple[int, int, int]
    wording: Literal["atomic", "sentence"]


def make_grammar(settings: BioDWorld) -> Grammar:
    """The grammar of a bioD spec, its chunk sets drawn."""
    K, C = settings.K, settings.C
    atomic = settings.wording == "atomic"
    pools = _names(settings.names, atomic)
    pools |= {f"id_{k}": chunk_set(settings.seed, k, settings.D, settings.L, settings.T) for k in range(1, K + 1)}
    if not atomic:
        pools["pronouns"] = ["Her"]  # carries no bits: one word for everybody, as in the paper
    between = " " if atomic else ", "
    attributes = []
    for k in range(1, K + 1):
        slots = tuple(Slot(f"id_{k}_{c}", f"id_{k}", between if c > 1 else " ") for c in range(1, C + 1))
        template = (f" id{k}", "") if atomic else (f" ID {k} is", ".")
        attributes.append(Attribute(f"id_{k}", slots, (template,)))
    return Grammar(
        pools={name: tuple(values) for name, values in pools.items()},
        name=tuple(Slot(f"{part}_name", f"{part}_names") for part in NAME_PARTS),
        name_suffix="" if atomic else "'s",
        pronoun=None if atomic else Slot(None, "pronouns"),
        attributes=tuple(attributes),
        **wording_options(settings),
    )


def diversity(settings: BioDWorld) -> dict[str, int]:
    """The sizes that the diversity term K D log2(T^L / D) needs: K sets of D out of T^L strings."""
    return {"K": settings.K, "D": settings.D, "T_pow_L": settings.T**settings.L}


def chunk_set(seed: int, attribute: int, D: int, L: int, T: int) -> list[str]:
    """D distinct strings of L letters out of T, uniform among all such sets; all strings where D = T^L.

    Letters of a chunk are parted by blanks, so each is a word of its own.
    """
    rng = streams.generator(seed, streams.CHUNK_SETS, attribute)
    if T**L <= 4 * D:  # few strings: number them all. Otherwise draw until D differ.
        numbers = np.arange(D) if T**L == D else np.sort(rng.permutation(T**L)[:D])
        letters = np.stack([numbers // T ** (L - 1 - place) % T for place in range(L)], axis=1)
    else:
        letters = np.empty((0, L), dtype=np.int64)
        while len(letters) < D:
            letters = np.unique(np.concatenate([letters, rng.integers(0, T, (D - len(letters), L))]), axis=0)
    words = np.array(numbered("v", T), dtype=object)
    return [" ".join(row) for row in words[letters]]


def numbered(stem: str, count: int) -> list[str]:
    """Words v00, v01, ...: equally long, so that none begins another and a value needs no end mark."""
    width = len(str(count - 1))
    return [f"{stem}{number:0{width}}" for number in range(count)]


def _names(sizes: tuple[int, int, int], atomic: bool) -> dict[str, list[str]]:
    if atomic:
        return {f"{part}_names": numbered(part, size) for part, size in zip(NAME_PARTS, sizes, strict=True)}
    return {f"{part}_names": read_pool(f"{part}_names", size) for part, size in zip(NAME_PARTS, sizes, strict=True)}
