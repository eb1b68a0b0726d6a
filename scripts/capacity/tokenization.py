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
from capacity.world.pieces import EOS_ID, encode_pieces
from capacity.world.text import biographies
from capacity.world.written import encode_texts

EOS_TOKEN = "<|endoftext|>"
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
        return _pretrained_tokenizer(spec["folder"], world)
    raise UserError(f"kind: {spec['kind']}; use word, bpe or pretrained")


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and the tokenizer_config.json that transformers.AutoTokenizer needs beside it."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": EOS_TOKEN,
        "bos_token": EOS_TOKEN,
        "pad_token": EOS_TOKEN,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that `save_tokenizer` wrote."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


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


def _pretrained_tokenizer(folder: str, world: World) -> Tokenizer:
    """A published tokenizer, cut to the rows that the world uses. Raises UserError where it cannot be."""
    path = REPOSITORY / folder / "tokenizer.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        kind = state["model"]["type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"folder: {path} is no tokenizer ({error}); give a folder with a tokenizer.json") from None
    if kind != "BPE":
        raise UserError(f"folder: {path} is a {kind} tokenizer; use a BPE one, such as GPT-2's, LLaMA's or Mistral's")
    return _compact(_plain(state, path), world)


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


def _compact(tokenizer: Tokenizer, world: World) -> Tokenizer:
    """The same BPE with the tokens that the world can tell numbered first, from 0 (EOS) without a gap.

    A merge's parts must be tokens too: those that the world never tells are numbered last and are no
    rows of a model. Tokens that do not even serve as parts are dropped; on the world's text nothing
    changes.
    """
    state = json.loads(tokenizer.to_str())
    vocabulary, merges = state["model"]["vocab"], state["model"]["merges"]
    names = {index: token for token, index in vocabulary.items()}
    used = {names[index] for index in set().union(*_encoded(tokenizer, world))}
    kept = used | {EOS_TOKEN}
    for left, right in reversed(merges):  # a part is always older than the merges that use it
        if left + right in kept:
            kept |= {left, right}
    ordered = sorted(kept, key=lambda token: (token != EOS_TOKEN, token not in used, vocabulary.get(token)))
    state["model"]["vocab"] = {token: index for index, token in enumerate(ordered)}
    state["model"]["merges"] = [(left, right) for left, right in merges if left + right in kept]
    state["added_tokens"] = []
    compact = Tokenizer.from_str(json.dumps(state))
    compact.add_special_tokens([EOS_TOKEN])
    for numbers, before in zip(_encoded(compact, world), _encoded(tokenizer, world), strict=True):
        assert [ordered[number] for number in numbers] == [names[number] for number in before]
    return compact
