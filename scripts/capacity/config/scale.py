"""Hardware, as `config.yaml` describes it."""

from typing import Literal

from pydantic import Field

from capacity.config.validation import Count, Section


class Scale(Section):
    """The hardware that decides a run's numbers."""

    accelerator: Literal["cpu", "gpu"] = Field(description="Where training and probes run.")
    precision: Literal["fp32", "bf16"] = Field(description="bf16 means mixed precision with fp32 weights.")
    devices: Count = Field(
        1, description="Devices of one machine that a training uses, one process each, with equal shares of a batch."
    )
    attention: Literal["auto", "eager", "fused", "short"] = Field(
        "auto",
        description="eager: scores of all pairs of tokens in memory. Of models of the paper also: fused, torch's "
        "kernel; short, this project's for contexts of at most 64 tokens and heads of at most 64 channels on a CPU, "
        "and torch's for others. They differ by rounding. auto: fused on a GPU for contexts of 64 tokens and more; "
        "short on a CPU for compiled models of such contexts and heads.",
    )
    loss: Literal["auto", "whole", "chunked"] = Field(
        "auto",
        description="whole: the logits of a batch in memory; chunked: those of a few thousand tokens at a time, of "
        "models of the paper. They differ by rounding. auto: chunked on a GPU from 67 million logits on.",
    )
    compile: bool | Literal["auto", "reduce-overhead"] = Field(
        "auto",
        description="torch.compile. reduce-overhead: with CUDA graphs, for small models on a GPU. auto: when a C++ "
        "compiler is found where the training runs and it pays, from 2000 steps on; the manifest says what was done.",
    )
