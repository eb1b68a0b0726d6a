"""Small worlds that the tests of worlds, tokenizers and batches share."""

import functools
import json
from typing import Any

from tokenizers import Tokenizer

from capacity.tokenizers.spec import read_tokenizer
from capacity.tokenizers.tokenization import build_tokenizer
from capacity.world import facts
from capacity.world.facts import World
from capacity.world.kinds import WorldSettings, read_world
from capacity.world.render import Renderer

ATOMIC = {
    "kind": "bioD", "N": 750, "K": 4, "C": 1, "D": 64, "L": 1, "T": 64,
    "names": [32, 32, 32], "wording": "atomic", "seed": 1,
}  # fmt: skip
SENTENCE = {
    "kind": "bioD", "N": 300, "K": 9, "C": 3, "D": 40, "L": 2, "T": 12,
    "names": [20, 20, 20], "wording": "sentence", "seed": 2,
}  # fmt: skip
SMALL_POOLS = {
    "first_names": 20, "middle_names": 20, "last_names": 30, "months": 12, "days": 28, "years": 200,
    "cities": 20, "universities": 30, "majors": 10, "employers": 25,
}  # fmt: skip
FULL_POOLS = {
    "first_names": 400, "middle_names": 400, "last_names": 1000, "months": 12, "days": 28, "years": 200,
    "cities": 200, "universities": 300, "majors": 100, "employers": 263,
}  # fmt: skip
SMALL_BIOS = {"kind": "bioS", "N": 400, "pools": SMALL_POOLS, "templates": 5, "seed": 3}
FULL_BIOS = {"kind": "bioS", "N": 800, "pools": FULL_POOLS, "templates": 52, "seed": 4}
SPECS = {"atomic": ATOMIC, "sentence": SENTENCE, "small_bios": SMALL_BIOS, "full_bios": FULL_BIOS}
TOKENIZERS = {"word": {"kind": "word"}, "bpe": {"kind": "bpe", "vocabulary": 700}}
PAIRS = [(world, tokenizer) for world in SPECS for tokenizer in TOKENIZERS]


WORDING = {"sentences": "shuffled", "paragraphs": None, "tag": False, "files": {}}
USUAL = {
    "bioD": WORDING | {"junk": None},
    "bioS": WORDING | {"junk": None, "value_lists": {}, "template_folder": None, "pronouns": ["He", "She"]},
    "records": WORDING | {"phrases": {}},
    "random": {},
}


def settings_of(settings: dict[str, Any] | WorldSettings) -> WorldSettings:
    """A world's settings, of which all that is not given is as in most tests."""
    if not isinstance(settings, dict):
        return settings
    junk = {"junk": {"windows": "pure", **settings["junk"]}} if settings.get("junk") else {}
    return read_world(USUAL[settings["kind"]] | settings | junk)


def make_world(settings: dict[str, Any] | WorldSettings) -> World:
    """The world of such settings."""
    return facts.make_world(settings_of(settings))


def made_tokenizer(settings: dict[str, Any], world: World) -> Tokenizer:
    """A world's tokenizer by settings of which all that is not given is as in most tests."""
    usual = {"bpe": {"split_digits": False}, "pretrained": {"compact": True, "rows": None, "files": {}}}
    return build_tokenizer(read_tokenizer(usual.get(settings["kind"], {}) | settings), world)


def world_of(settings: dict[str, Any]) -> World:
    """The world of a spec, made once a test session."""
    return _world(json.dumps(settings))


@functools.cache
def _world(text: str) -> World:
    return make_world(json.loads(text))


@functools.cache
def setting(world_name: str, tokenizer_name: str) -> tuple[World, Tokenizer, Renderer]:
    """World, tokenizer and renderer by name, made once a test session."""
    world = world_of(SPECS[world_name])
    tokenizer = made_tokenizer(TOKENIZERS[tokenizer_name], world)
    return world, tokenizer, Renderer(world, tokenizer)


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    """The text route's ids."""
    return tokenizer.encode(text, add_special_tokens=False).ids


class KnowsAll:
    """Foretells every text, right or wrong, all but surely: it looks one token ahead."""

    def __init__(self, vocabulary: int):
        self.V = vocabulary

    def __call__(self, ids: Any) -> Any:
        import torch

        following = torch.cat([ids[:, 1:], ids[:, :1]], dim=1)
        logits = 30.0 * torch.nn.functional.one_hot(following, self.V).float()
        return type("Output", (), {"logits": logits})
