"""The paper's architectures as plain numbers: what a family is made of, its sizes, its parameter count.

Light to import: the configuration and the estimates need no torch. Source of the families: arXiv 2404.05405,
Section 2 and Appendix A.
"""

from typing import Any

Model = dict[str, Any]

# What each family is made of; every entry is a switch. mlp_size: parameters of a full MLP in units of d^2, so
# that its hidden width is mlp_size / 2 d (standard: two matrices) or mlp_size / 3 d (gated: three).
FAMILIES: dict[str, Model] = {
    "gpt2": {
        "mlp": "standard", "mlp_size": 8.0, "activation": "gelu", "tied": True, "norm": "layer", "bias": True,
        "kv_sharing": 1,
    },
    "llama": {
        "mlp": "gated", "mlp_size": 8.0, "activation": "silu", "tied": False, "norm": "rms", "bias": False,
        "kv_sharing": 1,
    },
    "mistral": {
        "mlp": "gated", "mlp_size": 10.5, "activation": "silu", "tied": False, "norm": "rms", "bias": False,
        "kv_sharing": None,  # by the number of heads, see `described`
    },
}  # fmt: skip


def described(model: Model) -> Model:
    """A model with every switch that it does not set at its family's value.

    Mistral shares each key and value head among 4 query heads where 4 divides h, else among 2 where 2 does.
    """
    whole = {**FAMILIES[model["family"]], "mlp_ratio": 1.0, "rotary": 1.0, "init_std": 0.02, **model}
    if whole["kv_sharing"] is None:
        whole["kv_sharing"] = next(factor for factor in (4, 2, 1) if whole["h"] % factor == 0)
    return whole


def width(model: Model) -> int:
    """d, the width of the residual stream."""
    return model["h"] * model["head_dim"]


def mlp_width(model: Model) -> int:
    """Hidden units of a layer's MLP, to the nearest; 0 where there is no MLP."""
    whole = described(model)
    matrices = 3 if whole["mlp"] == "gated" else 2
    return round(whole["mlp_ratio"] * whole["mlp_size"] / matrices * width(whole))


def parameter_count(model: Model, vocab_size: int) -> int:
    """P: every trainable parameter, a tied head once.

    Of a GPT-2: 12 l d^2 + 13 l d + 2 d + V d, which gives every model size in the figures of arXiv 2404.05405
    with d = 64 h and V = 3275.
    """
    whole = described(model)
    d, m, bias = width(whole), mlp_width(whole), int(whole["bias"])
    kv = d // whole["kv_sharing"]
    norm = 2 * d if whole["norm"] == "layer" else d
    attention = 2 * d * (d + kv) + bias * 2 * (d + kv) + norm
    matrices = 3 if whole["mlp"] == "gated" else 2
    mlp = matrices * d * m + bias * ((matrices - 1) * m + d) + norm if m else 0
    return whole["l"] * (attention + mlp) + norm + vocab_size * d * (1 if whole["tied"] else 2)
