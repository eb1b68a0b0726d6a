"""Promises of external models: they train, score, save and load like any other, and what cannot is refused early."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from modelled import build_model, model_of
from planted import tiny
from quantizers import NONE, scheme_of
from trainings import batches_of, checkpoint_bytes, spec_of, train
from transformers import AutoModelForCausalLM

from capacity.cli import check_models as check_models_command
from capacity.errors import UserError
from capacity.jobs.stop import Interrupted
from capacity.models.build import load_model
from capacity.models.external import build_external
from capacity.models.external_checks import check, logits_of
from capacity.models.spec import read_external
from capacity.plan.model_checks import ANSWER, check_models
from capacity.plan.model_sizes import parameters
from capacity.quantization.scheme_checks import check_schemes
from capacity.quantization.spec import Scheme
from capacity.training.cost import active_parameters
from capacity.training.objective import Objective

SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GQA = {**SIZE, "num_key_value_heads": 1}
OTHERS = {
    "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
    "qwen3": {**GQA, "head_dim": 8},
    "gemma3_text": {**GQA, "head_dim": 8},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "rwkv": {"hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16},
    "mixtral": {**GQA, "num_local_experts": 4, "num_experts_per_tok": 1},
}


def hf(kind: str, **changes: Any) -> dict[str, Any]:
    return {"hf": {"model_type": kind, **OTHERS.get(kind, {}), **changes}}


def factory(name: str, **settings: Any) -> dict[str, Any]:
    return {"python": f"tests.own_models:{name}", "settings": settings}


AVERAGES = factory("averages", width=6)


@pytest.mark.parametrize("model", [*(hf(kind) for kind in OTHERS), AVERAGES], ids=[*OTHERS, "factory"])
def test_an_external_model_trains_and_its_folder_loads(model: dict, tmp_path: Path) -> None:
    """Mamba, Qwen, Gemma, GPT-2 with learned positions, RWKV, Mixtral, and a module of the user's own."""
    settings = spec_of(exposures=8) | {"model": model}
    facts = train(tmp_path, settings)
    loaded = load_model(tmp_path / "checkpoint")
    assert facts["parameters"] == sum(parameter.numel() for parameter in loaded.parameters())
    inputs = torch.from_numpy(batches_of(settings).steps(0, 1)[0][0]).long()
    untrained = build_model(model, facts["vocabulary"], facts["context"], seed=1).eval()
    assert not torch.allclose(logits_of(loaded, inputs), logits_of(untrained, inputs), atol=1e-2)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint", trust_remote_code=True).eval()
    torch.testing.assert_close(logits_of(again, inputs), logits_of(loaded, inputs), rtol=0, atol=1e-4)


def test_a_factory_that_is_another_than_the_one_of_the_training_is_refused(tmp_path: Path) -> None:
    train(tmp_path, spec_of(exposures=8) | {"model": AVERAGES})
    path = tmp_path / "checkpoint" / "config.json"
    config = json.loads(path.read_text())
    assert config["sources"].keys() == {"tests/own_models.py"}
    path.write_text(json.dumps(config | {"sources": {"tests/own_models.py": "0" * 64}}))
    with pytest.raises(UserError, match=r"own_models\.py changed since the model was made; start the run again"):
        load_model(tmp_path / "checkpoint")


@pytest.mark.parametrize("key", ["n_positions", "max_position_embeddings"])
def test_positions_are_those_of_the_training_unless_the_configuration_says_how_many(key: str) -> None:
    assert build_model(hf("gpt2"), 40, 12, seed=1).transformer.wpe.weight.shape[0] == 12
    assert build_model(hf("gpt2", **{key: 30}), 40, 12, seed=1).transformer.wpe.weight.shape[0] == 30


def test_positions_that_are_too_few_for_a_training_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"context: 12, but the model is given 9 positions \(gpt2: "):
        build_model(hf("gpt2", n_positions=9), 40, 12, seed=1)


@pytest.mark.parametrize("V", [40, 6, 12], ids=["no other matrix", "as many rows as the MLP's last", "as its first"])
def test_the_head_is_the_part_that_makes_the_logits(V: int) -> None:
    """Whatever other matrix has as many rows as there are tokens."""
    assert build_model(AVERAGES, V, 12, seed=1).get_output_embeddings().weight.shape == (V, 6)
    assert build_model(factory("tied", width=6), V, 12, seed=1).get_output_embeddings() is None


def test_active_parameters_of_jetmoe_leave_out_idle_experts() -> None:
    """Of its MLPs and of its attention; halving all their matrices is what half of the experts are."""
    few = {**SIZE, "num_key_value_heads": 2, "kv_channels": 8, "num_local_experts": 4, "num_experts_per_tok": 2}
    model = build_model(hf("jetmoe", **few), 40, 12, seed=1)
    inside = sum(p.numel() for name, p in model.named_parameters() if name.endswith("_linear.weight"))
    assert active_parameters(model) == sum(p.numel() for p in model.parameters()) - inside // 2


def test_training_an_external_model_starts_with_its_own_loss() -> None:
    model, inputs = build_model(hf("qwen3"), 40, 12, seed=1), torch.arange(24).view(2, 12)
    logits = logits_of(model, inputs)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), inputs.roll(-1, 1).flatten())
    objective = Objective(build_model(hf("qwen3"), 40, 12, seed=1), 12, "fp32", compiled=False, plain=True)
    _, ours = objective.gradient(objective.initial_vector(), inputs, inputs.roll(-1, 1))
    torch.testing.assert_close(ours, loss.detach())


@pytest.mark.parametrize("model", [*(hf(kind) for kind in OTHERS), AVERAGES], ids=[*OTHERS, "factory"])
def test_an_external_model_is_repeatable_and_resumable_to_the_bit(model: dict, tmp_path: Path) -> None:
    settings = spec_of(exposures=8) | {"model": model}
    whole, again, parts = tmp_path / "whole", tmp_path / "again", tmp_path / "parts"
    train(whole, settings)
    train(again, settings)
    for _ in range(40):
        try:
            train(parts, settings, time_budget_seconds=0.0)
            break
        except Interrupted:
            continue
    assert checkpoint_bytes(whole) == checkpoint_bytes(again) == checkpoint_bytes(parts)


def test_active_parameters_of_mixtral_leave_out_idle_experts() -> None:
    model = build_model(hf("mixtral"), 40, 12, seed=1)
    assert active_parameters(model) == sum(p.numel() for p in model.parameters()) - 2 * 3 * (3 * 16 * 32)


def test_active_parameters_of_aria_leave_out_idle_experts() -> None:
    """Its configuration has names of its own for how many experts there are and how many a token has."""
    model = build_model(hf("aria_text", **GQA, moe_num_experts=4, moe_topk=1), 40, 12, seed=1)
    inside = sum(p.numel() for name, p in model.named_parameters() if "mlp.experts." in name)
    assert inside
    assert active_parameters(model) == sum(p.numel() for p in model.parameters()) - inside * 3 // 4


@pytest.mark.parametrize(
    "model",
    [hf("mamba"), hf("gpt2"), hf("gpt2", n_positions=9), hf("mixtral"), hf("rwkv"), AVERAGES, factory("gru")],
    ids=["mamba", "gpt2", "nine positions", "experts", "rwkv", "factory", "recurrent"],
)
def test_a_model_that_can_be_measured_passes_the_check(model: dict) -> None:
    check(model_of(model))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (hf("mambo"), ["model_type 'mambo'", "did you mean mamba?"]),
        (hf("mamba", hiden_size=8), ["hf: mamba", "no key 'hiden_size'", "did you mean hidden_size?"]),
        (hf("mamba", vocab_size=8), ["vocab_size cannot be set", "tokenizer"]),
        (hf("gpt2", resid_pdrop=0.1), ["hf: gpt2", "dropout of 0.1", "resid_pdrop"]),
        (hf("qwen3", attention_dropout=0.1), ["hf: qwen3", "set attention_dropout to 0"]),
        ({"hf": {"model_type": "gpt2"}}, ["hf: gpt2", "dropout of 0.1", "resid_pdrop"]),  # too large to be run
        (hf("qwen3", num_attention_heads=3, num_key_value_heads=2), ["hf: qwen3"]),
        (hf("mixtral", num_attention_heads=3, num_key_value_heads=2), ["hf: mixtral"]),
        (hf("gpt2", n_head=3), ["hf: gpt2", "cannot be built"]),
        (
            hf("bert", **SIZE, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
            ["hf: bert", "sees the tokens"],
        ),
        (factory("nobody"), ["tests.own_models:nobody", "cannot be built", "nobody"]),
        (factory("raises"), ["tests.own_models:raises", "cannot be built: no luck at all"]),
        (factory("averages", height=3), ["cannot be built", "height"]),
        (factory("wrong", fault="no logits"), ["tests.own_models:wrong", "gives no logits, but SimpleNamespace"]),
        (factory("wrong", fault="last token"), ["logits of shape (3, 17)", "use (3, 16, 17)"]),
        (factory("wrong", fault="sees ahead"), ["sees the tokens that it predicts"]),
        (factory("wrong", fault="sees other rows"), ["sees other rows", "batch_first=True"]),
        (factory("wrong", fault="random"), ["other logits for the same tokens"]),
        (
            hf(
                "llama4_text",
                **GQA,
                head_dim=8,
                intermediate_size_mlp=32,
                num_local_experts=4,
                output_router_logits=True,
            ),
            ["hf: llama4_text", "output_router_logits: true, but this class gives no balancing loss"],
        ),
        (factory("wrong", fault="broken weight"), ["embedding.weight holds NaN or infinity when the model is new"]),
        (factory("wrong", fault="no numbers"), ["gives NaN or infinite logits"]),
        (factory("wrong", fault="dropout"), ["dropout of 0.1", "in the factory"]),
        (factory("wrong", fault="batch norm"), ["buffer module.norm.running_mean changes in training"]),
        (hf("mixtral", router_jitter_noise=0.1), ["other logits for the same tokens each time in training"]),
        (factory("wrong", fault="frozen"), ["embedding.weight takes no gradient"]),
        *(
            (factory("tied_past", way=way), ["module.embedding.weight past its name", "keep no copy, view or list"])
            for way in ("view", "list", "partial")
        ),
        (factory("untrained", fault="unused"), ["parameter module.other.weight has no part in the logits"]),
        (factory("untrained", fault="mode"), ["gives other logits in training than when it is scored"]),
        (factory("untrained", fault="clamps"), ["cannot be trained"]),
        (factory("untrained", fault="raises in training"), ["fails where it is called: not now"]),
        (factory("untrained", fault="half"), ["parameter module.head.weight is float16; make float32 ones"]),
        (factory("untrained", fault="whole rows"), ["cannot be called with rows shorter than its context"]),
        (
            hf("bart", d_model=16, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16, dropout=0.0),
            ["encoder_attn.k_proj.weight has no part in the logits, but P would count it"],
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(model: dict, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        check(model_of(model))
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("model", "scheme", "words"),
    [
        (factory("gru"), scheme_of(4, tensors=["experts"]), ["own_models:gru: rtn4: tensors: experts; this model has"]),
        (factory("gru"), scheme_of(4, group=3), ["rtn4-3: module.", "group: 3 does not divide 8 inputs"]),
        (factory("gru"), scheme_of(4, tensors=["head"]), ["are one tensor: name both or neither"]),
        (factory("gru"), scheme_of(4, tensors=["linear"]), []),
        (factory("wrong", fault="no product"), scheme_of(4), []),
        (factory("wrong", fault="no product"), scheme_of(4, "gptq"), ["gptq4: module.head", "use method: rtn"]),
        (factory("wrong", fault="cannot be copied"), NONE, ["none: cannot be applied: no copies"]),
        (hf("mamba"), scheme_of(4, "gptq", group=4), ["mamba: gptq4-4", "group: 4 does not divide 1 inputs"]),
        (hf("gpt2"), scheme_of(4, "gptq", tensors=["router"]), ["tensors: router; this model has none"]),
    ],
)
def test_a_scheme_that_cannot_be_applied_to_a_model_is_refused_in_one_line(
    model: dict, scheme: Scheme, words: list[str]
) -> None:
    if not words:
        check_schemes(model_of(model), [scheme])
        return
    with pytest.raises(UserError) as caught:
        check_schemes(model_of(model), [scheme])
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize("as_variant", [True, False], ids=["a variant", "a training with rounded weights"])
def test_the_plan_has_schemes_tried_on_external_models_before_any_job(as_variant: bool) -> None:
    study = {"question": "Does it?", "paper": "It does.", "datasets": ["atomic"], "tokenizers": ["word"]}
    study |= {"models": ["own"], "regimes": ["long"], "seeds": [1], "quantizers": ["none", "odd"][: 1 + as_variant]}
    regime = {"exposures": 2, "packing": "rows", "batch": 4, "lr": 1e-2, "warmup_steps": 1}
    grid = tiny(
        study=["own"],
        studies={"own": study},
        models={"own": factory("gru")},
        regimes={"long": regime if as_variant else regime | {"quantizer": "odd"}},
        quantizers={"odd": {"method": "rtn", "bits": 4, "group": 3}},
    )
    with pytest.raises(UserError, match=r"own_models:gru: rtn4-3: .*group: 3 does not divide 8 inputs"):
        check_models(grid.specs, set())
    done = {member.name for spec in grid.specs.values() for member in (spec, *spec.members)}
    check_models(grid.specs, done)


def asking(model: dict[str, Any]) -> str:
    """What the main process asks of a model."""
    return json.dumps({"models": [model], "quantised": [], "asked": []})


def test_the_main_process_hears_of_it_in_one_line() -> None:
    command = [sys.executable, "-m", "capacity.cli", "check-models"]
    answer = subprocess.run(command, input=asking(hf("mambo")), text=True, capture_output=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1].startswith("hf: model_type 'mambo'")


def test_neither_what_a_factory_prints_nor_that_it_ends_the_process_is_taken_for_an_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["check-models"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(asking(factory("talks"))))
    check_models_command.main()
    assert json.loads(capsys.readouterr().out.splitlines()[-1].removeprefix(ANSWER))[0][0] == factory("talks")
    monkeypatch.setattr(sys, "stdin", io.StringIO(asking(factory("ends"))))
    with pytest.raises(SystemExit) as ended:
        check_models_command.main()
    assert ended.value.code == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "a model's factory, or its module, ends the process: SystemExit(0)"


@pytest.mark.parametrize("settings", [factory("gru"), hf("mamba", hidden_size=16, num_hidden_layers=2)], ids=str)
def test_plans_rest_on_the_parameters_of_the_model_as_it_was_built(settings: dict[str, Any]) -> None:
    grid = tiny(
        study=["own"],
        studies={
            "own": {
                "question": "How large?",
                "paper": "It does not say.",
                "datasets": ["atomic"],
                "tokenizers": ["word"],
            }
            | {"models": ["own"], "regimes": ["long"], "seeds": [1], "quantizers": ["none"]}
        },
        models={"own": settings},
        regimes={"long": {"exposures": 2, "packing": "rows", "batch": 4, "lr": 1e-2, "warmup_steps": 1}},
        quantizers={"none": {"method": "none"}},
    )
    check_models(grid.specs, set())
    model = read_external(next(s for s in grid.specs.values() if s.stage == "checkpoints").settings["model"])
    for words in (20, 3000):
        built = build_external(model, words, 16)
        assert parameters(model, words) == sum(weights.numel() for weights in built.parameters())
