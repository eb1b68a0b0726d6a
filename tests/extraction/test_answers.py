"""Answers of models whose knowledge is known: lookup tables that answer everything, half, or nothing."""

import math
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from modelled import build_model
from test_questions import KINDS, SPEC
from worlds import TOKENIZERS, ids_of, made_tokenizer, world_of

from capacity.extraction.answers import answer_texts, greedy, memorised, nats
from capacity.extraction.questions import encode, full_names, groups_of, read_texts, rows_of, write_questions
from capacity.probe.spec import ProbeDraws
from capacity.world.pieces import EOS_ID
from capacity.world.render import Renderer
from capacity.world.sampling import probe_draws

MANY = 10_000  # tokens a batch


class Lookup:
    """The next token by the row so far; EOS where the table has no entry."""

    def __init__(self, rows: int):
        self.rows, self.table = rows, defaultdict(int)

    def teach(self, prompt: list[int], answer: list[int]) -> None:
        row = [EOS_ID, *prompt]
        for token in [*answer, EOS_ID]:
            self.table[tuple(row)] = token
            row.append(token)

    def __call__(self, ids: torch.Tensor) -> Any:
        logits = torch.zeros(*ids.shape, self.rows)
        for row, place in product(range(ids.shape[0]), range(ids.shape[1])):
            logits[row, place, self.table[tuple(ids[row, : place + 1].tolist())]] = 50.0
        return type("Output", (), {"logits": logits})()


@pytest.fixture(scope="module", params=["atomic", "bioS", "records"])
def asked(request, tmp_path_factory):
    """The texts of some held-out people, and a tokenizer."""
    settings = {**KINDS[request.param], "N": 30}
    world = world_of(settings)
    folder = tmp_path_factory.mktemp("questions")
    known = write_questions(world, made_tokenizer(TOKENIZERS["word"], world), SPEC, folder)
    return world, known, read_texts(folder, "held_out")


def taught(known: Any, texts: pa.Table, rows: np.ndarray) -> Lookup:
    """A lookup that knows the answers of some rows."""
    model = Lookup(rows_of(known))
    for prompt, answer in zip(
        texts["prompt"].take(rows).to_pylist(), texts["answer"].take(rows).to_pylist(), strict=True
    ):
        model.teach(ids_of(known, prompt), ids_of(known, answer))
    return model


def test_a_lookup_that_answers_everything_is_right_everywhere_and_loses_nothing(asked):
    _, known, texts = asked
    table = answer_texts(taught(known, texts, np.arange(len(texts))), known, texts).to_pandas()
    assert table["exact"].all()
    assert table["first_token"].all()
    assert (table["said"] == texts["answer"].to_pandas()).all()
    assert table["nats"].max() < 1e-6


def test_a_lookup_that_answers_one_of_two_is_right_in_exactly_those(asked):
    _, known, texts = asked
    half = np.arange(0, len(texts), 2)
    table = answer_texts(taught(known, texts, half), known, texts).to_pandas()
    expected = np.arange(len(texts)) % 2 == 0
    assert (table["exact"] == expected).all()
    assert (table["first_token"] == expected).all()
    assert (table["said"][~expected] == "").all()


def test_a_right_beginning_is_a_right_first_token_and_a_wrong_answer():
    world = world_of(KINDS["bioS"])
    known = made_tokenizer(TOKENIZERS["word"], world)
    date, longer, other = " May 3, 1950", " May 3, 1950 1950", " June 3, 1950"
    prompt = full_names(world, np.arange(1))[0]
    columns = {"prompt": [prompt], "answer": [date]}
    for said, exact, first in ((date, True, True), (longer, False, True), (" May", False, True), (other, False, False)):
        model = Lookup(rows_of(known))
        model.teach(ids_of(known, prompt), ids_of(known, said))
        row = answer_texts(model, known, pa.table(columns)).to_pylist()[0]
        assert (row["exact"], row["first_token"]) == (exact, first), said


@pytest.fixture(scope="module")
def network(asked):
    """An untrained model with sharp opinions, whose answers are long."""
    _, known, texts = asked
    settings = {"family": "gpt2", "l": 2, "h": 2, "head_dim": 4, "init_std": 1.5}
    return build_model(settings, rows_of(known), 64, 3).eval(), known, texts


def test_batched_answers_are_those_of_one_prompt_at_a_time(network):
    model, known, texts = network
    prompts = encode(known, texts["prompt"].to_pylist()[:40])
    assert len({len(prompt) for prompt in prompts}) > 1
    together = greedy(model, prompts, 6, "cpu", MANY)
    assert any(together)
    assert together == [greedy(model, [prompt], 6, "cpu", MANY)[0] for prompt in prompts]
    assert together == greedy(model, prompts, 6, "cpu", 60)


def test_a_longer_prompt_beside_it_changes_no_answer_and_no_loss(network):
    model, known, texts = network
    prompts = encode(known, texts["prompt"].to_pylist()[:8])
    right = encode(known, texts["answer"].to_pylist()[:8])
    long = [prompts[0] * 3]
    alone, beside = greedy(model, prompts, 5, "cpu", MANY), greedy(model, prompts + long, 5, "cpu", MANY)
    assert beside[:8] == alone
    losses = nats(model, prompts, right, "cpu", MANY)
    np.testing.assert_allclose(nats(model, prompts + long, [*right, right[0]], "cpu", MANY)[:8], losses, rtol=1e-5)


def test_answers_and_losses_are_those_of_transformers_itself(network):
    model, known, texts = network
    prompts = encode(known, texts["prompt"].to_pylist()[:6])
    right = encode(known, texts["answer"].to_pylist()[:6])
    for prompt, answer, said, loss in zip(
        prompts, right, greedy(model, prompts, 5, "cpu", MANY), nats(model, prompts, right, "cpu", MANY), strict=True
    ):
        row = torch.tensor([[EOS_ID, *prompt]])
        out = model.generate(row, max_new_tokens=5, do_sample=False, eos_token_id=EOS_ID, pad_token_id=EOS_ID)
        new = out[0, row.shape[1] :].tolist()
        assert said == (new[: new.index(EOS_ID)] if EOS_ID in new else new)
        ids = torch.tensor([[EOS_ID, *prompt, *answer]])
        labels = ids.clone()
        labels[:, : -len(answer)] = -100
        with torch.no_grad():
            expected = float(model(input_ids=ids, labels=labels).loss) * len(answer)
        assert math.isclose(loss, expected, rel_tol=1e-4)


def test_memorised_is_the_share_of_values_that_follow_the_words_of_a_biography(asked):
    world, known, _ = asked
    renderer = Renderer(world, made_tokenizer(TOKENIZERS["word"], world))
    attributes = list(dict.fromkeys(asked[2]["attribute"].to_pylist()))
    probe = ProbeDraws(draws=1, seed=1)
    rendering = renderer.tokens(probe_draws(world, 1, 0, 0, world.N), labels=True)
    model, start = Lookup(rows_of(known)), 0
    for person, length in enumerate(rendering.lengths):
        row = rendering.tokens[start : start + length].tolist()
        if person % 3:
            model.teach([], row)
        start += length
    table = memorised(model, renderer, world, attributes, probe).to_pandas()
    assert list(table["attribute"][: len(attributes)]) == attributes
    by_person = table.groupby("person")["exact"].mean()
    assert (by_person == (np.arange(world.N) % 3 > 0)).all()


def test_a_model_that_says_nothing_is_right_nowhere(asked):
    _, known, texts = asked
    table = answer_texts(Lookup(rows_of(known)), known, texts)
    assert not any(table["exact"].to_pylist())
    assert set(table["said"].to_pylist()) == {""}


def test_groups_of_no_people_have_no_texts(tmp_path: Path):
    world = world_of(KINDS["bioS"])
    settings = SPEC.model_copy(update={"choosing": 0.0})
    assert len(groups_of(world, settings)[1]) == 0
    write_questions(world, made_tokenizer(TOKENIZERS["word"], world), settings, tmp_path)
    assert len(read_texts(tmp_path, "choosing")) == 0
