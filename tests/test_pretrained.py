"""Promises of published tokenizers: cut to the used rows without changing an id, refused where they merge slots.

The tokenizers are trained here in the forms of GPT-2's and LLaMA's, so that no download is needed.
"""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from planted import TINY
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from worlds import SENTENCE, SMALL_BIOS, SPECS, world_of

from capacity.config.load import check, read_yaml
from capacity.config.models import Config
from capacity.config.resolve import resolve
from capacity.errors import UserError
from capacity.tokenization import EOS_TOKEN, build_tokenizer, load_tokenizer, save_tokenizer
from capacity.world import EOS_ID, Attribute, Grammar, Renderer, Slot, training_draws
from capacity.world.pieces import encode_pieces

OTHER_TEXT = Path(__file__).resolve().parents[1] / "README.md"


@functools.cache
def published(form: str) -> Tokenizer:
    """A tokenizer trained on other text than the worlds', with the parts around it that published ones have."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=form == "llama", unk_token="<unk>" if form == "llama" else None))
    special, alphabet = [EOS_TOKEN], pre_tokenizers.ByteLevel.alphabet()
    if form == "llama":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        special = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256))]
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?=▁)|(?<=\w)(?=\W)|(?<=\W)(?=\w)"), "isolated")
        alphabet = []
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=form == "roberta")
        tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(OTHER_TEXT.read_text(encoding="utf-8").splitlines(), trainer)
    if form == "llama":
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def folder_of(tmp_path: Path, form: str) -> str:
    published(form).save(str(tmp_path / "tokenizer.json"))
    return str(tmp_path)


@pytest.mark.parametrize("form", ["gpt2", "roberta", "llama"])
@pytest.mark.parametrize("world_name", SPECS)
def test_a_published_tokenizer_is_cut_to_what_the_world_uses_without_changing_a_token(
    tmp_path: Path, form: str, world_name: str
) -> None:
    world = world_of(SPECS[world_name])
    compact = build_tokenizer({"kind": "pretrained", "folder": folder_of(tmp_path, form)}, world)
    renderer, draws = Renderer(world, compact), training_draws(world, 7, 0, 0)[:60]
    texts = renderer.texts(draws)
    whole = published(form)
    for text in texts:  # LLaMA's puts the blank there itself, and a start token
        given = text.removeprefix(" ") if form == "llama" else text
        encoding = whole.encode(given, add_special_tokens=False)
        assert compact.encode(text).tokens == encoding.tokens
        assert compact.decode(compact.encode(text).ids) == text
    assert renderer.tokens(draws, labels=False).tokens.tolist() == [
        token for text in texts for token in compact.encode(text).ids
    ]
    assert compact.token_to_id(EOS_TOKEN) == EOS_ID
    assert renderer.vocab_size < compact.get_vocab_size() < whole.get_vocab_size()


def test_it_survives_saving(tmp_path: Path) -> None:
    world = world_of(SMALL_BIOS)
    compact = build_tokenizer({"kind": "pretrained", "folder": folder_of(tmp_path, "gpt2")}, world)
    save_tokenizer(compact, tmp_path)
    text = Renderer(world, compact).texts(training_draws(world, 7, 0, 0)[:1])[0]
    assert load_tokenizer(tmp_path).encode(text).ids == compact.encode(text).ids


def test_a_tokenizer_that_merges_a_value_with_what_follows_is_refused(tmp_path: Path) -> None:
    """Without a split before the merges, a frequent pair such as the last letter and the full stop is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.Fuse()
    world = world_of(SENTENCE)
    texts = Renderer(world, build_tokenizer({"kind": "word"}, world)).texts(training_draws(world, 7, 0, 0))
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=[EOS_TOKEN], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=r"it merges .* where they meet"):
        build_tokenizer({"kind": "pretrained", "folder": str(tmp_path)}, world)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is no tokenizer"),
        ("{", "is no tokenizer"),
        (json.dumps({"model": {"type": "Unigram"}}), "is a Unigram tokenizer; use a BPE one"),
    ],
)
def test_a_folder_without_a_usable_tokenizer_is_named(tmp_path: Path, content: str | None, says: str) -> None:
    if content:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=says):
        build_tokenizer({"kind": "pretrained", "folder": str(tmp_path)}, world_of(SMALL_BIOS))


def test_the_configuration_counts_it_by_content_and_refuses_a_folder_without_one(tmp_path: Path) -> None:
    def ids() -> set[str]:
        raw: dict[str, Any] = read_yaml(TINY)
        raw["tokenizers"]["bpe"] = {"kind": "pretrained", "folder": str(tmp_path)}
        grid = resolve(check(Config, raw, "planted"))
        return {order.id for order in grid.orders.values() if order.stage == "tokenizers"}

    with pytest.raises(UserError, match=r"has no tokenizer\.json"):
        ids()
    folder_of(tmp_path, "gpt2")
    before = ids()
    assert ids() == before
    (tmp_path / "tokenizer.json").write_text((tmp_path / "tokenizer.json").read_text() + "\n")
    assert ids() != before


def test_without_a_pattern_every_pair_is_tried() -> None:
    """One name of two that end alike merges with what follows: no other pair would show it."""
    grammar = Grammar(
        pools={"names": ("Cox", "Fox"), "values": ("a", "b")},
        name=(Slot("name", "names"),),
        name_suffix="'s",
        pronoun=None,
        attributes=(Attribute("value", (Slot("value", "values"),), ((" is", "."),)),),
    )
    letters = sorted({letter for piece in grammar.pieces() for letter in piece})
    merges = [("C", "o"), ("Co", "x"), ("Cox", "'")]
    words = [EOS_TOKEN, *letters, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, merges))
    tokenizer.decoder = decoders.Fuse()
    with pytest.raises(UserError, match="it merges ' Cox' and \"'s\" where they meet"):
        encode_pieces(tokenizer, grammar)
