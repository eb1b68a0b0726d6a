"""Tokenizers of a world: closed word vocabularies, byte-level BPE, published BPE; without rows that it cannot use."""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.world.draws import tokenizer_draws
from capacity.world.facts import World
from capacity.world.pieces import EOS_ID, EOS_TOKEN, encode_pieces
from capacity.world.text import biographies
from capacity.world.written import encode_texts

ENDS = (EOS_TOKEN, "</s>", "<|end_of_text|>", "<eos>")  # as published vocabularies write it
ALL_ROWS = "all_rows"  # in tokenizer_config.json, where a model has rows for tokens that its dataset never uses
TRAINING_BIOGRAPHIES = 10_000  # the text that BPE learns from: each last name of bioS ten times

# As GPT-2 splits: a piece starts with its blank; contractions, letters, digits stay apart. Unlike there, a
# mark is a piece of its own, so that a value's last mark can never join a sentence's full stop.
CONTRACTION, MARK = r"'(?:s|t|re|ve|m|ll|d)", r" ?[^\s\p{L}\p{N}]|\s"
BPE_PATTERN = rf"{CONTRACTION}| ?\p{{L}}+| ?\p{{N}}+|{MARK}"
DIGITS_PATTERN = rf"{CONTRACTION}| ?\p{{L}}+| ?\p{{N}}|{MARK}"  # every digit apart, as LLaMA splits
WORD_PATTERN = rf"{CONTRACTION}| ?[\p{{L}}\p{{N}}]+|{MARK}"  # a word may hold digits: v17


def build_tokenizer(spec: dict[str, Any], world: World) -> Tokenizer:
    """A world's tokenizer; EOS has id 0. Raises UserError where it cannot say what the world tells."""
    if spec["kind"] == "word":
        return _word_tokenizer(world)
    if spec["kind"] == "bpe":
        return _bpe_tokenizer(world, spec["vocabulary"], DIGITS_PATTERN if spec.get("split_digits") else BPE_PATTERN)
    if spec["kind"] == "pretrained":
        return _pretrained_tokenizer(spec, world)
    raise UserError(f"kind: {spec['kind']}; use word, bpe or pretrained")


def save_tokenizer(tokenizer: Tokenizer, folder: Path, all_rows: bool = False) -> None:
    """Write tokenizer.json and the tokenizer_config.json that transformers.AutoTokenizer needs beside it.

    all_rows: whether every token is a row of a model, used or not.
    """
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": EOS_TOKEN,
        "bos_token": EOS_TOKEN,
        "pad_token": EOS_TOKEN,
        "clean_up_tokenization_spaces": False,
        **({ALL_ROWS: True} if all_rows else {}),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that `save_tokenizer` wrote."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def has_all_rows(folder: Path) -> bool:
    """What `save_tokenizer` was told of them."""
    return bool(json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get(ALL_ROWS))


def _word_tokenizer(world: World) -> Tokenizer:
    """One token a word that the world can tell, blank included; any other word is an error."""
    splitter = pre_tokenizers.Split(Regex(WORD_PATTERN), "isolated")
    words = dict.fromkeys(word for text in _all_texts(world) for word, _ in splitter.pre_tokenize_str(text))
    vocabulary = {EOS_TOKEN: EOS_ID} | {word: index for index, word in enumerate(words, start=1)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=None))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([EOS_TOKEN])
    return tokenizer


def _bpe_tokenizer(world: World, vocabulary: int, pattern: str) -> Tokenizer:
    """Byte-level BPE of at most `vocabulary` tokens, the world's own, cut to the rows that it uses."""
    return _compact(_train_bpe(world, vocabulary, pattern), world)


def _train_bpe(world: World, vocabulary: int, pattern: str) -> Tokenizer:
    """Merges learned from the world's text; at most `vocabulary` tokens, used or not."""
    tokenizer = _bpe_shell(models.BPE(), pattern)
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[EOS_TOKEN], show_progress=False)
    tokenizer.train_from_iterator(_training_texts(world), trainer)
    if tokenizer.get_vocab_size() > vocabulary:
        raise UserError(f"vocabulary: {vocabulary}; this dataset needs {tokenizer.get_vocab_size()} or more")
    return tokenizer


def _bpe_shell(model: models.BPE, pattern: str) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _training_texts(world: World) -> Iterator[str]:
    """Every piece once, so that no character is missing, and biographies in training's style."""
    characters = sorted(set().union(*world.rewritings.texts(slice(None)))) if world.rewritings else []
    pieces = characters or world.grammar.pieces()
    return chain(pieces, biographies(world, tokenizer_draws(world, TRAINING_BIOGRAPHIES)))


def _all_texts(world: World) -> list[str]:
    """Pieces that make every text of a world, or its written texts themselves."""
    return world.rewritings.texts(slice(None)) if world.rewritings else world.grammar.pieces()


def _encoded(tokenizer: Tokenizer, world: World) -> Iterator[list[int]]:
    """Token ids of each of them, in order. Raises UserError where the tokenizer cannot say what the world tells."""
    if world.rewritings is None:
        yield from encode_pieces(tokenizer, world.grammar).values()
        return
    for _, encodings in encode_texts(tokenizer, world.rewritings):
        yield from (each.ids for each in encodings)


def _pretrained_tokenizer(spec: dict[str, Any], world: World) -> Tokenizer:
    """A published tokenizer, with all its rows or cut to those that the world uses. Raises UserError for a bad one."""
    path = REPOSITORY / spec["folder"] / "tokenizer.json"
    state = _published(path)
    rows = _rows(state)
    tokenizer = _plain(state, path)
    return _compact(tokenizer, world) if spec.get("compact", True) else _whole(tokenizer, rows, world)


def published_rows(path: Path) -> int:
    """How many rows a model has for a published tokenizer.json, EOS included. Raises UserError for a bad one."""
    return len(_rows(_published(path)))


def _published(path: Path) -> dict[str, Any]:
    """The content of a tokenizer.json. Raises UserError where it is no BPE tokenizer."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        kind = state["model"]["type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"folder: {path} is no tokenizer ({error}); give a folder with a tokenizer.json") from None
    if kind != "BPE":
        raise UserError(f"folder: {path} is a {kind} tokenizer; use a BPE one, such as GPT-2's, LLaMA's or Mistral's")
    return state


def _rows(state: dict[str, Any]) -> list[str]:
    """All tokens of a published tokenizer in their order, after the one that ends a text, which is added if need be."""
    vocabulary = state["model"]["vocab"]
    added = [each["content"] for each in state.get("added_tokens") or []]
    tokens = dict.fromkeys([*sorted(vocabulary, key=vocabulary.__getitem__), *added])
    end = next((each for each in ENDS if each in tokens), EOS_TOKEN)
    return [end, *(token for token in tokens if token != end)]


def _plain(state: dict[str, Any], path: Path) -> Tokenizer:
    """The tokenizer without what it puts around a text: our texts begin with the blank that some put there."""
    state |= {"post_processor": None, "truncation": None, "padding": None, "added_tokens": []}
    state["model"] |= {"unk_token": None, "fuse_unk": False, "dropout": None}
    for part in _parts(state["pre_tokenizer"], "pretokenizers"):
        if part["type"] == "Metaspace":
            part["prepend_scheme"] = "never"
        if part["type"] == "ByteLevel":
            part["add_prefix_space"] = False
    state["normalizer"] = _without(state["normalizer"], "normalizers", "Prepend")
    state["decoder"] = _without(state["decoder"], "decoders", "Strip")
    for part in _parts(state["decoder"], "decoders"):
        if part["type"] == "Metaspace":
            part["prepend_scheme"] = "never"
    try:
        return Tokenizer.from_str(json.dumps(state))
    except Exception as error:  # tokenizers raises plain Exception
        raise UserError(f"folder: {path}: {error}") from None


def _parts(component: dict[str, Any] | None, plural: str) -> list[dict[str, Any]]:
    """The members of a component of a tokenizer.json, which may be none, one, or a sequence."""
    if component is None:
        return []
    return component[plural] if component["type"] == "Sequence" else [component]


def _without(component: dict[str, Any] | None, plural: str, kind: str) -> dict[str, Any] | None:
    kept = [part for part in _parts(component, plural) if part["type"] != kind]
    return {"type": "Sequence", plural: kept} if kept else None


def _whole(tokenizer: Tokenizer, rows: list[str], world: World) -> Tokenizer:
    """The same BPE with all its rows, the end of a text the first of them, under the name that it has here."""
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return _renumbered(tokenizer, [EOS_TOKEN, *rows[1:]], merges, world)


def _compact(tokenizer: Tokenizer, world: World) -> Tokenizer:
    """The same BPE with the tokens that the world can tell numbered first, from 0 (EOS) without a gap.

    A merge's parts must be tokens too: those that the world never tells are numbered last and are no
    rows of a model. Tokens that do not even serve as parts are dropped.
    """
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary, merges = model["vocab"], model["merges"]
    names = {index: token for token, index in vocabulary.items()}
    used = {names[index] for index in set(chain.from_iterable(_encoded(tokenizer, world)))}
    kept = used | {EOS_TOKEN}
    for left, right in reversed(merges):  # a part is always older than the merges that use it
        if left + right in kept:
            kept |= {left, right}
    ordered = sorted(kept, key=lambda token: (token != EOS_TOKEN, token not in used, vocabulary.get(token)))
    return _renumbered(tokenizer, ordered, [(left, right) for left, right in merges if left + right in kept], world)


def _renumbered(tokenizer: Tokenizer, ordered: list[str], merges: list[Any], world: World) -> Tokenizer:
    """A BPE with its tokens in another order, EOS first; on the world's text nothing else changes."""
    state = json.loads(tokenizer.to_str())
    names = {index: token for token, index in state["model"]["vocab"].items()}
    state["model"] |= {"vocab": {token: index for index, token in enumerate(ordered)}, "merges": merges}
    state["added_tokens"] = []
    other = Tokenizer.from_str(json.dumps(state))
    other.add_special_tokens([EOS_TOKEN])
    for numbers, before in zip(_encoded(other, world), _encoded(tokenizer, world), strict=True):
        assert [ordered[number] for number in numbers] == [names[number] for number in before]
    return other
