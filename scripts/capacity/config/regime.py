"""Training regimes, as `config.yaml` describes them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from capacity.config.validation import MOST, Count, Name, OneRateOrMore, Section, problem

LEAST_AVERAGED = 0.01  # of schedule-free: with less what is kept is rounding


class Regime(Section):
    """How a model is trained."""

    exposures: Count = Field(description="Times each person is seen; with zipf, on average.")
    zipf: Annotated[float, Field(gt=0, le=5)] | None = Field(
        None,
        description="Person n is seen in proportion to n to the power of minus this, instead of all equally often.",
    )
    batch: Annotated[int, Field(gt=0, le=1_000_000)] = Field(description="Rows or windows a step.")
    lr: OneRateOrMore = Field(
        description="Peak learning rate. A list: every rate is trained and stays in the table, where `chosen` marks "
        "the one that stores most bits a parameter as trained (else of most bits a weight), in the mean over seeds."
    )
    packing: Literal["rows", "windows"] = Field(
        "windows", description="rows: one biography a row. windows: biographies end to end, cut every `context` tokens."
    )
    context: Annotated[int, Field(ge=8, le=1_000_000)] | None = Field(
        None,
        description="Tokens a window, as many as the longest biography has or more, which with BPE is seen when its "
        "tokenizer is made; the paper's is 512.",
    )
    document_mask: bool = Field(
        False, description="Tokens of a window attend to their own biography alone; with packing: windows."
    )
    warmup_steps: Annotated[int, Field(ge=0, le=MOST)] = Field(1000, description="Steps of linear warm-up.")
    final_lr_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="Where the cosine ends, as a share of lr; 1 with optimizer: schedule-free."
    )
    schedule: Literal["cosine", "linear"] = Field(
        "cosine", description="How the rate falls after the warm-up; final_lr_fraction: 1 keeps it."
    )
    optimizer: Literal["adamw", "muon", "schedule-free"] = Field(
        "adamw",
        description="muon: torch's Muon on hidden matrices, each scaled to an AdamW step, and AdamW on all else. "
        "schedule-free: its authors' AdamW, whose rate stays after the warm-up; the checkpoint is its mean of weights.",
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="Muon's momentum; 0.95 unless given. AdamW takes betas."
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="Decoupled weight decay.")
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)] = Field(
        [0.9, 0.98], description="AdamW's betas."
    )
    eps: Annotated[float, Field(gt=0)] = Field(1e-6, description="AdamW's epsilon.")
    clip: Annotated[float, Field(gt=0)] | None = Field(1.0, description="Largest gradient norm; null: no clipping.")
    quantizer: Name | None = Field(
        None,
        description="A scheme of `quantizers`, method rtn: each forward pass sees weights rounded by it, gradients "
        "pass straight through. The checkpoint keeps full precision; the same scheme makes the variant trained for.",
    )
    quantize_from: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of the training before the rounding begins; 0: from scratch."
    )

    @model_validator(mode="after")
    def _of_its_optimizer(self) -> Self:
        if self.momentum is not None and self.optimizer != "muon":
            raise problem(
                f"momentum: {self.momentum} with optimizer: {self.optimizer}, which takes betas; remove momentum"
            )
        if self.optimizer == "schedule-free":
            for key in ("schedule", "final_lr_fraction"):
                if key in self.model_fields_set and (value := getattr(self, key)) != 1:
                    raise problem(f"{key}: {value} with optimizer: schedule-free, whose rate stays; remove {key}")
            if self.betas[0] < LEAST_AVERAGED:
                raise problem(
                    f"betas: the first is {self.betas[0]:g} with optimizer: schedule-free, which divides by it; use 0.9"
                )
        return self

    @model_validator(mode="after")
    def _packed(self) -> Self:
        if self.packing == "windows" and self.context is None:
            raise problem("context: missing; windows need a length in tokens, for example context: 512")
        if self.packing == "rows" and self.context is not None:
            raise problem(f"context: {self.context} with packing: rows; a row is one biography, remove context")
        if self.packing == "rows" and self.document_mask:
            raise problem("document_mask: true with packing: rows; a row is one biography, remove document_mask")
        return self

    @model_validator(mode="after")
    def _quantized(self) -> Self:
        if self.quantize_from and self.quantizer is None:
            raise problem(f"quantize_from: {self.quantize_from} without quantizer; name one or remove quantize_from")
        return self
