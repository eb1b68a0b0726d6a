"""Fine-tuning: what LoRA may change and what not, the same bits after a stop, and a folder that loads."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from modelled import build_model
from test_questions import SPEC as QUESTIONS
from trainings import HARDWARE, WORLD, made_batches, regime_of, spec_of, train, training_settings
from transformers import AutoModelForCausalLM
from worlds import made_tokenizer, make_world

from capacity.errors import UserError
from capacity.extraction.adapt import grown, merged, query_and_value_modules, untied, with_lora
from capacity.extraction.answers import answer_texts
from capacity.extraction.finetune import Finetuning, QuestionBatches, finetune
from capacity.extraction.mixed import MixedBatches
from capacity.extraction.questions import Asked, Lengths, read_asked, rows_of, write_questions
from capacity.extraction.record import write_finetuned
from capacity.extraction.spec import read_try
from capacity.jobs.stop import Interrupted
from capacity.models.build import load_model
from capacity.tokenizers.tokenization import save_tokenizer
from capacity.training.batches import IGNORED
from capacity.training.train import train_checkpoint

LORA = {
    "method": "lora", "ranks": [3, 2], "lr": 0.02, "steps": 30, "batch": 8, "weight_decay": 0.1,
    "hardware": HARDWARE, "seed": 1,
}  # fmt: skip
FULL = {**LORA, "method": "full", "ranks": None}
NO_DROPOUT = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0)
FAMILIES = {
    "gpt2": {"family": "gpt2", "l": 2, "h": 2, "head_dim": 4},
    "llama": {"family": "llama", "l": 1, "h": 2, "head_dim": 4},
    "switched": {"family": "gpt2", "l": 1, "h": 2, "head_dim": 4, "mlp": "gated"},
    "hf-gpt2": {"hf": {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, **NO_DROPOUT}},
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Any:
    """A tiny checkpoint, and the questions of its world."""
    root = tmp_path_factory.mktemp("made")
    train(root, spec_of())
    questions = root / "questions"
    questions.mkdir()
    world = make_world(WORLD)
    known = write_questions(world, made_tokenizer({"kind": "word"}, world), QUESTIONS, questions)
    save_tokenizer(known, questions)
    return root / "checkpoint", questions, read_asked(questions, known)


def tuned(made: Any, settings: dict[str, Any], resume: Path, budget: float | None = None) -> tuple[Any, Finetuning]:
    checkpoint, _, asked = made
    return finetune(read_try(settings), checkpoint, asked, resume, budget)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_lora_changes_the_embedding_query_and_value_by_matrices_of_its_ranks_and_nothing_else(made, tmp_path):
    model, _ = tuned(made, LORA, tmp_path)
    before = weights(untied(grown(load_model(made[0]), rows_of(made[2].tokenizer), 40, LORA["seed"])))
    after = weights(model)
    assert before.keys() == after.keys()
    d = model.config.hidden_size
    for name, old in before.items():
        change = after[name] - old
        if name.endswith("embed_in.weight"):
            assert torch.linalg.matrix_rank(change, rtol=1e-4) == 3
        elif name.endswith("query_key_value.weight"):
            heads = change.view(model.config.num_attention_heads, 3, -1, d)
            assert (heads[:, 1] == 0).all()  # the key
            for part in (0, 2):
                assert torch.linalg.matrix_rank(heads[:, part].reshape(-1, d), rtol=1e-4) == 2
        else:
            assert (change == 0).all(), name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_made_ready_says_what_it_said_and_its_merged_form_what_the_adapted_one_says(family: str):
    model = build_model(FAMILIES[family], 20, 16, 1).eval()
    ids = torch.arange(12).view(2, 6)
    with torch.no_grad():
        before = model(input_ids=ids).logits
        adapted = with_lora(untied(grown(model, 25, 16, 1)), 2, 2, 1).eval()
        ready = adapted(input_ids=ids).logits
        assert ready.shape[2] == 25
        torch.testing.assert_close(ready[:, :, :20], before)
        generator = torch.Generator().manual_seed(1)
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        changed = adapted(input_ids=ids).logits
        assert not torch.allclose(changed, ready)
        torch.testing.assert_close(merged(adapted)(input_ids=ids).logits, changed, rtol=1e-4, atol=1e-4)


def test_rows_of_new_words_depend_on_the_seed_alone():
    torch.manual_seed(5)
    one = grown(build_model(FAMILIES["gpt2"], 20, 16, 1), 25, 16, 3).get_input_embeddings().weight
    torch.manual_seed(6)
    same = grown(build_model(FAMILIES["gpt2"], 20, 16, 1), 25, 16, 3).get_input_embeddings().weight
    other = grown(build_model(FAMILIES["gpt2"], 20, 16, 1), 25, 16, 4).get_input_embeddings().weight
    assert torch.equal(one, same)
    assert not torch.equal(one[20:], other[20:])
    assert one[20:].std() < 0.04  # of the law that the model's first weights have, 0.02


@pytest.mark.parametrize("settings", [LORA, FULL], ids=["lora", "full"])
def test_fine_tuning_twice_or_stopped_on_the_way_gives_the_same_bits(made, tmp_path, monkeypatch, settings):
    whole, training = tuned(made, settings, tmp_path / "one")
    again, _ = tuned(made, settings, tmp_path / "two")
    for _ in range(40):  # a budget of nothing stops after every step
        try:
            stopped, _ = tuned(made, settings, tmp_path / "stopped", 0.0)
            break
        except Interrupted:
            continue
    else:
        pytest.fail("a fine-tuning of 30 steps was not done after 40 sessions")
    assert (tmp_path / "stopped" / "state").is_file()
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name
        assert torch.equal(value, weights(stopped)[name]), name
    assert float(training.row_losses[-1]) < float(training.row_losses[0])


def test_a_fine_tuning_says_how_far_it_is_and_where_it_goes_on(made, tmp_path, capsys):
    with pytest.raises(Interrupted, match="at step 1 of 30; the state is saved"):
        tuned(made, LORA, tmp_path, 0.0)
    _, training = tuned(made, LORA, tmp_path)
    said = capsys.readouterr().err
    assert "going on from step 1 of 30\n" in said
    assert f"step 30 of 30  loss {float(training.loss):.3f} nats" in said


def test_a_fine_tuning_that_diverges_names_the_learning_rate(made, tmp_path):
    with pytest.raises(UserError, match=r"lr: 1e\+30; the loss is nan"):
        tuned(made, {**FULL, "lr": 1e30}, tmp_path)


def test_a_state_of_another_spec_is_not_gone_on_from(made, tmp_path, capsys):
    with pytest.raises(Interrupted):
        tuned(made, LORA, tmp_path, 0.0)
    tuned(made, {**LORA, "lr": 0.01}, tmp_path)
    assert "starting over" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [LORA, FULL], ids=["lora", "full"])
def test_what_is_written_loads_and_says_the_same(made, tmp_path, settings):
    model, training = tuned(made, settings, tmp_path / "resume")
    folder = tmp_path / "model"
    folder.mkdir()
    facts = write_finetuned(model, training, made[1], folder)
    assert facts["trained_parameters"] < sum(p.numel() for p in model.parameters()) or settings is FULL
    ids = torch.arange(12).view(2, 6)
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        for loaded in (load_model(folder), AutoModelForCausalLM.from_pretrained(folder)):
            torch.testing.assert_close(loaded(input_ids=ids).logits, expected)
    assert len((folder / "metrics.csv").read_text().splitlines()) == 31


def test_only_answers_and_their_end_are_scored_and_every_text_comes_once_a_pass(made):
    asked = made[2]
    known, prompts, answers = asked.tokenizer, asked.prompts, asked.answers
    batches = QuestionBatches(asked, 7, 3)
    assert sorted(batches.rows(0, len(prompts))) == list(range(len(prompts)))
    assert (batches.rows(5, 50)[10:20] == batches.rows(15, 25)).all()
    for inputs, targets in batches.steps(0, 3):
        for row, scored in zip(inputs, targets, strict=True):
            place = np.flatnonzero(scored != IGNORED)
            answer = known.decode(scored[place][:-1].tolist())
            assert answer in answers
            assert scored[place][-1] == 0
            assert known.decode(row[1 : place[0] + 1].tolist()) + answer in [
                p + a for p, a in zip(prompts, answers, strict=True)
            ]


def test_a_model_without_query_and_value_or_narrower_than_a_rank_is_refused():
    mamba = build_model(
        {"hf": {"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 1, "state_size": 2}}, 20, 16, 1
    )
    with pytest.raises(UserError, match="method: lora with MambaForCausalLM, which has no query and value"):
        with_lora(mamba, 2, 2, 1)
    model = build_model(FAMILIES["gpt2"], 20, 16, 1)
    with pytest.raises(UserError, match="ranks: 9 for the embedding of a model of width 8; use at most 8"):
        with_lora(model, 9, 2, 1)
    learned = build_model(FAMILIES["hf-gpt2"], 20, 16, 1)
    with pytest.raises(UserError, match="questions of up to 17 tokens for a model that has learned 16 positions"):
        grown(learned, 25, 17, 1)


LONGER = Lengths(prompt=30, answer=4)  # than any text about the people who are asked about


def long_question(asked: Asked) -> pa.Table:
    """A question as long as they say, about somebody else."""
    known = asked.tokenizer
    prompt = known.decode([*known.encode(asked.prompts[0]).ids * 3][:30])
    assert len(known.encode(prompt).ids) == 30
    return pa.table({"prompt": [prompt], "answer": [asked.answers[0] * 4]})


def test_people_with_longer_names_than_all_who_were_asked_about_can_be_asked(made, tmp_path):
    checkpoint, _, asked = made
    model, _ = finetune(read_try({**LORA, "steps": 1}), checkpoint, replace(asked, lengths=LONGER), tmp_path)
    assert np.isfinite(answer_texts(model, asked.tokenizer, long_question(asked))["nats"].to_numpy()).all()


def test_rows_of_mixed_training_have_room_for_every_question_that_will_be_asked(made):
    asked, world = replace(made[2], lengths=LONGER), make_world(WORLD)
    batches = MixedBatches(world, made_tokenizer({"kind": "word"}, world), regime_of(), 1, asked, 0.25)
    model = build_model(FAMILIES["hf-gpt2"], batches.vocab_size, batches.context, 1)  # learned positions
    answer_texts(model, asked.tokenizer, long_question(asked))


@pytest.mark.parametrize("kind", ["gpt2", "gpt_bigcode"])
def test_no_key_is_changed_however_a_projection_lays_out_its_heads(kind: str):
    """gpt_bigcode has each head's query, key and value together; GPT-2 all queries first."""
    size = {"n_embd": 16, "n_layer": 1, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    more = {"multi_query": False} if kind == "gpt_bigcode" else {}
    model = build_model({"hf": {"model_type": kind, **size, **more}}, 20, 16, 1)
    adapted = with_lora(model, 2, 2, 1)
    adapted(input_ids=torch.arange(12).view(2, 6)).logits.square().sum().backward()
    (weight,) = (p for name, p in adapted.named_parameters() if "c_attn.lora_B" in name)
    assert weight.grad is not None
    part, d = weight.grad.abs().sum(1) == 0, 16
    heads = part.view(2, 3, d // 2) if kind == "gpt_bigcode" else part.view(3, 2, d // 2).transpose(0, 1)
    assert heads[:, 1].all()
    assert not heads[:, [0, 2]].any()


def test_a_query_without_a_value_beside_it_is_no_target_of_lora():
    model = build_model({"hf": {"model_type": "qwen3", "hidden_size": 8, "num_hidden_layers": 1}}, 20, 16, 1)
    attention = model.model.layers[0].self_attn
    assert query_and_value_modules(model)[0] == ["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj"]
    attention.other = attention.v_proj
    del attention.v_proj
    with pytest.raises(UserError, match="has no query and value"):
        query_and_value_modules(model)


# --- mixed training


@pytest.mark.parametrize("packing", [{}, {"packing": "windows", "context": 40}], ids=["rows", "windows"])
def test_mixed_training_tells_every_biography_as_without_and_questions_in_their_share(made, packing):
    asked = made[2]
    world = make_world(WORLD)
    tokenizer, settings = made_tokenizer({"kind": "word"}, world), spec_of(**packing)
    plain = made_batches(world, tokenizer, settings["regime"], 1)
    mixed = MixedBatches(world, tokenizer, regime_of(**settings["regime"]), 1, asked, 0.25)
    inputs, targets = (array.reshape(-1, mixed.context) for array in mixed.steps(0, mixed.num_steps))
    asks = np.isin(inputs, range(plain.vocab_size, mixed.vocab_size)).any(axis=1)
    used = (targets != IGNORED).any(axis=1)
    assert abs(asks.sum() / used.sum() - 0.25) < 0.02
    told, _ = (array.reshape(-1, plain.context) for array in plain.steps(0, plain.num_steps))
    own = inputs[used & ~asks][:, : plain.context]
    assert (own == told[: len(own)]).all()
    scored = [asked.tokenizer.decode(row[row > 0].tolist()) for row in targets[asks]]
    allowed = set(asked.answers)
    assert all(any(text.startswith(answer) for answer in allowed) for text in scored)


def test_mixed_training_is_resumable_and_leaves_a_checkpoint_with_rows_for_questions(made, tmp_path):
    _, questions, asked = made
    world = make_world(WORLD)
    tokenizer, settings = made_tokenizer({"kind": "word"}, world), spec_of(exposures=8)
    batches = MixedBatches(world, tokenizer, regime_of(**settings["regime"]), 1, asked, 0.25)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    train_checkpoint(training_settings(settings), batches, questions, tmp_path / "whole", tmp_path / "resume")
    with pytest.raises(Interrupted):
        train_checkpoint(
            training_settings(settings),
            batches,
            questions,
            tmp_path / "stopped",
            tmp_path / "resume",
            0.0,
        )
    train_checkpoint(training_settings(settings), batches, questions, tmp_path / "stopped", tmp_path / "resume")
    whole, stopped = (load_model(tmp_path / name) for name in ("whole", "stopped"))
    assert whole.get_input_embeddings().weight.shape[0] == rows_of(asked.tokenizer)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(stopped)[name])


def test_a_window_that_holds_no_question_is_refused(made):
    world = make_world(WORLD)
    settings = spec_of(packing="windows", context=8)
    with pytest.raises(UserError, match="context: 8, but questions with their answers have up to"):
        MixedBatches(world, made_tokenizer({"kind": "word"}, world), regime_of(**settings["regime"]), 1, made[2], 0.25)
