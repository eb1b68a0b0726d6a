"""The stages of the flow: where their artefacts lie, which script makes them, which packages can change numbers."""

from dataclasses import dataclass

from capacity.artefacts.identity import canonical_json


@dataclass(frozen=True)
class Stage:
    """One stage: artefacts lie in `results/<name>/`."""

    name: str
    rule: str  # the engine's rule and, with .py, the script
    packages: tuple[str, ...]
    further: tuple[str, ...] = ()  # packages that some settings need besides

    @property
    def script(self) -> str:
        return f"{self.rule}.py"


# Of rewritings, besides: an endpoint's texts depend on none of these, and should not be asked for again.
REWRITER_PACKAGES = {"model": ("tokenizers", "torch", "transformers")}

# Of checkpoints, besides: what an optimizer is made of.
OPTIMIZER_PACKAGES = {"schedule-free": ("schedulefree",)}

STAGES = {
    stage.name: stage
    for stage in (
        Stage("datasets", "make_dataset", ("numpy",)),
        Stage("rewritings", "rewrite_dataset", ("numpy",), REWRITER_PACKAGES["model"]),
        Stage("tokenizers", "make_tokenizer", ("tokenizers",)),
        Stage(
            "checkpoints",
            "train_checkpoint",
            ("lightning", "numpy", "tokenizers", "torch", "transformers"),
            OPTIMIZER_PACKAGES["schedule-free"],
        ),
        Stage("variants", "quantize_checkpoint", ("numpy", "tokenizers", "torch", "transformers")),
        Stage("probes", "probe_checkpoint", ("numpy", "tokenizers", "torch", "transformers")),
        Stage("questions", "make_questions", ("numpy", "tokenizers")),
        Stage(
            "finetunes",
            "finetune_qa",
            ("lightning", "numpy", "peft", "tokenizers", "torch", "transformers"),
            OPTIMIZER_PACKAGES["schedule-free"],
        ),
        Stage("answers", "probe_answers", ("numpy", "tokenizers", "torch", "transformers")),
        Stage("tables", "tabulate_capacity", ("numpy", "pandas", "scipy")),
        Stage("claims", "judge_claims", ("pandas", "scipy")),
        Stage("figures", "plot_capacity", ("matplotlib", "numpy", "pandas", "scipy")),
    )
}

# Options that came after the first release, with the value that stands for "as before": left at it, an option is not
# part of an identity. A default that changes later does move digests, because the frozen value here stays.
# Stage -> dotted key of the spec -> introduction value.
INTRODUCED: dict[str, dict[str, object]] = {
    "variants": {
        "numbers.format": "int",
        "numbers.symmetric": True,
        "numbers.group": "row",
        "numbers.scale_format": "fp32",
        "tensors": ["linear", "head", "embeddings", "router", "experts"],
        "rest": None,
    },
    "checkpoints": {
        "model.mlp_ratio": 1.0,
        "model.mlp": "standard",
        "model.activation": "gelu",
        "model.tied": True,
        "model.norm": "layer",
        "model.bias": True,
        "model.kv_sharing": 1,
        "model.rotary": 1.0,
        "model.experts": None,
        "regime.zipf": None,
        "regime.schedule": "cosine",
        "regime.optimizer": "adamw",
        "regime.momentum": None,
        "regime.quantization": None,
        "regime.document_mask": False,
        "hardware.attention": "eager",
        "hardware.loss": "whole",
        "files": {},
    },
    "finetunes": {"regime.document_mask": False, "hardware.attention": "eager", "hardware.loss": "whole"},
    "tokenizers": {"split_digits": False},
    "datasets": {
        "sentences": "shuffled",
        "paragraphs": None,
        "junk": None,
        "junk.windows": "pure",
        "tag": False,
        "pronouns": ["He", "She"],
        "value_lists": {},
        "template_folder": None,
    },
}


def without_introduced(stage: str, settings: dict) -> dict:
    """The spec without options that are at their introduction value."""
    options = INTRODUCED.get(stage, {})
    return _pruned(settings, options, "") if options else settings


def _pruned(settings: dict, options: dict[str, object], prefix: str) -> dict:
    kept = {}
    for key, value in settings.items():
        dotted = f"{prefix}{key}"
        if dotted in options and canonical_json(options[dotted]) == canonical_json(value):
            continue
        kept[key] = _pruned(value, options, f"{dotted}.") if isinstance(value, dict) else value
        if kept[key] == {} and value:  # a section of nothing but such options is not there either
            del kept[key]
    return kept
