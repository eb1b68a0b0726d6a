"""Promises of the models: the paper's architecture and sizes, seeded weights, honest loading."""

import math

import pytest
import torch
from torch import Tensor

from capacity.errors import UserError
from capacity.models import build_model, device_of, load_model, parameter_formula


def spec_of(l: int, h: int, head_dim: int) -> dict:
    return {"family": "gpt2", "l": l, "h": h, "head_dim": head_dim}


SMALL = spec_of(2, 2, 8)


def reference_logits(weights: dict[str, Tensor], l: int, h: int, inputs: Tensor) -> Tensor:
    """GPT-2 (pre-norm, sequential residual, tied head) with rotary positions, written from the formulas."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(-1, keepdim=True)
        return (x - mean) / torch.sqrt(variance + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def rotate(x: Tensor) -> Tensor:
        """Turn each pair (x_i, x_{i + D/2}) of the row at position t by the angle t 10000^(-2 i / D)."""
        T, D = x.shape[-2:]
        angles = torch.arange(T)[:, None] * 10000.0 ** (-torch.arange(0, D, 2) / D)
        first, second = x[..., : D // 2], x[..., D // 2 :]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    def gelu(x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    embedding = weights["gpt_neox.embed_in.weight"]
    x = embedding[inputs]
    B, T, d = x.shape
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    for layer in range(l):
        block = f"gpt_neox.layers.{layer}"
        mixed = linear(norm(x, f"{block}.input_layernorm"), f"{block}.attention.query_key_value")
        q, k, v = mixed.view(B, T, h, 3, d // h).permute(3, 0, 2, 1, 4)
        scores = rotate(q) @ rotate(k).transpose(-1, -2) / math.sqrt(d // h)
        heads = scores.masked_fill(future, -math.inf).softmax(-1) @ v
        x = x + linear(heads.transpose(1, 2).reshape(B, T, d), f"{block}.attention.dense")
        hidden = linear(norm(x, f"{block}.post_attention_layernorm"), f"{block}.mlp.dense_h_to_4h")
        x = x + linear(gelu(hidden), f"{block}.mlp.dense_4h_to_h")
    return norm(x, "gpt_neox.final_layer_norm") @ embedding.T


@pytest.mark.parametrize(("l", "h", "head_dim", "V"), [(2, 2, 8, 166), (1, 1, 2, 3), (3, 4, 8, 512), (5, 3, 6, 77)])
def test_parameter_count_follows_the_formula(l: int, h: int, head_dim: int, V: int) -> None:
    model = build_model(spec_of(l, h, head_dim), V, 12, seed=1)
    d = h * head_dim
    expected = 12 * l * d**2 + 13 * l * d + 2 * d + V * d
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert parameter_formula(spec_of(l, h, head_dim), V) == expected


@pytest.mark.parametrize(("l", "h", "published"), [(2, 2, 816_000), (12, 12, 87_571_200)])
def test_formula_gives_the_papers_model_sizes(l: int, h: int, published: int) -> None:
    assert parameter_formula(spec_of(l, h, 64), 3275) == published


def test_model_is_gpt2_with_rotary_positions() -> None:
    model = build_model(SMALL, 50, 20, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms too, which start at 0 and 1
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    inputs = torch.randint(0, 50, (3, 20), generator=generator)
    expected = reference_logits(dict(model.named_parameters()), 2, 2, inputs)
    assert expected.std() > 0.3
    torch.testing.assert_close(model(inputs).logits, expected, rtol=0, atol=1e-5)


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(3)
    first = build_model(SMALL, 50, 12, seed=7).state_dict()
    torch.rand(5)
    second = build_model(SMALL, 50, 12, seed=7).state_dict()
    other = build_model(SMALL, 50, 12, seed=8).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["gpt_neox.embed_in.weight"], other["gpt_neox.embed_in.weight"])


def test_building_leaves_torchs_own_randomness_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    build_model(SMALL, 50, 12, seed=7)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("std", [0.02, 0.25])
def test_weights_start_as_documented(std: float) -> None:
    state = build_model(spec_of(4, 4, 16) | {"init_std": std}, 500, 12, seed=1).state_dict()
    for name, tensor in state.items():
        if "norm" in name:
            assert (tensor == float(name.endswith("weight"))).all(), name
        elif name.endswith("bias"):
            assert (tensor == 0).all(), name
        else:
            assert tensor.std() == pytest.approx(std, rel=0.05), name


def test_unknown_family_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="model family: gpt7"):
        build_model(SMALL | {"family": "gpt7"}, 50, 12, seed=1)


def test_loading_gives_the_saved_model(tmp_path) -> None:
    model = build_model(SMALL, 50, 12, seed=4)
    model.save_pretrained(tmp_path)
    inputs = torch.arange(12)[None]
    loaded = load_model(tmp_path)
    assert not loaded.training
    assert torch.equal(loaded(inputs).logits, model(inputs).logits)


def test_loading_refuses_weights_that_leave_a_parameter_unset(tmp_path) -> None:
    build_model(SMALL, 50, 12, seed=4).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(UserError, match=r"layers\.2\..* is not set"):
        load_model(tmp_path)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="accelerator: gpu"):
        device_of("gpu")
    with pytest.raises(UserError, match="accelerator: tpu"):
        device_of("tpu")
    assert device_of("cpu") == torch.device("cpu")
