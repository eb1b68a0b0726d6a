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
    common = {"mlp_ratio": 1.0, "rotary": 1.0, "init_std": 0.02, "experts": None}
    whole = {**FAMILIES[model["family"]], **common, **model}
    if whole["kv_sharing"] is None:
        whole["kv_sharing"] = next(factor for factor in (4, 2, 1) if whole["h"] % factor == 0)
    return whole


def width(model: Model) -> int:
    """d, the width of the residual stream."""
    return model["h"] * model["head_dim"]


def sizes(model: Model) -> dict[str, int | None]:
    """l, h and d as far as they are known: of an external model by the usual names in its configuration."""
    if "family" in model:
        return {"l": model["l"], "h": model["h"], "d": width(model)}
    hf = model.get("hf", {})
    names = {
        "l": ("num_hidden_layers", "n_layer"),
        "h": ("num_attention_heads", "n_head"),
        "d": ("hidden_size", "n_embd"),
    }
    return {size: next((hf[key] for key in keys if isinstance(hf.get(key), int)), None) for size, keys in names.items()}


def mlp_width(model: Model) -> int:
    """Hidden units of a layer's MLP, to the nearest; 0 where there is no MLP."""
    whole = described(model)
    matrices = 3 if whole["mlp"] == "gated" else 2
    return round(whole["mlp_ratio"] * whole["mlp_size"] / matrices * width(whole))


def parameter_count(model: Model, vocab_size: int) -> int:
    """P: every trainable parameter, all experts among them, a tied head once.

    Of a GPT-2: 12 l d^2 + 13 l d + 2 d + V d, which gives every model size in the figures of arXiv 2404.05405
    with d = 64 h and V = 3275. Of an external model a guess, for estimates alone: 12 l d^2 + 2 V d, or a million.
    """
    if "family" not in model:
        known = sizes(model)
        l, d = known["l"], known["d"]
        return 12 * l * d**2 + 2 * vocab_size * d if l and d else 1_000_000
    whole = described(model)
    d, norm = width(whole), _norm(whole)
    mlp = _mlp(whole)
    if whole["experts"]:
        mlp = whole["experts"]["count"] * (mlp + d)  # and a row of the router each
    layer = _attention(whole) + norm + (mlp + norm if mlp_width(whole) else 0)
    return whole["l"] * layer + norm + vocab_size * d * (1 if whole["tied"] else 2)


def matrix_roles(model: Model) -> set[str]:
    """The roles that a scheme of `capacity.quantization.spec` can name in a model of the paper."""
    whole = described(model)
    ends = {"tied"} if whole["tied"] else {"embeddings", "head"}
    return {"linear", *ends, *({"router", "experts"} if whole["experts"] else set())}


def _norm(whole: Model) -> int:
    return (2 if whole["norm"] == "layer" else 1) * width(whole)


def _attention(whole: Model) -> int:
    d = width(whole)
    kv = d // whole["kv_sharing"]
    return 2 * d * (d + kv) + whole["bias"] * 2 * (d + kv)


def _mlp(whole: Model) -> int:
    """Of one MLP, or of one expert."""
    d, m = width(whole), mlp_width(whole)
    matrices = 3 if whole["mlp"] == "gated" else 2
    return matrices * d * m + whole["bias"] * ((matrices - 1) * m + d) if m else 0
