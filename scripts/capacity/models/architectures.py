"""The paper's architectures as plain numbers: what a family is made of, its sizes, its parameter count.

Light to import: the configuration and the estimates need no torch. Source of the families: arXiv 2404.05405,
Section 2 and Appendix A.
"""

from typing import Any

from capacity.models.spec import ModelSettings, PaperModel, TransformersModel

# What each family is made of; every entry is a switch. mlp_size: parameters of a full MLP in units of d^2, so
# that its hidden width is mlp_size / 2 d (standard: two matrices) or mlp_size / 3 d (gated: three).
FAMILIES: dict[str, dict[str, Any]] = {
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
        "kv_sharing": None,  # by the number of heads, see `paper_model`
    },
}  # fmt: skip


def paper_model(family: str, l: int, h: int, head_dim: int, **switches: Any) -> PaperModel:
    """A model of the paper; switches that are not given are at the family's values.

    Mistral shares each key and value head among 4 query heads where 4 divides h, else among 2 where 2 does.
    """
    common = {"mlp_ratio": 1.0, "rotary": 1.0, "init_std": 0.02, "experts": None}
    whole = {**FAMILIES[family], **common, **switches}
    if whole["kv_sharing"] is None:
        whole["kv_sharing"] = next(factor for factor in (4, 2, 1) if h % factor == 0)
    del whole["mlp_size"]
    return PaperModel(family=family, l=l, h=h, head_dim=head_dim, **whole)


def sizes(model: ModelSettings) -> dict[str, int | None]:
    """l, h and d as far as they are known: of an external model by the usual names in its configuration."""
    if isinstance(model, PaperModel):
        return {"l": model.l, "h": model.h, "d": model.d}
    hf = model.hf if isinstance(model, TransformersModel) else {}
    names = {
        "l": ("num_hidden_layers", "n_layer"),
        "h": ("num_attention_heads", "n_head"),
        "d": ("hidden_size", "n_embd"),
    }
    return {size: next((hf[key] for key in keys if isinstance(hf.get(key), int)), None) for size, keys in names.items()}


def mlp_width(model: PaperModel) -> int:
    """Hidden units of a layer's MLP, to the nearest; 0 where there is no MLP."""
    return round(model.mlp_ratio * FAMILIES[model.family]["mlp_size"] / _matrices(model) * model.d)


def parameter_count(model: ModelSettings, vocab_size: int) -> int:
    """P: every trainable parameter, all experts among them, a tied head once.

    Of a GPT-2: 12 l d^2 + 13 l d + 2 d + V d, which gives every model size in the figures of arXiv 2404.05405
    with d = 64 h and V = 3275. Of an external model a guess, for estimates alone: 12 l d^2 + 2 V d, or a million.
    """
    if not isinstance(model, PaperModel):
        known = sizes(model)
        l, d = known["l"], known["d"]
        return 12 * l * d**2 + 2 * vocab_size * d if l and d else 1_000_000
    d, norm = model.d, (2 if model.norm == "layer" else 1) * model.d
    mlp = _mlp(model)
    if model.experts:
        mlp = model.experts.count * (mlp + d)  # and a row of the router each
    layer = _attention(model) + norm + (mlp + norm if mlp_width(model) else 0)
    return model.l * layer + norm + vocab_size * d * (1 if model.tied else 2)


def matrix_roles(model: PaperModel) -> set[str]:
    """The roles that a scheme of `capacity.quantization.spec` can name in a model of the paper."""
    ends = {"tied"} if model.tied else {"embeddings", "head"}
    return {"linear", *ends, *({"router", "experts"} if model.experts else set())}


def _matrices(model: PaperModel) -> int:
    return 3 if model.mlp == "gated" else 2


def _attention(model: PaperModel) -> int:
    d, kv = model.d, model.d // model.kv_sharing
    return 2 * d * (d + kv) + model.bias * 2 * (d + kv)


def _mlp(model: PaperModel) -> int:
    """Of one MLP, or of one expert."""
    d, m, matrices = model.d, mlp_width(model), _matrices(model)
    return matrices * d * m + model.bias * ((matrices - 1) * m + d) if m else 0
