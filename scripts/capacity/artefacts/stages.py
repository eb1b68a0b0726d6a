"""The stages of the flow: where their artefacts lie, which script makes them, which packages can change numbers."""

from dataclasses import dataclass


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
