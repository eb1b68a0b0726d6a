"""What `config.yaml` may say: one model a section, every key with a description and its limits.

These models feed the checks, the JSON schema for editors and docs/config.md.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from capacity.config.dataset import Dataset
from capacity.config.extractions import Extraction
from capacity.config.model import Model
from capacity.config.quantizer import Quantizer
from capacity.config.regime import Regime
from capacity.config.scale import Scale
from capacity.config.study import Audit, Display, Loggers, Probe, Study, Table
from capacity.config.tokenizer import Tokenizer
from capacity.config.validation import Count, Name, Names, Section, problem
from capacity.tables.naming import FULL_PRECISION


def _none_rounds_nothing(quantizers: dict[str, Quantizer]) -> dict[str, Quantizer]:
    """Refuse another name for the checkpoint itself, and its name for another scheme: tables are read by it."""
    for name, quantizer in quantizers.items():
        if (name == FULL_PRECISION) != (quantizer.method == "none"):
            remedy = f"call it {FULL_PRECISION}" if quantizer.method == "none" else "choose another name"
            raise problem(f"{name}: method: {quantizer.method}; the checkpoint itself is {FULL_PRECISION}, {remedy}")
    return quantizers


class Config(Section):
    """The whole experiment."""

    scale: Name = Field(description="Which of `scales` to use.")
    study: Names = Field(description="Which of `studies` to build.")
    scales: dict[Name, Scale] = Field(description="Hardware by name.")
    datasets: dict[Name, Dataset] = Field(description="Worlds of facts by name.")
    tokenizers: dict[Name, Tokenizer] = Field(description="Tokenizers by name.")
    models: dict[Name, Model] = Field(description="Architectures by name.")
    regimes: dict[Name, Regime] = Field(description="Training regimes by name.")
    quantizers: Annotated[dict[Name, Quantizer], AfterValidator(_none_rounds_nothing)] = Field(
        description="Quantisation schemes by name; `none`, and no other, is the checkpoint itself."
    )
    extractions: dict[Name, Extraction] = Field({}, description="Ways to ask for what models memorised, by name.")
    studies: dict[Name, Study] = Field(description="Studies by name.")
    probe: Probe = Field(Probe(), description="How bits are measured.")
    table: Table = Field(Table(), description="How the capacity table is made.")
    claims: str | None = Field(None, description="A file of published claims that the table is held against.")
    display: Display = Field(Display(), description="What figures look like.")
    audit: Audit = Field(Audit(), description="Tolerances of `make audit`.")
    gpu_share: Count | Literal["auto"] = Field(
        1,
        description="Trainings of a local run that share one GPU; changes no number. auto: as many as its memory "
        "holds, 8 at most.",
    )
    store: str | None = Field(
        None,
        description="A folder shared by several checkouts or users, made where it is not there: artefacts are taken "
        "from it by identity, and put into it. A plan does not look into it.",
    )
    loggers: Loggers = Field(
        [],
        description="Lightning's loggers that trainings report to, below `results/curves/`; part of no identity. "
        "`tensorboard` and `wandb` where their package is installed.",
    )
