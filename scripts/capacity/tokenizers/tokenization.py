"""Tokenizers of a world: closed word vocabularies, byte-level BPE, published BPE; without rows that it cannot use."""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from capacity.errors import UserError
from capacity.tokenizers.published import read_published
from capacity.tokenizers.spec import TOKENIZER_FILE, OwnBpe, PublishedBpe, TokenizerSettings, WordVocabulary
from capacity.world.facts import World
from capacity.world.grammar import EOS_TOKEN
from capacity.world.pieces import EOS_ID
from capacity.world.render import Renderer
from capacity.world.sampling import tokenizer_draws
from capacity.world.text import biographies
from capacity.world.text_renderer import TextRenderer, encode_written
from capacity.world.token_merges import encode_pieces, read_grammar

ALL_ROWS = "all_rows"  # in tokenizer_config.json, where a model has rows for tokens that its dataset never uses
TRAINING_BIOGRAPHIES = 10_000  # the text that BPE learns from: each last name of bioS ten times
CHECKED_BIOGRAPHIES = 1000  # rendered as training will, when a tokenizer is made

# As GPT-2 splits: a piece starts with its blank; contractions, letters, digits stay apart. Unlike there, a
# mark is a piece of its own, so that a value's last mark can never join a sentence's full stop.
CONTRACTION, MARK = r"'(?:s|t|re|ve|m|ll|d)", r" ?[^\s\p{L}\p{N}]|\s"
BPE_PATTERN = rf"{CONTRACTION}| ?\p{{L}}+| ?\p{{N}}+|{MARK}"
DIGITS_PATTERN = rf"{CONTRACTION}| ?\p{{L}}+| ?\p{{N}}|{MARK}"  # every digit apart, as LLaMA splits
WORD_PATTERN = rf"{CONTRACTION}| ?[\p{{L}}\p{{N}}]+|{MARK}"  # a word may hold digits: v17


def build_tokenizer(settings: TokenizerSettings, world: World) -> Tokenizer:
    """A world's tokenizer; EOS has id 0. Raises UserError where it cannot encode the world's texts."""
    if isinstance(settings, WordVocabulary):
        return _word_tokenizer(world)
    if isinstance(settings, OwnBpe):
        return _bpe_tokenizer(world, settings.vocabulary, DIGITS_PATTERN if settings.split_digits else BPE_PATTERN)
    return _pretrained_tokenizer(settings, world)


def check_rendering(renderer: Renderer | TextRenderer, tokenizer: Tokenizer) -> None:
    """Render a sample as training and probes will. Raises UserError for a token that joins two facts, and where the
    tokens are not those of the text.
    """
    assert isinstance(renderer.world, World)
    draws = tokenizer_draws(renderer.world, CHECKED_BIOGRAPHIES)
    rendering, texts = renderer.tokens(draws, labels=True), renderer.texts(draws)
    ids = np.array([token for each in tokenizer.encode_batch(texts, add_special_tokens=False) for token in each.ids])
    if not np.array_equal(ids, rendering.tokens):
        raise UserError("tokenizer: it reads pieces of a text otherwise than the text; use one that splits at blanks")


def save_tokenizer(tokenizer: Tokenizer, folder: Path, all_rows: bool = False) -> None:
    """Write tokenizer.json and the tokenizer_config.json that transformers.AutoTokenizer needs beside it.

    all_rows: whether every token is a row of a model, used or not.
    """
    tokenizer.save(str(folder / TOKENIZER_FILE))
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
    return Tokenizer.from_file(str(folder / TOKENIZER_FILE))


def has_all_rows(folder: Path) -> bool:
    """Whether `save_tokenizer` was given all rows."""
    return bool(json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get(ALL_ROWS))


def _word_tokenizer(world: World) -> Tokenizer:
    """One token a word that the world can produce, blank included; any other word is an error."""
    splitter = pre_tokenizers.Split(Regex(WORD_PATTERN), "isolated")
    words = dict.fromkeys(word for text in _all_texts(world) for word, _ in splitter.pre_tokenize_str(text))
    vocabulary = {EOS_TOKEN: EOS_ID} | {word: index for index, word in enumerate(words, start=1)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=None))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([EOS_TOKEN])
    return tokenizer


def _bpe_tokenizer(world: World, vocabulary: int, pattern: str) -> Tokenizer:
    """Byte-level BPE of at most `vocabulary` tokens, a tag besides, the world's own, cut to the rows that it uses."""
    return _compact(_tagged(_train_bpe(world, vocabulary, pattern), world), world)


def _tagged(tokenizer: Tokenizer, world: World) -> Tokenizer:
    """The tokenizer with the world's tag, where it has one, as one token, which its own text need not make it."""
    if world.grammar.tag:
        tokenizer.add_tokens([AddedToken(world.grammar.tag, normalized=False)])
    return tokenizer


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
    """Token ids of each of them, in order. Raises UserError where the tokenizer cannot encode them."""
    if world.rewritings is None:
        yield from encode_pieces(tokenizer, world.grammar).values()
        return
    for _, encodings in encode_written(tokenizer, world.rewritings):
        yield from (each.ids for each in encodings)


def _pretrained_tokenizer(settings: PublishedBpe, world: World) -> Tokenizer:
    """A published tokenizer, with all its rows or cut to those that the world uses. Raises UserError for a bad one."""
    tokenizer, rows = read_published(settings)
    tokenizer = _tagged(tokenizer, world)
    return _compact(tokenizer, world) if settings.compact else _whole(tokenizer, rows, world)


def _whole(tokenizer: Tokenizer, rows: list[str], world: World) -> Tokenizer:
    """The same BPE with all its rows, the end of a text the first of them, under the name that it has here."""
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return _renumbered(tokenizer, [EOS_TOKEN, *rows[1:], *filter(None, [world.grammar.tag])], merges, world)


def _compact(tokenizer: Tokenizer, world: World) -> Tokenizer:
    """The same BPE with the tokens that the world can produce numbered first, from 0 (EOS) without a gap.

    A merge's parts must be tokens too: those that the world never produces are numbered last and are no
    rows of a model. Tokens that do not even serve as parts are dropped, unless tokens reach across pieces: pairs of
    pieces do not show all that there are then, and one that comes is to be refused, not read otherwise.
    """
    vocabulary, merges = tokenizer.get_vocab(), json.loads(tokenizer.to_str())["model"]["merges"]
    names = {index: token for token, index in vocabulary.items()}
    ids, merging = _used(tokenizer, world)
    used = {names[index] for index in ids}
    kept = (set(vocabulary) if merging else used) | {EOS_TOKEN}
    for left, right in reversed(merges):  # a part is always older than the merges that use it
        if left + right in kept:
            kept |= {left, right}
    ordered = sorted(kept, key=lambda token: (token != EOS_TOKEN, token not in used, vocabulary.get(token)))
    return _renumbered(tokenizer, ordered, [(left, right) for left, right in merges if left + right in kept], world)


def _used(tokenizer: Tokenizer, world: World) -> tuple[set[int], bool]:
    """The ids that the world's texts can hold, and whether tokens reach from one piece of a text into the next."""
    if world.rewritings:
        return set(chain.from_iterable(_encoded(tokenizer, world))), False
    reading = read_grammar(tokenizer, world.grammar)
    return reading.used, reading.merge


def _renumbered(tokenizer: Tokenizer, ordered: list[str], merges: list[Any], world: World) -> Tokenizer:
    """A BPE with its tokens in another order, EOS first; on the world's text nothing else changes."""
    state = json.loads(tokenizer.to_str())
    names = {index: token for token, index in tokenizer.get_vocab().items()}
    state["model"] |= {"vocab": {token: index for index, token in enumerate(ordered)}, "merges": merges}
    state["added_tokens"] = []
    other = Tokenizer.from_str(json.dumps(state))
    other.add_special_tokens([EOS_TOKEN])
    _tagged(other, world)
    for numbers, before in zip(_encoded(other, world), _encoded(tokenizer, world), strict=True):
        assert [ordered[number] for number in numbers] == [names[number] for number in before]
    return other
