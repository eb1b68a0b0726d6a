"""Quantised models of every family: what changes, what it takes to store, and that it is read back the same."""

import functools
import json
from types import SimpleNamespace

import pytest
import torch
from modelled import build_model
from quantizers import FAMILIES, NONE, batches, logits, model_of, numbers_of, round_to_nearest, scheme_of
from test_external import OTHERS, SIZE, factory, hf
from trainings import WORLD
from worlds import made_tokenizer, make_world

from capacity.errors import UserError
from capacity.models.build import load_model
from capacity.quantization import quantize
from capacity.quantization.calibration import calibration_batches, input_moments
from capacity.quantization.quantize import quantize_model
from capacity.quantization.reload import check_reloads
from capacity.quantization.tensors import places_of
from capacity.training.objective import Objective
from capacity.world.pieces import EOS_ID
from capacity.world.render import Renderer

SCHEMES = {
    "none": NONE,
    "int8": scheme_of(8),
    "int4-group": scheme_of(4, group=8, symmetric=False, rest="fp16", scale_format="fp16"),
    "int2-tensor": scheme_of(2, group="tensor"),
    "ternary": scheme_of(format="ternary"),
    "fp8": scheme_of(format="fp8"),
    "fp4": scheme_of(format="fp4"),
    "bf16": scheme_of(format="bf16"),
    "gptq4": scheme_of(4, "gptq"),
    "gptq3-linear": scheme_of(3, "gptq", tensors=["linear"], group=8),
}


def roles(family):
    return {place.name: place.role for place in places_of(model_of(family))}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_of_every_family_is_read_back_with_equal_logits(family, name, tmp_path):
    model = model_of(family)
    quantised, report, _ = quantize_model(model, SCHEMES[name], batches())
    quantised.save_pretrained(tmp_path)
    check_reloads(quantised, tmp_path)
    assert torch.equal(logits(load_model(tmp_path)), logits(quantised))
    assert torch.equal(logits(quantised), logits(model)) == (name == "none")
    assert report["num_weights"] == sum(parameter.numel() for parameter in model.parameters())


def test_a_file_that_holds_other_weights_is_refused(tmp_path):
    model = model_of("experts")
    quantised, _, _ = quantize_model(model, scheme_of(4))
    model.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is read back otherwise"):
        check_reloads(quantised, tmp_path)


def test_roles_are_found_in_every_family():
    assert {role for name, role in roles("gpt2").items() if "embed" in name} == {"tied"}
    llama = roles("llama")
    assert (llama["lm_head.weight"], llama["model.embed_tokens.weight"]) == ("head", "embeddings")
    assert sum(role == "linear" for role in llama.values()) == 2 * 7
    experts = roles("experts")
    assert sum(role == "experts" for role in experts.values()) == 2 * 2
    assert sum(role == "router" for role in experts.values()) == 2
    assert {role for name, role in experts.items() if "norm" in name} == {"vector"}
    own = roles("own-experts")
    assert [sum(role == r for role in own.values()) for r in ("experts", "router")] == [2 * 2, 2]
    assert sum(role == "linear" for role in roles("conv1d").values()) == 2 * 4


def test_a_gate_is_a_router_where_experts_stand_beside_it_alone():
    own = {place.name: place.role for place in places_of(build_model(factory("gated"), 17, 16, seed=1))}
    assert {own[f"module.{name}.weight"] for name in ("gate", "up", "down")} == {"linear"}
    assert sum(role == "router" for role in roles("experts").values()) == 2


def test_a_tied_head_is_one_whichever_of_the_two_names_comes_first():
    model = build_model(factory("head_first"), 17, 16, seed=1)
    assert {place.name: place.role for place in places_of(model) if place.role != "vector"} == {
        "module.head.weight": "tied",
        "module.middle.weight": "linear",
    }
    with pytest.raises(UserError, match="name both or neither"):
        quantize_model(model, scheme_of(4, tensors=["head"]))


def test_a_head_is_found_where_the_module_around_it_has_weights_of_its_own():
    model = build_model(factory("positioned"), 17, 16, seed=1)
    assert {place.name: place.role for place in places_of(model)}["module.head.weight"] == "head"
    hidden = Objective(model, 16, "fp32", compiled=False, plain=True).hidden_matrices()
    assert sorted(tuple(shape) for _, shape in hidden) == [(8, 8), (8, 8), (16, 8)]


def test_biases_of_experts_stay_as_they_are():
    experts = hf("gpt_oss", **SIZE, num_key_value_heads=1, head_dim=8, num_local_experts=4, num_experts_per_tok=1)
    places = places_of(build_model(experts, 17, 16, seed=1))
    biases = [place for place in places if place.name.endswith("bias")]
    assert any("gate_up_proj_bias" in place.name for place in biases)
    assert {place.role for place in biases} == {"vector"}
    assert {place.role for place in places if place.name.endswith("experts.gate_up_proj")} == {"experts"}


@pytest.mark.parametrize("tensors", [["linear"], ["head"], ["embeddings"], ["experts"], ["router"], ["linear", "head"]])
def test_the_tensors_that_a_scheme_names_change_and_no_others(tensors):
    model = model_of("experts")
    quantised, report, _ = quantize_model(model, scheme_of(4, tensors=tensors))
    changed = {name for name, p in quantised.named_parameters() if not torch.equal(p, model.get_parameter(name))}
    assert changed == {name for name, role in roles("experts").items() if role in tensors}
    assert {name for name, tensor in report["tensors"].items() if tensor["method"] == "rtn"} == changed


NOT_OF_THE_PAPER = {name: hf(name) for name in OTHERS}
NOT_OF_THE_PAPER |= {name: factory(name) for name in ("gru", "gpt", "averages")}
NOT_OF_THE_PAPER["llama-shared"] = {"family": "llama", "l": 1, "h": 4, "head_dim": 4, "kv_sharing": 2}


@functools.cache
def built(name):
    """A model that stock tools do not wholly know, its weights all different, in evaluation mode."""
    model = build_model(NOT_OF_THE_PAPER[name], 40, 32, seed=1).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("scheme", [scheme_of(4), scheme_of(4, "gptq")], ids=["rtn", "gptq"])
@pytest.mark.parametrize("name", NOT_OF_THE_PAPER)
def test_every_tensor_of_two_dimensions_is_rounded_and_the_bits_of_a_weight_are_what_is_stored(name, scheme):
    model = built(name)
    quantised, report, parts = quantize_model(model, scheme, batches())
    for label, before in model.named_parameters():
        is_vector, after = before.squeeze().ndim < 2 and before.ndim != 2, quantised.get_parameter(label)
        assert torch.equal(before, after) == is_vector, label
        assert (f"{label}.scale" in parts) != is_vector
        assert report["tensors"][label]["bits"] == (32 if is_vector else 4)
    assert report["bits_per_weight"] == 4


@pytest.mark.parametrize("name", NOT_OF_THE_PAPER)
def test_a_tensor_is_made_of_its_matrices(name):
    for place in places_of(built(name)):
        if place.role != "vector":
            weight = built(name).get_parameter(place.name).detach()
            matrices = place.matrices(weight)
            assert all(matrix.ndim == 2 for matrix in matrices)
            assert torch.equal(place.whole(matrices, weight), weight)


@pytest.mark.parametrize(
    ("scheme", "bits"),
    [
        (NONE, 32),
        (scheme_of(4, tensors=["linear"]), 4),
        (scheme_of(format="ternary"), 1.6),
        (scheme_of(3, rest="fp16"), 3),
    ],
)
def test_bits_per_weight_are_of_the_tensors_that_a_scheme_names(scheme, bits):
    assert quantize_model(model_of("llama"), scheme)[1]["bits_per_weight"] == bits


def test_a_tensor_that_is_named_and_left_alone_counts_with_the_bits_it_is_stored_in():
    tensors = {"a": {"bits": 4, "num_weights": 30, "stored_bits": 120}}
    tensors |= {name: {"bits": 32, "num_weights": 10, "stored_bits": 320} for name in ("left", "unnamed")}
    assert quantize._total(tensors, ["a", "left"])["bits_per_weight"] == (30 * 4 + 10 * 32) / 40


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (torch.nn.GRU(6, 8, batch_first=True), "weight_ih_l0"),
        (torch.nn.LSTM(6, 8, batch_first=True), "weight_ih_l0"),
        (torch.nn.MultiheadAttention(6, 2, batch_first=True), "in_proj_weight"),
        (torch.nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), "self_attn.in_proj_weight"),
    ],
    ids=["GRU", "LSTM", "attention", "a layer of torch's own"],
)
def test_the_inputs_of_fused_layers_are_seen(layer, name):
    x = torch.randn(3, 5, 6)
    weight = layer.eval().get_parameter(name).detach()

    class Model(torch.nn.Module):
        config = SimpleNamespace(_experts_implementation="eager")

        def forward(self, tokens, use_cache):
            layer(x, x, x) if isinstance(layer, torch.nn.MultiheadAttention) else layer(x)

    moments = input_moments(Model(), [weight], [torch.zeros(1, 1)])
    assert moments.counts[weight.data_ptr()] == 15
    flat = x.reshape(-1, 6).double()
    torch.testing.assert_close(moments.sums[weight.data_ptr()], flat.T @ flat)


def test_rows_are_outputs_also_where_a_layer_is_stored_transposed():
    model = model_of("conv1d")
    quantised, _, _ = quantize_model(model, scheme_of(4))
    name = "transformer.h.0.attn.c_attn.weight"
    expected = round_to_nearest(model.get_parameter(name).detach().T, numbers_of(4)).T
    assert torch.equal(quantised.get_parameter(name), expected)


def test_each_expert_is_a_matrix_of_its_own():
    model = model_of("experts")
    scheme = scheme_of(4, group="tensor")
    quantised, report, parts = quantize_model(model, scheme)
    name = "model.layers.0.mlp.experts.down_proj"
    expected = [round_to_nearest(matrix, scheme.numbers) for matrix in model.get_parameter(name).detach()]
    assert torch.equal(quantised.get_parameter(name), torch.stack(expected))
    assert report["tensors"][name]["num_scales"] == len(expected) == len(parts[f"{name}.scale"])


def test_a_tied_head_is_quantised_once_and_stays_tied():
    model = model_of("gpt2")
    quantised, _, _ = quantize_model(model, scheme_of(3))
    head, embeddings = quantised.get_output_embeddings().weight, quantised.get_input_embeddings().weight
    assert head is embeddings
    assert torch.equal(head, round_to_nearest(model.get_input_embeddings().weight.detach(), numbers_of(3)))


@pytest.mark.parametrize("tensors", [["head"], ["embeddings"], ["linear", "head"]])
def test_half_of_a_tied_tensor_is_refused(tensors):
    with pytest.raises(UserError, match="are one tensor: name both or neither"):
        quantize_model(model_of("gpt2"), scheme_of(4, tensors=tensors))


def test_tensors_that_the_model_has_not_are_refused():
    with pytest.raises(UserError, match="tensors: experts; this model has none of them"):
        quantize_model(model_of("llama"), scheme_of(4, tensors=["experts"]))


@pytest.mark.parametrize("family", FAMILIES)
def test_gptq_keeps_layer_outputs_better_than_rounding_and_says_so(family):
    _, report, _ = quantize_model(model_of(family), scheme_of(3, "gptq"), batches())
    solved = [tensor for tensor in report["tensors"].values() if tensor["method"] == "gptq"]
    found = {tensor["role"] for tensor in solved}
    assert found >= {"experts", "router", "linear"} if "experts" in family else "linear" in found
    assert {t["method"] for t in report["tensors"].values() if t["role"] in ("tied", "embeddings")} == {"rtn"}
    dense = [tensor for tensor in solved if tensor["role"] != "experts"]
    assert sum(t["layer_error"] for t in dense) < 0.95 * sum(t["layer_error_rtn"] for t in dense)
    assert all(tensor["calibration_tokens"] >= 0 for tensor in solved)


def test_later_layers_are_calibrated_on_what_quantised_ones_give_them():
    model = model_of("gpt2")
    _, report, _ = quantize_model(model, scheme_of(2, "gptq", tensors=["linear"]), batches())
    name = "gpt_neox.layers.1.mlp.dense_4h_to_h.weight"
    alone = quantize._Work(model, scheme_of(2, "gptq", tensors=["linear"]), batches())
    alone.quantise([place for place in places_of(model) if place.name == name])
    assert report["tensors"][name]["layer_error"] != pytest.approx(alone.calibrated[name]["layer_error"], rel=1e-3)


def test_the_report_counts_codes_scales_zeros_and_the_rest():
    model = model_of("gpt2")
    scheme = scheme_of(4, group=8, symmetric=False, scale_format="fp16", rest="bf16")
    quantised, report, parts = quantize_model(model, scheme)
    tensors = json.loads(json.dumps(report))["tensors"]
    name = "gpt_neox.layers.0.mlp.dense_h_to_4h.weight"  # 32 x 16: 64 groups
    assert tensors[name]["stored_bits"] == 32 * 16 * 4 + 64 * 16 + 64 * 4
    assert (tensors[name]["num_scales"], tensors[name]["num_zeros"]) == (64, 64)
    assert tensors["gpt_neox.layers.0.mlp.dense_h_to_4h.bias"]["stored_bits"] == 32 * 16
    assert report["stored_bits"] == sum(tensor["stored_bits"] for tensor in tensors.values())
    assert report["stored_bits_per_weight"] == report["stored_bits"] / report["num_weights"]
    before, after = model.get_parameter(name).detach(), quantised.get_parameter(name).detach()
    assert tensors[name]["relative_error"] == pytest.approx(float((after - before).norm() / before.norm()), rel=1e-5)
    assert parts[f"{name}.scale"].shape == parts[f"{name}.zero"].shape == (32, 2)
    bias = model.get_parameter("gpt_neox.layers.0.mlp.dense_h_to_4h.bias").detach()
    assert torch.equal(
        quantised.get_parameter("gpt_neox.layers.0.mlp.dense_h_to_4h.bias"), bias.to(torch.bfloat16).float()
    )


@pytest.mark.parametrize(
    ("scheme", "bits"),
    [
        (NONE, 32 * 512),
        (scheme_of(8), 8 * 512 + 32 * 32),
        (scheme_of(3, group="tensor"), 3 * 512 + 32),
        (scheme_of(format="ternary"), 8 * 103 + 32 * 32),
        (scheme_of(format="fp16"), 16 * 512),
        (scheme_of(format="fp8"), 8 * 512 + 32 * 32),
    ],
)
def test_stored_bits_of_a_matrix_of_32_rows_of_16(scheme, bits):
    _, report, _ = quantize_model(model_of("gpt2"), scheme)
    assert report["tensors"]["gpt_neox.layers.0.mlp.dense_h_to_4h.weight"]["stored_bits"] == bits


def test_none_keeps_every_tensor():
    _, report, parts = quantize_model(model_of("gpt2"), NONE)
    assert report["stored_bits_per_weight"] == 32
    assert all(tensor["relative_error"] == 0 for tensor in report["tensors"].values())
    assert parts == {}


@pytest.mark.parametrize("skipped", ["dense_4h_to_h", "embed_in"])
def test_a_tensor_that_was_to_be_quantised_and_was_not_is_an_error(skipped, monkeypatch):
    whole = quantize._Work.quantise

    def forgetful(work, stage):
        whole(work, [place for place in stage if skipped not in place.name])

    monkeypatch.setattr(quantize._Work, "quantise", forgetful)
    with pytest.raises(UserError, match=f"{skipped}.*was to be quantised and is not"):
        quantize_model(model_of("gpt2"), scheme_of(4))


def test_a_tensor_that_is_put_back_as_it_was_is_an_error(monkeypatch):
    monkeypatch.setattr(quantize._Work, "_matrices", lambda work, place: [work.parameters[place.name].detach().clone()])
    with pytest.raises(UserError, match="was to be quantised and is not on its grid"):
        quantize_model(model_of("gpt2"), scheme_of(4))


def test_a_tensor_that_was_not_to_be_quantised_and_was_is_an_error(monkeypatch):
    everything = scheme_of(4)
    choose = quantize.chosen_places
    calls = []

    def too_many(model, scheme):
        calls.append(scheme)
        return choose(model, everything if len(calls) == 1 else scheme)

    monkeypatch.setattr(quantize, "chosen_places", too_many)
    with pytest.raises(UserError, match=r"embed_in.*was not to be quantised and was changed"):
        quantize_model(model_of("gpt2"), scheme_of(4, tensors=["linear"]))


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("scheme", [NONE, scheme_of(8)], ids=str)
def test_a_diverged_checkpoint_is_refused(broken, scheme):
    model = model_of("gpt2")
    with torch.no_grad():
        model.get_parameter("gpt_neox.layers.0.mlp.dense_h_to_4h.bias")[2] = broken
    with pytest.raises(UserError, match=r"dense_h_to_4h\.bias: 1 of 32 values"):
        quantize_model(model, scheme)


def test_the_given_model_is_not_changed():
    model, other = model_of("gpt2"), model_of("gpt2")
    quantize_model(model, scheme_of(2, "gptq"), batches())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("text", [None, []])
def test_gptq_without_text_is_refused(text):
    with pytest.raises(UserError, match="calibration: no biographies"):
        quantize_model(model_of("gpt2"), scheme_of(4, "gptq"), text)


def test_text_that_is_shorter_than_a_layer_is_wide_is_refused():
    with pytest.raises(UserError, match=r"calibration: 10 tokens reach .*, fewer than its 16 inputs"):
        quantize_model(model_of("gpt2"), scheme_of(4, "gptq"), [batches()[0][:2, :5]])


def test_a_group_that_fits_no_layer_is_named_with_the_layer():
    with pytest.raises(UserError, match=r"embed_in\.weight: group: 5 does not divide 16 inputs"):
        quantize_model(model_of("gpt2"), scheme_of(4, group=5))


# --- calibration text


def test_calibration_tells_of_different_people_in_whole_biographies():
    world = make_world(WORLD)
    renderer = Renderer(world, made_tokenizer({"kind": "word"}, world))
    rows = [row for batch in calibration_batches(renderer, 12, seed=1) for row in batch.tolist()]
    assert len({tuple(row[1:4]) for row in rows}) == len(rows) == 12  # full names
    assert all(row[0] == EOS_ID and EOS_ID not in row[1:] for row in rows)
    again = [row for batch in calibration_batches(renderer, 12, seed=1) for row in batch.tolist()]
    other = [row for batch in calibration_batches(renderer, 12, seed=2) for row in batch.tolist()]
    assert rows == again != other
