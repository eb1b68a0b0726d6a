"""Quantised weights against torchao's and PyTorch's own quantisers, and planted matrices."""

import copy
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.ao.quantization.observer import PerChannelMinMaxObserver
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from capacity.errors import UserError
from capacity.quantize import quantize_state, round_to_nearest

# weight.qdata and weight.scale of a Linear with WEIGHT after torchao 0.18.0's
# quantize_(linear, IntxWeightOnlyConfig(weight_dtype=torch.int<bits>, granularity=PerAxis(0)))
WEIGHT = [[0.7, -0.45, 0.1, 0.02], [-3.0, 1.4, 2.2, -0.1]]
TORCHAO = {
    2: ([[1, -1, 0, 0], [-2, 1, 1, 0]], [0.46666666865348816, 2.0]),
    3: ([[3, -2, 0, 0], [-4, 2, 3, 0]], [0.20000000298023224, 0.8571428656578064]),
    4: ([[7, -5, 1, 0], [-8, 4, 6, 0]], [0.09333333373069763, 0.4000000059604645]),
    5: ([[15, -10, 2, 0], [-16, 7, 11, -1]], [0.04516128823161125, 0.19354838132858276]),
    6: ([[31, -20, 4, 1], [-32, 15, 23, -1]], [0.02222222276031971, 0.095238097012043]),
    8: ([[127, -82, 18, 4], [-128, 60, 94, -4]], [0.0054901959374547005, 0.0235294122248888]),
}


def matrix(rows=16, columns=24, dtype=torch.float32):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_rtn_gives_the_codes_and_scales_of_torchao(bits):
    codes, scales = (torch.tensor(values) for values in TORCHAO[bits])
    assert torch.equal(round_to_nearest(torch.tensor(WEIGHT), bits), codes * scales[:, None])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rtn_agrees_with_pytorchs_observer_and_fake_quantiser(bits):
    weight, lowest, highest = matrix(), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scheme = {"qscheme": torch.per_channel_symmetric, "dtype": torch.qint8, "eps": 1e-12}
    observer = PerChannelMinMaxObserver(ch_axis=0, quant_min=lowest, quant_max=highest, **scheme)
    observer(weight)
    scales, zeros = observer.calculate_qparams()
    expected = torch.fake_quantize_per_channel_affine(weight, scales, zeros.int(), 0, lowest, highest)
    torch.testing.assert_close(round_to_nearest(weight, bits), expected, rtol=1e-5, atol=1e-6)


@given(st.integers(2, 8), st.integers(0, 2**31), st.floats(1e-6, 1e6))
def test_rtn_moves_no_weight_by_more_than_half_a_step(bits, seed, size):
    weight = torch.randn(5, 9, generator=torch.Generator().manual_seed(seed)) * size
    step = weight.abs().amax(dim=1, keepdim=True) / ((2**bits - 1) / 2)
    quantised = round_to_nearest(weight, bits)
    assert ((quantised - weight).abs() <= step * (0.5 + 1e-4)).all()
    assert all(len(set(row.tolist())) <= 2**bits for row in quantised)


def test_rtn_scales_each_row_by_itself():
    weight = matrix()
    factors = 2.0 ** torch.arange(-8, 8)[:, None]
    assert torch.equal(round_to_nearest(weight * factors, 4), round_to_nearest(weight, 4) * factors)


def test_a_row_of_zeros_stays_zero():
    weight = matrix()
    weight[3] = 0
    quantised = round_to_nearest(weight, 4)
    assert (quantised[3] == 0).all()
    assert torch.isfinite(quantised).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtype_shape_and_input_are_kept(dtype):
    weight = matrix(dtype=dtype)
    before = weight.clone()
    state, _ = quantize_state({"w": weight}, {"method": "rtn", "bits": 4})
    assert (state["w"].dtype, state["w"].shape) == (dtype, weight.shape)
    assert torch.equal(weight, before)


def test_matrices_are_quantised_and_vectors_are_not():
    state = {"embed.weight": matrix(), "norm.weight": matrix()[0], "bias": matrix()[:, 0]}
    quantised, _ = quantize_state(state, {"method": "rtn", "bits": 4})
    assert not torch.equal(quantised["embed.weight"], state["embed.weight"])
    assert quantised["norm.weight"] is state["norm.weight"]
    assert quantised["bias"] is state["bias"]


def test_none_keeps_every_tensor():
    state = {"embed.weight": matrix(), "bias": matrix()[0]}
    quantised, report = quantize_state(state, {"method": "none"})
    assert all(quantised[name] is state[name] for name in state)
    assert report["stored_bits_per_weight"] == 32
    assert all(tensor["relative_error"] == 0 for tensor in report["tensors"].values())


def test_the_report_counts_weights_scales_and_errors():
    state = {"embed.weight": matrix(16, 24), "norm.weight": matrix()[0], "half": matrix()[0].bfloat16()}
    quantised, report = quantize_state(state, {"method": "rtn", "bits": 4})
    tensors = json.loads(json.dumps(report))["tensors"]
    assert [tensors[name]["stored_bits"] for name in state] == [16 * 24 * 4 + 16 * 32, 24 * 32, 24 * 16]
    assert [tensors[name]["bits"] for name in state] == [4, 32, 16]
    assert [tensors[name]["num_scales"] for name in state] == [16, 0, 0]
    assert report["num_weights"] == 16 * 24 + 24 + 24
    assert report["stored_bits"] == sum(tensor["stored_bits"] for tensor in tensors.values())
    error = (quantised["embed.weight"] - state["embed.weight"]).norm() / state["embed.weight"].norm()
    assert tensors["embed.weight"]["relative_error"] == pytest.approx(float(error), rel=1e-5)


def test_fewer_bits_lose_more():
    errors = [
        quantize_state({"w": matrix()}, {"method": "rtn", "bits": bits})[1]["tensors"]["w"]["relative_error"]
        for bits in range(2, 9)
    ]
    assert errors == sorted(errors, reverse=True)


@pytest.fixture
def tied_model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=30, tie_word_embeddings=True, **sizes)).eval()


def test_a_tied_head_is_quantised_once_and_stays_tied(tied_model):
    state = tied_model.state_dict()
    quantised, report = quantize_state(state, {"method": "rtn", "bits": 4})
    names = [name for name in state if state[name].data_ptr() == state["gpt_neox.embed_in.weight"].data_ptr()]
    assert len(names) == 2
    assert quantised[names[0]] is quantised[names[1]]
    assert report["num_weights"] == sum(parameter.numel() for parameter in tied_model.parameters())


def test_a_saved_tied_model_reloads_with_the_quantised_head(tied_model, tmp_path):
    tied_model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    quantised, _ = quantize_state(state, {"method": "rtn", "bits": 3})
    reloaded = copy.deepcopy(tied_model)
    reloaded.load_state_dict(quantised, strict=False)
    head = reloaded.get_output_embeddings().weight
    assert torch.equal(head, round_to_nearest(tied_model.get_output_embeddings().weight.detach(), 3))


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("scheme", [{"method": "none"}, {"method": "rtn", "bits": 8}])
def test_a_diverged_checkpoint_is_refused(broken, scheme):
    state = {"embed.weight": matrix(), "bias": matrix()[0]}
    state["bias"][2] = broken
    with pytest.raises(UserError, match="bias: 1 of 24 values"):
        quantize_state(state, scheme)


@pytest.mark.parametrize(
    "scheme",
    [
        {},
        {"method": "gptq", "bits": 4},
        {"method": "rtn"},
        {"method": "rtn", "bits": 1},
        {"method": "rtn", "bits": 9},
        {"method": "rtn", "bits": 4.0},
        {"method": "rtn", "bits": 4, "group": 16},
        {"method": "none", "bits": 8},
    ],
)
def test_a_scheme_that_cannot_be_followed_is_refused(scheme):
    with pytest.raises(UserError, match="quantisation scheme"):
        quantize_state({"w": matrix()}, scheme)
