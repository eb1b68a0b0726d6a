"""A decoder written from the paper's formulas, one function, for tests of every family and switch.

Weights are taken from a model by canonical names, so that one reference serves classes that name and lay out
their tensors differently.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

Weights = dict[str, Any]


def weights_of(model: nn.Module) -> Weights:
    """Embedding, head, final norm, and for each layer q, k, v, o, the MLP's matrices and the norms.

    A linear map is (matrix, bias or None), a norm (gain, shift or None); `mlp` holds those that there are. Of experts
    it holds the router's matrix, and in `experts` an MLP each.
    """
    if hasattr(model, "gpt_neox"):
        body, h = model.gpt_neox, model.config.num_attention_heads
        layers = [_neox_layer(layer, h) for layer in body.layers]
        return {"embedding": body.embed_in.weight, "layers": layers, "norm": _pair(body.final_layer_norm),
                "head": model.get_output_embeddings().weight}  # fmt: skip
    layers = [_llama_layer(layer) for layer in model.model.layers]
    return {"embedding": model.model.embed_tokens.weight, "layers": layers, "norm": _pair(model.model.norm),
            "head": model.lm_head.weight}  # fmt: skip


def _pair(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    return module.weight, getattr(module, "bias", None)


def _neox_layer(layer: nn.Module, h: int) -> Weights:
    weight, bias = _pair(layer.attention.query_key_value)  # rows are laid out [head, 3, channel]
    matrices = weight.view(h, 3, -1, weight.shape[1]).transpose(0, 1).flatten(1, 2)
    biases = bias.view(h, 3, -1).transpose(0, 1).flatten(1)
    q, k, v = zip(matrices, biases, strict=True)
    mlp = {"up": _pair(layer.mlp.dense_h_to_4h), "down": _pair(layer.mlp.dense_4h_to_h)}
    return {"q": q, "k": k, "v": v, "o": _pair(layer.attention.dense), "mlp": mlp,
            "norm": _pair(layer.input_layernorm), "mlp_norm": _pair(layer.post_attention_layernorm)}  # fmt: skip


def _llama_layer(layer: nn.Module) -> Weights:
    attention, names = layer.self_attn, {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}
    if hasattr(layer.mlp, "router"):
        mlp = {"router": layer.mlp.router.weight, "experts": _experts(layer.mlp)}
    else:
        mlp = {name: _pair(getattr(layer.mlp, part)) for name, part in names.items() if hasattr(layer.mlp, part)}
    linear = {name: _pair(getattr(attention, f"{name}_proj")) for name in "qkvo"}
    return {**linear, "mlp": mlp, "norm": _pair(layer.input_layernorm),
            "mlp_norm": _pair(layer.post_attention_layernorm) if mlp else None}  # fmt: skip


def _experts(layer: nn.Module) -> list[Weights]:
    E = len(layer.up_proj)
    biases = [None if each is None else each.view(E, -1) for each in (layer.up_bias, layer.down_bias)]
    parts = zip(("up", "down"), (layer.up_proj, layer.down_proj), biases, strict=True)
    pairs = {name: [(w[e], None if b is None else b[e]) for e in range(E)] for name, w, b in parts}
    return [{"up": up, "down": down} for up, down in zip(pairs["up"], pairs["down"], strict=True)]


def reference_logits(weights: Weights, model: dict[str, Any], inputs: Tensor, neox_order: bool) -> Tensor:
    """Logits of a pre-norm decoder with rotary positions.

    model: every switch, as `capacity.models.architectures.paper_model` gives it. neox_order: a partly turned head turns
    channel i with i + R/2 among its first R channels; otherwise with i + D/2.
    """
    x = weights["embedding"][inputs]
    for layer in weights["layers"]:
        x = x + attention(normed(x, layer["norm"], model), layer, model, neox_order)
        if layer["mlp"]:
            x = x + mlp(normed(x, layer["mlp_norm"], model), layer["mlp"], model)
    return normed(x, weights["norm"], model) @ weights["head"].T


def normed(x: Tensor, norm: tuple[Tensor, Tensor | None], model: dict[str, Any]) -> Tensor:
    gain, shift = norm
    if model["norm"] == "rms":
        assert shift is None
        return x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-6) * gain
    x = x - x.mean(-1, keepdim=True)
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-5) * gain + shift


def linear(x: Tensor, weight: tuple[Tensor, Tensor | None]) -> Tensor:
    matrix, bias = weight
    return x @ matrix.T + (0 if bias is None else bias)


def attention(x: Tensor, layer: Weights, model: dict[str, Any], neox_order: bool) -> Tensor:
    B, T, _ = x.shape
    h, D = model["h"], model["head_dim"]
    q, k, v = (linear(x, layer[name]).view(B, T, -1, D).transpose(1, 2) for name in "qkv")
    share = model["kv_sharing"]
    assert k.shape[1] * share == h
    k, v = (torch.stack([part[:, head // share] for head in range(h)], dim=1) for part in (k, v))
    q, k = (turned(part, round(model["rotary"] * D), neox_order) for part in (q, k))
    scores = q @ k.transpose(-1, -2) / math.sqrt(D)
    scores = scores.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -math.inf)
    return linear((scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, h * D), layer["o"])


def turned(x: Tensor, R: int, neox_order: bool) -> Tensor:
    """Turn R channels of each row: a pair at position t by the angle t 10000^(-2 i / R)."""
    T, D = x.shape[-2:]
    result = x.clone()
    for i in range(R // 2):
        partner = i + (R if neox_order else D) // 2
        angle = torch.arange(T) * 10000.0 ** (-2 * i / R)
        result[..., i] = x[..., i] * angle.cos() - x[..., partner] * angle.sin()
        result[..., partner] = x[..., partner] * angle.cos() + x[..., i] * angle.sin()
    return result


def experts(x: Tensor, weights: Weights, model: dict[str, Any]) -> Tensor:
    """Each token's most probable experts, weighted by their probability, for several as a share of theirs."""
    probability = (x @ weights["router"].T).softmax(-1)
    top = model["experts"]["top"]
    lowest = probability.sort(-1, descending=True).values[..., top - 1 : top]
    gate = probability * (probability >= lowest)
    gate = gate / gate.sum(-1, keepdim=True) if top > 1 else gate
    outputs = [mlp(x, each, model | {"mlp": "standard"}) for each in weights["experts"]]
    return sum(gate[..., e, None] * output for e, output in enumerate(outputs))


def mlp(x: Tensor, weights: Weights, model: dict[str, Any]) -> Tensor:
    if "experts" in weights:
        return experts(x, weights, model)
    activation = ACTIVATIONS[model["activation"]]
    if model["mlp"] == "gated":
        return linear(activation(linear(x, weights["gate"])) * linear(x, weights["up"]), weights["down"])
    assert "gate" not in weights
    return linear(activation(linear(x, weights["up"])), weights["down"])


ACTIVATIONS = {
    "gelu": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "relu": lambda x: x.clamp_min(0),
}
