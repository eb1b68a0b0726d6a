"""A keyed pseudorandom bijection of 0..size-1: unique numbers without memory, any one of them on its own."""

import math

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8
LARGEST = 2**62  # what the products of a round leave room for
CHUNK = 65_536  # numbers a pass, so that the temporaries stay in the cache


def keyed_bijection(numbers: NDArray[np.integer], size: int, key: np.random.SeedSequence) -> NDArray[np.int64]:
    """The image of each number under the key's permutation of 0..size-1.

    numbers: (n,), each in 0..size-1; size at most LARGEST. An unbalanced Feistel network on pairs (left, right)
    with left < a, right < b and a * b just above size (Black and Rogaway 2002, "Ciphers with arbitrary finite
    domains"); images at or beyond size walk on along their cycle until they fall inside.
    """
    round_keys = key.generate_state(ROUNDS, np.uint64).astype(np.uint64)
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    images = np.empty(len(numbers), dtype=np.int64)
    for start in range(0, len(numbers), CHUNK):
        chunk = _network(numbers[start : start + CHUNK].astype(np.uint64), a, b, round_keys)
        outside = np.flatnonzero(chunk >= size)
        while len(outside):
            chunk[outside] = _network(chunk[outside], a, b, round_keys)
            outside = outside[chunk[outside] >= size]
        images[start : start + CHUNK] = chunk
    return images


def _network(numbers: NDArray[np.uint64], a: int, b: int, round_keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The Feistel rounds: a bijection of 0..a*b-1."""
    left, right = np.divmod(numbers, np.uint64(b))
    for index, round_key in enumerate(round_keys):
        if index % 2:
            right = (right + mix(left + round_key) % np.uint64(b)) % np.uint64(b)
        else:
            left = (left + mix(right + round_key) % np.uint64(a)) % np.uint64(a)
    return left * np.uint64(b) + right


def mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64: every input bit moves every output bit. Overwrites its argument."""
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words
