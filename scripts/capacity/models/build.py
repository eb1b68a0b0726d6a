"""The models that are trained: stock transformers classes in the paper's notation, changed where a switch asks.

transformers and torch are heavy to import, so this module is imported by jobs that need a model and by no
others.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import (
    AttentionInterface,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.utils import logging as transformers_logging

from capacity.errors import UserError
from capacity.kernels import library
from capacity.models.architectures import mlp_width
from capacity.models.external import POSITIONS, build_external
from capacity.models.factories import find_factories, source_digests
from capacity.models.modeling_switched import SwitchedConfig, SwitchedForCausalLM
from capacity.models.modeling_wrapped import WrappedForCausalLM
from capacity.models.short_attention import SHORT
from capacity.models.spec import ExpertSettings, ModelSettings, PaperModel

transformers_logging.disable_progress_bar()  # reading and writing take milliseconds

# torch's fused attention with its own causal mask. Under the name that transformers has for it, sdpa, a mask would be
# made whenever torch.compile looks on, and the fastest kernels take none.
FUSED = "fused"
AttentionInterface.register(FUSED, sdpa_attention_forward)

WEIGHTS = 101  # stream of the initial weights; a world's streams are below 100
ACTIVATIONS = {"gelu": "gelu_new", "silu": "silu", "relu": "relu"}  # GPT-2's gelu is the tanh form
OWN_CLASSES = {kind.__name__: kind for kind in (SwitchedForCausalLM, WrappedForCausalLM)}


def build_model(
    model: ModelSettings, vocab_size: int, context: int, seed: int, attention: str = "eager"
) -> PreTrainedModel:
    """A new model, weights drawn from the seed alone: matrices normal with std init_std, biases 0, norms 1.

    context: positions, in tokens; no parameter depends on it. attention: "eager", or "fused" or
    "short" for models of the paper. The paper's GPT-2 has rotary positions (here over the whole head), tied head,
    no dropout (arXiv 2404.05405, Section 2 and Appendix A): GPTNeoX without parallel residual; init_std is GPT-2's
    0.02 unless given (the paper does not say). Where no stock class can say what the switches ask for it is a Llama
    with changed parts. GPT-2's smaller initial residual projections, init_std / sqrt(2 l), are not applied.
    What is no model of the paper is built by `capacity.models.external`.
    """
    if attention == SHORT:
        library.load()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([seed, WEIGHTS]).generate_state(1, np.uint64)[0]))
        if not isinstance(model, PaperModel):
            return _with_positions(build_external(model, vocab_size, context), context)
        kind, config = _class_and_config(model, vocab_size, context, attention)
        return kind(config)


def _with_positions(model: PreTrainedModel, context: int) -> PreTrainedModel:
    given = getattr(model.config, POSITIONS, None)
    if given is not None and given < context:
        raise UserError(
            f"context: {context}, but the model is given {given} positions ({model.config.model_type}: {POSITIONS}, or "
            "what it calls them); leave them out, or give as many"
        )
    return model


def _class_and_config(
    model: PaperModel, vocab_size: int, context: int, attention: str
) -> tuple[type[PreTrainedModel], Any]:
    """The stock class that says all the switches, or else the changed Llama."""
    shared: dict[str, Any] = {
        "attn_implementation": attention,
        "vocab_size": vocab_size,
        "max_position_embeddings": context,
        "hidden_size": model.d,
        "num_hidden_layers": model.l,
        "num_attention_heads": model.h,
        "intermediate_size": mlp_width(model) or 1,  # without an MLP it is of no use, and torch warns of empty matrices
        "hidden_act": ACTIVATIONS[model.activation],
        "initializer_range": model.init_std,
        "tie_word_embeddings": model.tied,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": None,  # some classes would freeze that token's row, and EOS is the padding
    }
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    gated_rms = mlp_width(model) > 0 and (model.mlp, model.norm) == ("gated", "rms")
    standard_layer = mlp_width(model) > 0 and (model.mlp, model.norm) == ("standard", "layer")
    if model.experts:
        gated_rms = standard_layer = False
    if standard_layer and model.bias and model.kv_sharing == 1 and model.rotary > 0:
        return GPTNeoXForCausalLM, _neox_config(model, shared, rope)
    shared |= {"head_dim": model.head_dim, "num_key_value_heads": model.h // model.kv_sharing}
    if gated_rms and model.rotary == 1 and not model.bias:
        if model.family == "mistral":
            return MistralForCausalLM, MistralConfig(**shared, rope_parameters=rope, sliding_window=None)
        return LlamaForCausalLM, LlamaConfig(**shared, rope_parameters=rope)
    changed = {
        **_experts_config(model.experts),
        "mlp_kind": "experts" if model.experts else model.mlp if mlp_width(model) else "none",
        "norm_kind": model.norm,
        "rotary_fraction": model.rotary,
        "attention_bias": model.bias,
        "mlp_bias": model.bias,
    }
    return SwitchedForCausalLM, SwitchedConfig(**shared, **changed, rope_parameters=rope)


def _experts_config(experts: ExpertSettings | None) -> dict[str, Any]:
    if not experts:
        return {}
    return {
        "num_local_experts": experts.count,
        "num_experts_per_tok": experts.top,
        "capacity_factor": experts.capacity,
        "test_capacity_factor": experts.test_capacity,
    }


def _neox_config(model: PaperModel, shared: dict[str, Any], rope: dict[str, Any]) -> GPTNeoXConfig:
    return GPTNeoXConfig(
        **shared,
        rope_parameters=rope | {"partial_rotary_factor": model.rotary},
        use_parallel_residual=False,
        attention_bias=True,
        attention_dropout=0.0,
        hidden_dropout=0.0,
    )


def load_model(folder: Path, accelerator: str = "cpu") -> PreTrainedModel:
    """The model of a checkpoint folder, in evaluation mode, on the CPU or on the GPU.

    accelerator: "cpu" or "gpu". No code in the folder is run; a user's factory is imported from the project.
    Raises UserError where there is no GPU, and where the folder's weights leave a parameter of the model unset.
    """
    device = device_of(accelerator)
    config = json.loads((folder / "config.json").read_text())
    architecture = config["architectures"][0]
    _check_sources(config)
    find_factories()
    kind: Any = OWN_CLASSES.get(architecture) or getattr(transformers, architecture)
    model, report = kind.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    if report["missing_keys"] or report["mismatched_keys"]:
        unset = sorted(report["missing_keys"]) or sorted(str(key) for key in report["mismatched_keys"])
        raise UserError(f"{folder}: weights do not fit {architecture}, {unset[0]} is not set; make the folder again")
    return model.to(device).eval()


def _check_sources(config: dict[str, Any]) -> None:
    """Refuse a factory that is another now than when the model was made. Raises UserError."""
    if (sources := config.get("sources")) and sources != (now := source_digests(config["factory"])):
        changed = next(file for file in {**sources, **now} if sources.get(file) != now.get(file))
        raise UserError(f"python: {config['factory']}: {changed} changed since the model was made; start the run again")


def device_of(accelerator: str) -> torch.device:
    """The torch device of a spec's accelerator. Raises UserError for a GPU where there is none."""
    if accelerator == "cpu":
        return torch.device("cpu")
    if accelerator != "gpu":
        raise UserError(f"accelerator: {accelerator}; use cpu or gpu")
    if not torch.cuda.is_available():
        raise UserError("accelerator: gpu, but torch finds no GPU on this machine; use a scale with accelerator: cpu")
    return torch.device("cuda", 0)
