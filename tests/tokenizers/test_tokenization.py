"""Promises of tokenizers: no row too many, text kept, equal ids in transformers, equal bytes."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from worlds import ATOMIC, PAIRS, SMALL_BIOS, SPECS, TOKENIZERS, ids_of, made_tokenizer, setting, world_of

from capacity.errors import UserError
from capacity.tokenizers import tokenization
from capacity.tokenizers.tokenization import (
    BPE_PATTERN,
    EOS_ID,
    EOS_TOKEN,
    _train_bpe,
    load_tokenizer,
    save_tokenizer,
)
from capacity.world.render import Renderer
from capacity.world.sampling import training_draws


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenization, "TRAINING_BIOGRAPHIES", 500)


EACH_PAIR = pytest.mark.parametrize(("world_name", "tokenizer_name"), PAIRS)


def some_texts(world_name: str, tokenizer_name: str, count: int = 150) -> list[str]:
    world, _, renderer = setting(world_name, tokenizer_name)
    return renderer.texts(training_draws(world, 3, 0, 0)[:count])


def test_the_atomic_world_has_one_row_a_name_part_letter_and_attribute() -> None:
    world, tokenizer, renderer = setting("atomic", "word")
    assert tokenizer.get_vocab_size() == renderer.vocab_size == 96 + 64 + 4 + 1
    draws = training_draws(world, 3, 0, 0)
    assert set(renderer.tokens(draws, labels=False).lengths) == {11}


def test_the_word_vocabulary_is_the_set_of_words_in_the_worlds_text() -> None:
    """Planted people who use every value, often enough for every template."""
    world, tokenizer, _ = setting("small_bios", "word")
    codes = {column: np.arange(world.N) % size for column, size in world.grammar.column_sizes.items()}
    renderer = Renderer(replace(world, facts=codes), tokenizer)
    texts = [text for exposure in range(12) for text in renderer.texts(training_draws(world, 3, exposure, 0))]
    produced = {token for encoding in tokenizer.encode_batch(texts) for token in encoding.ids}
    assert produced | {EOS_ID} == set(range(tokenizer.get_vocab_size()))


@EACH_PAIR
def test_every_row_of_a_model_is_a_token_that_the_world_can_produce(world_name: str, tokenizer_name: str) -> None:
    world, tokenizer, renderer = setting(world_name, tokenizer_name)
    produced = {token for piece in world.grammar.pieces() for token in ids_of(tokenizer, piece)}
    assert produced == set(range(1, renderer.vocab_size))
    assert tokenizer.token_to_id(EOS_TOKEN) == EOS_ID == 0


@EACH_PAIR
def test_decoding_gives_the_text_back(world_name: str, tokenizer_name: str) -> None:
    _, tokenizer, _ = setting(world_name, tokenizer_name)
    for text in some_texts(world_name, tokenizer_name):
        assert tokenizer.decode(ids_of(tokenizer, text)) == text


@pytest.mark.parametrize("world_name", SPECS)
@pytest.mark.usefixtures("short_training")
def test_dropping_unused_rows_changes_no_token(world_name: str) -> None:
    world, vocabulary = world_of(SPECS[world_name]), TOKENIZERS["bpe"]["vocabulary"]
    trained, compact = _train_bpe(world, vocabulary, BPE_PATTERN), made_tokenizer(TOKENIZERS["bpe"], world)
    renderer = Renderer(world, compact)
    for text in renderer.texts(training_draws(world, 3, 0, 0)[:150]):
        assert compact.encode(text).tokens == trained.encode(text).tokens
    assert renderer.vocab_size < trained.get_vocab_size() <= vocabulary


def test_digits_apart_are_one_token_each_and_all_else_is_as_joined() -> None:
    world = world_of(SPECS["small_bios"])
    joined, apart = (
        made_tokenizer({"kind": "bpe", "vocabulary": 700, "split_digits": split}, world) for split in (False, True)
    )
    assert joined.to_str() == made_tokenizer(TOKENIZERS["bpe"], world).to_str()
    text = " born on March 17, 1996."
    assert [token for token in apart.encode(text).tokens if any(c.isdigit() for c in token)] == [
        "\u01201", "7", "\u01201", "9", "9", "6",
    ]  # fmt: skip
    assert any(
        len(token.strip("\u0120")) > 1 for token in joined.encode(text).tokens if token.strip("\u0120").isdigit()
    )
    assert apart.decode(apart.encode(text).ids) == joined.decode(joined.encode(text).ids) == text
    assert len(apart.get_vocab()) <= 700


def test_bpe_pieces_start_with_their_blank_and_keep_letters_digits_and_marks_apart() -> None:
    _, tokenizer, _ = setting("full_bios", "bpe")
    pieces = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(" Ann's May 5, v17..")]
    assert pieces == ["ĠAnn", "'s", "ĠMay", "Ġ5", ",", "Ġv", "17", ".", "."]


@pytest.mark.usefixtures("short_training")
def test_a_larger_vocabulary_makes_shorter_biographies() -> None:
    world = world_of(SMALL_BIOS)
    draws = training_draws(world, 3, 0, 0)
    renderers = [Renderer(world, made_tokenizer({"kind": "bpe", "vocabulary": V}, world)) for V in (260, 400, 700)]
    sizes = [len(renderer.tokens(draws, labels=False).tokens) for renderer in renderers]
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_word_outside_the_vocabulary_is_an_error_not_an_unknown_token() -> None:
    _, tokenizer, _ = setting("atomic", "word")
    with pytest.raises(Exception, match="UNK"):
        tokenizer.encode(" stranger")


@EACH_PAIR
def test_transformers_loads_it_with_equal_ids(world_name: str, tokenizer_name: str, tmp_path) -> None:
    from transformers import AutoTokenizer

    _, tokenizer, renderer = setting(world_name, tokenizer_name)
    save_tokenizer(tokenizer, tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    texts = some_texts(world_name, tokenizer_name, 50)
    assert theirs(texts)["input_ids"] == [ids_of(tokenizer, text) for text in texts]
    assert theirs.decode(theirs(texts[0])["input_ids"]) == texts[0]
    assert (theirs.eos_token_id, theirs.bos_token_id, theirs.pad_token_id) == (EOS_ID, EOS_ID, EOS_ID)
    assert theirs(EOS_TOKEN + texts[0] + EOS_TOKEN)["input_ids"] == [
        EOS_ID,
        *ids_of(tokenizer, texts[0]),
        EOS_ID,
    ]
    assert load_tokenizer(tmp_path).to_str() == tokenizer.to_str()
    assert max(theirs.get_vocab().values()) >= renderer.vocab_size - 1


@pytest.mark.parametrize("tokenizer_name", TOKENIZERS)
def test_another_process_makes_the_same_bytes(tokenizer_name: str) -> None:
    """Whatever the hash seed and the number of threads."""
    code = (
        "import json, sys\n"
        "from worlds import made_tokenizer, make_world\n"
        "world, spec = map(json.loads, sys.argv[1:])\n"
        "sys.stdout.write(made_tokenizer(spec, make_world(world)).to_str())"
    )
    specs = [json.dumps(SMALL_BIOS), json.dumps(TOKENIZERS[tokenizer_name])]
    environment = {**os.environ, "PYTHONPATH": "scripts:tests", "PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "3"}
    made = subprocess.run([sys.executable, "-c", code, *specs], env=environment, capture_output=True, check=True)
    ours = setting("small_bios", tokenizer_name)[1].to_str().encode()
    assert hashlib.sha256(made.stdout).hexdigest() == hashlib.sha256(ours).hexdigest()


def test_impossible_tokenizers_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"^vocabulary: 20; this dataset needs \d+ or more$"):
        made_tokenizer({"kind": "bpe", "vocabulary": 20}, world_of(ATOMIC))


def test_worlds_tokenizers_and_batches_import_nothing_heavy() -> None:
    """Every job pays for its imports."""
    code = (
        "import sys, capacity.training.batches\n"
        "heavy = {'torch', 'transformers', 'pandas', 'lightning', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": "scripts"}, check=True)
