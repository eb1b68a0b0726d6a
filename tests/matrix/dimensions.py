"""Every option that the project advertises, as values of dimensions, and what cannot go together.

A value is what a section of the configuration gets; {} is what holds where nothing is said. Worlds are so small and
models so narrow that a run takes seconds.
"""

from typing import Any

from covering import Rule, Space

NAMES = {"first_names": 4, "middle_names": 4, "last_names": 4}
POOLS = {**NAMES, "months": 2, "days": 4, "years": 4, "cities": 4, "universities": 4, "majors": 4, "employers": 4}
OWN_POOLS = {pool: size for pool, size in POOLS.items() if pool not in ("cities", "employers")}
SIZES = {"hidden_size": 8, "num_hidden_layers": 1}
HEADS = {**SIZES, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 8}

DATASETS: dict[str, dict[str, Any]] = {
    "bioD-atomic": {"kind": "bioD", "N": 16, "K": 2, "D": 8, "T": 8, "names": [6, 6, 6], "wording": "atomic"},
    "bioD-sentence": {"kind": "bioD", "N": 16, "K": 2, "C": 2, "D": 6, "L": 2, "T": 4, "names": [6, 6, 6]},
    "bioS": {"kind": "bioS", "N": 16, "templates": 2, "pools": POOLS},
    "bioS-own": {
        "kind": "bioS",
        "N": 16,
        "pools": OWN_POOLS,
        "value_lists": {"cities": "own/cities.txt", "employers": "own/employers.txt"},
        "template_folder": "own/templates",
        "pronouns": ["They"],
    },
    "bioR": {
        "kind": "bioR", "N": 16, "templates": 2, "pools": POOLS, "rewritings": 3, "tries": 3,
        "rewriter": {"kind": "grammar"},
    },
    "bioR-flawed": {
        "kind": "bioR", "N": 16, "templates": 2, "pools": POOLS, "rewritings": 2, "flawed": "keep",
        "rewriter": {"kind": "grammar", "corruption": 0.1},
    },
    "records": {"kind": "records", "file": "own/rivers.csv", "entity": "river"},
    "records-told": {
        "kind": "records",
        "file": "own/rivers-with-gaps.csv",
        "entity": "river",
        "attributes": ["sea", "colour"],
        "phrases": {"sea": ["flows into", "ends in"]},
        "account": "frequencies",
        "missing": "drop",
        "N": 16,
    },
    "random": {"kind": "random", "N": 16, "length": 4, "vocabulary": 16},
}  # fmt: skip
SENTENCES = {"any order": {}, "in order": {"sentences": "in_order"}}
PARAGRAPHS = {"fresh": {}, "one": {"paragraphs": 1}, "two": {"paragraphs": 2}}
TAG = {"untagged": {}, "tagged": {"tag": True}}
JUNK = {
    "no junk": {},
    "many": {"junk": {"people": 40, "share": 0.5}},
    "few again": {"junk": {"people": 2, "share": 0.5}},
    "in windows": {"junk": {"people": 40, "share": 0.5, "windows": "mixed"}},
}
TOKENIZERS = {
    "word": {"kind": "word"},
    "bpe": {"kind": "bpe", "vocabulary": 300},
    "bpe-digits": {"kind": "bpe", "vocabulary": 300, "split_digits": True},
    "published": {"kind": "pretrained", "folder": "own/tokenizer"},
    "published-whole": {"kind": "pretrained", "folder": "own/tokenizer", "compact": False},
}
MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {"architecture": "gpt2-1-2", "head_dim": 4, "init_std": 0.3},
    "llama": {"architecture": "llama-1-2", "width": 8, "init_std": 0.3},
    "mistral": {"architecture": "mistral-1-2", "head_dim": 4},
    "hf-gpt2": {
        "hf": {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 512,
               "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0},
    },
    "hf-mamba": {"hf": {"model_type": "mamba", **SIZES, "state_size": 4, "time_step_rank": 4}},
    "hf-mixtral": {
        "hf": {"model_type": "mixtral", **HEADS, "num_local_experts": 3, "num_experts_per_tok": 1,
               "output_router_logits": True},
    },
    "hf-qwen3": {"hf": {"model_type": "qwen3", **HEADS, "head_dim": 4}},
    "python-gru": {"python": "matrix_nets:gru", "settings": {"width": 8}},
    "python-attention": {"python": "matrix_nets:attention", "settings": {"width": 8}},
}  # fmt: skip
SWITCHES = {
    "mlp_ratio": {"whole": {}, "quarter": {"mlp_ratio": 0.25}, "no MLP": {"mlp_ratio": 0}},
    "mlp": {"own": {}, "standard": {"mlp": "standard"}, "gated": {"mlp": "gated"}},
    "activation": {"own": {}, **{name: {"activation": name} for name in ("gelu", "silu", "relu")}},
    "tied": {"own": {}, "tied": {"tied": True}, "apart": {"tied": False}},
    "norm": {"own": {}, "layer": {"norm": "layer"}, "rms": {"norm": "rms"}},
    "bias": {"own": {}, "biases": {"bias": True}, "none": {"bias": False}},
    "kv_sharing": {"own": {}, "by two": {"kv_sharing": 2}, "none": {"kv_sharing": 1}},
    "rotary": {"whole": {}, "half": {"rotary": 0.5}, "none": {"rotary": 0}},
    "experts": {
        "none": {},
        "top one": {"experts": {"count": 3}},
        "top two": {"experts": {"count": 3, "top": 2, "capacity": 1, "test_capacity": 2, "balance": 0}},
    },
}
PACKING = {
    "rows": {"packing": "rows"},
    "windows": {"packing": "windows"},
    "windows, people apart": {"packing": "windows", "document_mask": True},
}
OPTIMIZERS = {
    "adamw": {},
    "adamw-bare": {"clip": None, "weight_decay": 0, "betas": [0, 0.9], "eps": 1e-8},
    "muon": {"optimizer": "muon", "momentum": 0.9},
    "schedule-free": {"optimizer": "schedule-free", "weight_decay": 0.1},
}
SCHEDULES = {
    "cosine": {"warmup_steps": 2},
    "linear": {"warmup_steps": 0, "schedule": "linear", "final_lr_fraction": 0},
    "level": {"warmup_steps": 2, "schedule": "linear", "final_lr_fraction": 1},
}
RATES = {"one": {"lr": 3e-2}, "two": {"lr": [1e-2, 3e-2]}}
ZIPF = {"even": {}, "zipf": {"zipf": 1.0}}
ROUNDING = {
    "never": {},
    "int4": {"quantizer": "for-int4"},
    "ternary, late": {"quantizer": "for-ternary", "quantize_from": 0.5},
}
METHODS = {
    "rtn": {"method": "rtn"},
    "gptq": {"method": "gptq"},
    "gptq in order": {"method": "gptq", "act_order": False, "damping": 0.1, "calibration": 12},
}
FORMATS = {
    "int8": {"bits": 8},
    "int4": {"bits": 4},
    "int2": {"bits": 2},
    "int3 from lowest": {"bits": 3, "symmetric": False},
    **{name: {"format": name} for name in ("ternary", "fp8", "fp4", "fp16", "bf16")},
}
GROUPS = {"row": {}, "tensor": {"group": "tensor"}, "four": {"group": 4}}
TENSORS = {
    "all": {},
    "linear": {"tensors": ["linear"]},
    "embeddings and head": {"tensors": ["embeddings", "head"]},
    "head": {"tensors": ["head"]},
    "embeddings": {"tensors": ["embeddings"]},
    "experts and router": {"tensors": ["experts", "router"]},
    "other": {"tensors": ["other"]},
}
SCALES = {"fp32": {}, "fp16": {"scale_format": "fp16"}}
REST = {"as trained": {}, "bf16": {"rest": "bf16"}}
TUNING = {"lr": 1e-2, "steps": 4, "batch": 4}
EXTRACTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "lora": {"method": "lora", "ranks": [[1, 1], [2, 2]], **TUNING},
    "openings": {
        "method": "lora",
        "ranks": [[1, 1]],
        **TUNING,
        "lr": [3e-3, 1e-2],
        "weight_decay": 0,
        "asked": 0.6,
        "choosing": 0.4,
    },  # in wordings of one's own
    "full": {"method": "full", **TUNING},
    "mixed": {"method": "mixed", "share": 0.5},
}
PRECISIONS = {"fp32": {"precision": "fp32"}, "bf16": {"precision": "bf16"}}
ATTENTION = {kernel: {"attention": kernel} for kernel in ("eager", "fused", "short")}
LOSS = {"whole": {"loss": "whole"}, "chunked": {"loss": "chunked"}}
DEVICES = {"one": {"devices": 1}, "two": {"devices": 2}}

# Where the values of a dimension go; those of a section together describe it.
SECTIONS: dict[str, dict[str, dict[str, dict[str, Any]]]] = {
    "datasets": {
        "dataset": DATASETS, "sentences": SENTENCES, "paragraphs": PARAGRAPHS, "tag": TAG, "junk": JUNK,
    },
    "models": {"model": MODELS, **SWITCHES},
    "tokenizers": {"tokenizer": TOKENIZERS},
    "regimes": {
        "packing": PACKING, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "rates": RATES, "zipf": ZIPF,
        "rounding": ROUNDING,
    },
    "quantizers": {
        "method": METHODS, "format": FORMATS, "group": GROUPS, "tensors": TENSORS, "scales": SCALES, "rest": REST,
    },
    "extractions": {"extraction": EXTRACTIONS},
    "scales": {"precision": PRECISIONS, "devices": DEVICES, "attention": ATTENTION, "loss": LOSS},
}  # fmt: skip
DIMENSIONS = {name: list(values) for section in SECTIONS.values() for name, values in section.items()}
PLAIN = {name: values[0] for name, values in DIMENSIONS.items()}

PAPERS = ("gpt2", "llama", "mistral")
PYTHON = ("python-gru", "python-attention")
TIED = ("gpt2", "hf-gpt2", "hf-mamba", "python-attention")
HALF = ("fp16", "bf16")


def _rule(refusal: str, **values: tuple[str, ...]) -> Rule:
    """The values of some dimensions, any of each, cannot be together."""
    return Rule(
        tuple(values), lambda *row: all(one in some for one, some in zip(row, values.values(), strict=True)), refusal
    )


def _but(dimension: str, *values: str) -> tuple[str, ...]:
    """All values of a dimension but some."""
    return tuple(value for value in DIMENSIONS[dimension] if value not in values)


def _group_is_odd(model: str, *values: str) -> bool:
    """Four inputs share a scale, and the MLP's hidden width, 8 times what the family says, is no multiple of it."""
    *switches, tensors, group = values
    chosen = dict(zip(SWITCHES, switches, strict=True))
    if model not in PAPERS or group != "four" or tensors not in ("all", "linear", "experts and router"):
        return False
    gated = chosen["mlp"] == "gated" or (chosen["mlp"] == "own" and model != "gpt2")
    share = {"whole": 1, "quarter": 0.25, "no MLP": 0}[chosen["mlp_ratio"]]
    return round(share * (10.5 if model == "mistral" else 8) / (3 if gated else 2) * 8) % 4 != 0


def _no_such_tensors(model: str, experts: str, tensors: str) -> bool:
    without_experts = experts == "none" and model != "hf-mixtral"
    return (tensors == "experts and router" and without_experts) or (tensors == "other" and model != "hf-mamba")


def _half_of_a_tied(model: str, tied: str, tensors: str) -> bool:
    is_tied = tied == "tied" or (tied == "own" and model in TIED)
    return is_tied and tensors in ("head", "embeddings")


UNTOLD = ("bioR", "bioR-flawed", "random")  # kinds whose texts have no sentences of a template
RULES = [
    # Worlds
    *(
        _rule(rf"datasets\.\S+: unknown key '{dimension}'", dataset=UNTOLD, **{dimension: _but(dimension, plain)})
        for dimension, plain in (("sentences", "any order"), ("paragraphs", "fresh"), ("tag", "untagged"))
    ),
    _rule(r"junk: given with kind: bioR", dataset=("bioR", "bioR-flawed"), junk=_but("junk", "no junk")),
    _rule(r"unknown key 'junk'", dataset=("records", "records-told", "random"), junk=_but("junk", "no junk")),
    _rule(r"paragraphs: [12] with junk", paragraphs=("one", "two"), junk=_but("junk", "no junk")),
    _rule(
        r"paragraphs: 2 with sentences: in_order; all would be equal",
        dataset=("bioD-atomic", "bioD-sentence", "records"), sentences=("in order",), paragraphs=("two",),
    ),
    _rule(r"junk\.windows: mixed with regimes\.\S+\.packing: rows", junk=("in windows",), packing=("rows",)),
    # Models
    *(
        _rule(rf"{switch}: given with (hf|python), where it says nothing", model=_but("model", *PAPERS),
              **{switch: DIMENSIONS[switch][1:]})
        for switch in SWITCHES
    ),
    *(
        _rule(rf"{switch}: given with mlp_ratio: 0", mlp_ratio=("no MLP",), **{switch: DIMENSIONS[switch][1:]})
        for switch in ("mlp", "activation", "experts")
    ),
    _rule(r"experts: with a gated mlp", mlp=("gated",), experts=("top one", "top two")),
    _rule(
        r"experts: with a gated mlp", model=("llama", "mistral"), mlp=("own",), experts=("top one", "top two"),
    ),
    *(
        _rule(
            rf"attention: {kernel}, but models\.\S+ is not of the paper",
            model=_but("model", *PAPERS), attention=(kernel,),
        )
        for kernel in ("fused", "short")
    ),
    _rule(r"loss: chunked, but models\.\S+ is not of the paper", model=_but("model", *PAPERS), loss=("chunked",)),
    _rule(
        r"document_mask: true, but models\.\S+ is not of the paper", model=_but("model", *PAPERS),
        packing=("windows, people apart",),
    ),
    _rule(
        r"schedule: linear with optimizer: schedule-free",
        optimizer=("schedule-free",), schedule=_but("schedule", "cosine"),
    ),
    _rule(r"devices: 2, but models\.\S+ has experts", experts=("top one", "top two"), devices=("two",)),
    # Quantisation
    _rule(r"group: \S+ with format: (fp16|bf16), which takes none", format=HALF, group=("tensor", "four")),
    _rule(r"scale_format: fp16 with format: (fp16|bf16)", format=HALF, scales=("fp16",)),
    _rule(r"format: (fp16|bf16) with method: gptq", format=HALF, method=("gptq", "gptq in order")),
    Rule(("model", *SWITCHES, "tensors", "group"), _group_is_odd, r"group: 4 does not divide the widths"),
    Rule(("model", "experts", "tensors"), _no_such_tensors, r"this model has none of them"),
    Rule(("model", "tied", "tensors"), _half_of_a_tied, r"head and embeddings of this model are one tensor"),
    # Questions
    _rule(r"has no query and value", model=("hf-mamba",), extraction=("lora", "openings")),
    _rule(r"is of kind random, which has no attributes", dataset=("random",), extraction=_but("extraction", "none")),
    _rule(r"a factory; use method: mixed", model=PYTHON, extraction=("lora", "openings", "full")),
    _rule(r"method: mixed with \S+, which has junk", junk=_but("junk", "no junk"), extraction=("mixed",)),
]  # fmt: skip
SPACE = Space(DIMENSIONS, RULES)
# Rows that are asked for by name, whatever else covers their pairs: external models, and shared key and value heads.
FIRST = [
    PLAIN | {"format": "int4", **row}
    for row in (
        {"model": "python-gru", "extraction": "mixed"},
        {"model": "python-attention", "optimizer": "muon"},
        {"model": "hf-mamba", "extraction": "full"},
        {"model": "llama", "kv_sharing": "by two", "method": "gptq"},
    )
]
