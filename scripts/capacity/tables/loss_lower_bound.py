"""Bits that the loss of a training proves to be stored: what is left of it when the wording is paid for.

The loss is a mean over all tokens of a biography. Its templates and the order of its sentences are drawn anew at every
exposure, so no model spends less on the wording than the nats of that choice. At most the rest is spent on name and
values, which saves their prior at least: a lower bound on the bits of Definition 4.1 (arXiv 2404.05405). It is reached
where there is no wording, as in random strings, or where the model predicts the wording as well as anybody can.
"""

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from capacity.artefacts.spec import Spec
from capacity.tables.bits import Array, bits_stored, has_diversity
from capacity.tables.rows import GRAMMAR
from capacity.world.grammar import Grammar
from capacity.world.prior import Account


@dataclass(frozen=True)
class LossInBits:
    """What turns the loss of one world into bits. Bits and nats are of one person."""

    N: int
    prior_bits: float
    wording_nats: float

    def bits(self, loss: Array, tokens: float) -> Array:
        """Bits stored of a person, at least. loss: nats a token, any shape. tokens: of a biography with its end."""
        return bits_stored(loss * tokens - self.wording_nats, self.prior_bits)


def loss_in_bits(spec: Spec, results: Path) -> LossInBits | None:
    """How the loss of a checkpoint's spec becomes bits; None where it is not of biographies worded anew alone.

    So it is with junk, kept paragraphs and written texts, with people who come more often than others, and where sets
    of values are knowledge, whose bits depend on the loss of first chunks.
    """
    if spec.settings["regime"]["zipf"]:
        return None
    content = json.loads((results / str(spec.parents["dataset"]) / GRAMMAR).read_text(encoding="utf-8"))
    account, grammar = Account(**content["account"]), Grammar.from_json(content["grammar"])
    if content["rewritings"] or content["settings"].get("junk") or grammar.paragraphs or has_diversity(account):
        return None
    prior_bits = account.name_prior_bits + math.fsum(bits for _, bits in account.items)
    return LossInBits(content["settings"]["N"], prior_bits, wording_nats(grammar))


def wording_nats(grammar: Grammar) -> float:
    """Nats in the choice of a biography's templates and of the order of its sentences."""
    orders = math.lgamma(len(grammar.attributes) + 1) if grammar.shuffled else 0.0
    return orders + math.fsum(_entropy(Counter(attribute.templates)) for attribute in grammar.attributes)


def _entropy(counts: Counter[tuple[str, str]]) -> float:
    """Nats of a draw where a template that stands several times comes as much more often."""
    total = counts.total()
    return math.log(total) - math.fsum(count * math.log(count) for count in counts.values()) / total
