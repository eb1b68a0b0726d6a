"""Promises of the tag: one token in front of each biography, whatever the tokenizer has learned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_pretrained import folder_of
from worlds import SMALL_BIOS, made_tokenizer, make_world

from capacity.tokenizers.tokenization import load_tokenizer, save_tokenizer
from capacity.world.grammar import EOS_TOKEN
from capacity.world.options import TAG
from capacity.world.pieces import EOS_ID
from capacity.world.render import Renderer
from capacity.world.sampling import training_draws


@pytest.mark.parametrize("form", ["gpt2", "endless"])
@pytest.mark.parametrize("compact", [True, False])
def test_a_published_tokenizer_gets_the_tag_as_one_token_and_reads_the_rest_as_before(
    tmp_path: Path, form: str, compact: bool
) -> None:
    settings = {"kind": "pretrained", "folder": folder_of(tmp_path, form), "compact": compact}
    check_tagged(settings, SMALL_BIOS, tmp_path, all_rows=not compact)


@pytest.mark.parametrize("vocabulary", [257 + 60, 600])
def test_bpe_has_the_tag_as_one_token_however_few_it_may_learn(vocabulary: int, tmp_path: Path) -> None:
    check_tagged({"kind": "bpe", "vocabulary": vocabulary}, SMALL_BIOS, tmp_path)


def check_tagged(settings: dict[str, Any], world: dict[str, Any], folder: Path, all_rows: bool = False) -> None:
    plain, tagged = make_world(world), make_world(world | {"tag": True})
    tokenizer = made_tokenizer(settings, tagged)
    (folder / "made").mkdir()
    save_tokenizer(tokenizer, folder / "made", all_rows)
    tokenizer = load_tokenizer(folder / "made")
    renderer = Renderer(tagged, tokenizer, all_rows)
    draws = training_draws(tagged, 7, 0, 0)[:20]
    texts = renderer.texts(draws)
    rendering = renderer.tokens(draws, labels=True)
    assert rendering.tokens.tolist() == [token for text in texts for token in tokenizer.encode(text).ids]
    first = np.concatenate([[0], rendering.lengths.cumsum()[:-1]])
    tag = tokenizer.token_to_id(TAG)
    assert tag is not None
    assert (rendering.tokens[first] == tag).all()
    assert (rendering.tokens == tag).sum() == len(draws)
    assert [tokenizer.decode(tokenizer.encode(text).ids) for text in texts] == texts
    assert tokenizer.token_to_id(EOS_TOKEN) == EOS_ID
    without = made_tokenizer(settings, plain)
    if settings["kind"] == "pretrained":
        for text in texts:
            assert tokenizer.encode(text).tokens == [TAG, *without.encode(text.removeprefix(TAG)).tokens]
        assert renderer.vocab_size == Renderer(plain, without, all_rows).vocab_size + 1
