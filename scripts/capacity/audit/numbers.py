"""How far numbers are apart, alone and in texts that are otherwise equal: |a - b| over max(1, |a|, |b|)."""

import math
import re

NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?|nan|NaN|-?inf(?:inity)?|-?Infinity")
INCOMPARABLE = math.inf


def text_deviation(a: str, b: str) -> float:
    """The largest deviation between the numbers of two texts that are otherwise equal, else inf."""
    if NUMBER.split(a) != NUMBER.split(b):
        return INCOMPARABLE
    pairs = zip(NUMBER.findall(a), NUMBER.findall(b), strict=True)
    return max((number_deviation(float(x), float(y)) for x, y in pairs if x != y), default=0.0)


def number_deviation(x: float, y: float) -> float:
    """Of two numbers; inf where one of them alone is finite."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return 0.0 if x == y or (math.isnan(x) and math.isnan(y)) else INCOMPARABLE
    return abs(x - y) / max(1.0, abs(x), abs(y))
