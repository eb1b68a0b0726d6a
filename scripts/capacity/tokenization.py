"""Tokenizers of a world: closed word vocabularies and byte-level BPE, without rows that it cannot use."""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from capacity.errors import UserError
from capacity.world.draws import tokenizer_draws
from capacity.world.facts import World
from capacity.world.grammar import Grammar
from capacity.world.pieces import EOS_ID, encode_pieces
from capacity.world.text import biographies

EOS_TOKEN = "<|endoftext|>"
TRAINING_BIOGRAPHIES = 10_000  # the text that BPE learns from: each last name of bioS ten times

# As GPT-2 splits: a piece starts with its blank; contractions, letters, digits stay apart. Unlike there, a
# mark is a piece of its own, so that a value's last mark can never join a sentence's full stop.
CONTRACTION, MARK = r"'(?:s|t|re|ve|m|ll|d)", r" ?[^\s\p{L}\p{N}]|\s"
BPE_PATTERN = rf"{CONTRACTION}| ?\p{{L}}+| ?\p{{N}}+|{MARK}"
DIGITS_PATTERN = rf"{CONTRACTION}| ?\p{{L}}+| ?\p{{N}}|{MARK}"  # every digit apart, as LLaMA splits
WORD_PATTERN = rf"{CONTRACTION}| ?[\p{{L}}\p{{N}}]+|{MARK}"  # a word may hold digits: v17


def build_tokenizer(spec: dict[str, Any], world: World) -> Tokenizer:
    """A world's tokenizer; EOS has id 0. Raises UserError where the vocabulary is too small."""
    if spec["kind"] == "word":
        return _word_tokenizer(world.grammar)
    if spec["kind"] == "bpe":
        return _bpe_tokenizer(world, spec["vocabulary"], DIGITS_PATTERN if spec.get("split_digits") else BPE_PATTERN)
    raise UserError(f"kind: {spec['kind']}; use word or bpe")


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


def _word_tokenizer(grammar: Grammar) -> Tokenizer:
    """One token a word that the grammar can produce, blank included; any other word is an error."""
    splitter = pre_tokenizers.Split(Regex(WORD_PATTERN), "isolated")
    words = dict.fromkeys(word for piece in grammar.pieces() for word, _ in splitter.pre_tokenize_str(piece))
    vocabulary = {EOS_TOKEN: EOS_ID} | {word: index for index, word in enumerate(words, start=1)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=None))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([EOS_TOKEN])
    return tokenizer


def _bpe_tokenizer(world: World, vocabulary: int, pattern: str) -> Tokenizer:
    """Byte-level BPE of at most `vocabulary` tokens, the world's own, cut to the rows that it uses."""
    return _compact(_train_bpe(world, vocabulary, pattern), world.grammar, pattern)


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
    return chain(world.grammar.pieces(), biographies(world, tokenizer_draws(world, TRAINING_BIOGRAPHIES)))


def _compact(tokenizer: Tokenizer, grammar: Grammar, pattern: str) -> Tokenizer:
    """The same tokenizer with the tokens that the grammar can produce numbered first, from 0 without a gap.

    A merge's parts must be tokens too: those that the grammar never produces are numbered last and are no
    rows of a model. Tokens that do not even serve as parts are dropped; on the grammar's text nothing
    changes.
    """
    model = json.loads(tokenizer.to_str())["model"]
    ids = encode_pieces(tokenizer, grammar)
    names = {index: token for token, index in model["vocab"].items()}
    used = {EOS_TOKEN}.union(names[index] for index in chain.from_iterable(ids.values()))
    kept = set(used)
    for left, right in reversed(model["merges"]):  # a part is always older than the merges that use it
        if left + right in kept:
            kept |= {left, right}
    ordered = sorted(kept, key=lambda token: (token not in used, model["vocab"][token]))
    merges = [(left, right) for left, right in model["merges"] if left + right in kept]
    compact = _bpe_shell(models.BPE({token: index for index, token in enumerate(ordered)}, merges), pattern)
    compact.add_special_tokens([EOS_TOKEN])
    for piece, numbers in encode_pieces(compact, grammar).items():
        assert [ordered[number] for number in numbers] == [names[number] for number in ids[piece]]
    return compact
