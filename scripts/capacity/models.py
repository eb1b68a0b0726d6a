"""The models that are trained: stock transformers classes in the paper's notation.

transformers and torch are heavy to import, so this module is imported by jobs that need a model and by no
others.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from capacity.errors import UserError

transformers_logging.disable_progress_bar()  # reading and writing take milliseconds

WEIGHTS = 101  # stream of the initial weights; a world's streams are below 100


def build_model(model: dict[str, Any], vocab_size: int, context: int, seed: int) -> PreTrainedModel:
    """A new model, weights drawn from the seed alone: matrices normal with std init_std, biases 0, norms 1.

    model: {"family": "gpt2", "l": layers, "h": heads, "head_dim": width of a head, even, "init_std": 0.02
    where it is not given, as in GPT-2 (the paper does not say)}. context: positions, in tokens; no parameter
    depends on it. The paper's GPT-2: rotary positions (here over the whole head), tied head, no dropout
    (arXiv 2404.05405, Section 2 and Appendix A), as GPTNeoX without parallel residual. GPT-2's smaller
    initial residual projections, init_std / sqrt(2 l), are not applied. Raises UserError for an unknown
    family.
    """
    if model["family"] != "gpt2":
        raise UserError(f"model family: {model['family']}; use gpt2")
    config = _gpt2_config(model, vocab_size, context)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([seed, WEIGHTS]).generate_state(1, np.uint64)[0]))
        return GPTNeoXForCausalLM(config)


def _gpt2_config(model: dict[str, Any], vocab_size: int, context: int) -> GPTNeoXConfig:
    width = model["h"] * model["head_dim"]
    settings: dict[str, Any] = {"attn_implementation": "eager"}  # the fused kernel is slower on short rows
    return GPTNeoXConfig(
        **settings,
        vocab_size=vocab_size,
        max_position_embeddings=context,
        hidden_size=width,
        num_hidden_layers=model["l"],
        num_attention_heads=model["h"],
        intermediate_size=4 * width,
        hidden_act="gelu_new",
        initializer_range=model.get("init_std", 0.02),
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
        use_parallel_residual=False,
        tie_word_embeddings=True,
        attention_bias=True,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        bos_token_id=0,
        eos_token_id=0,  # no pad_token_id: some classes would freeze that token's row, and EOS is the padding
    )


def parameter_formula(model: dict[str, Any], vocab_size: int) -> int:
    """P of a tied GPT-2 with rotary positions: 12 l d^2 + 13 l d + 2 d + V d, biases and norms included.

    Reproduces every model size in the figures of arXiv 2404.05405 with d = 64 h and V = 3275.
    """
    d = model["h"] * model["head_dim"]
    return model["l"] * (12 * d**2 + 13 * d) + 2 * d + vocab_size * d


def load_model(folder: Path, accelerator: str = "cpu") -> PreTrainedModel:
    """The model of a checkpoint folder, in evaluation mode, on the CPU or on the GPU.

    accelerator: "cpu" or "gpu". Raises UserError where there is no GPU, and where the folder's weights leave
    a parameter of the model unset.
    """
    device = device_of(accelerator)
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    kind = getattr(transformers, architecture)
    model, report = kind.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    if report["missing_keys"] or report["mismatched_keys"]:
        unset = sorted(report["missing_keys"]) or sorted(str(key) for key in report["mismatched_keys"])
        raise UserError(f"{folder}: weights do not fit {architecture}, {unset[0]} is not set; make the folder again")
    return model.to(device).eval()


def device_of(accelerator: str) -> torch.device:
    """The torch device of a spec's accelerator. Raises UserError for a GPU where there is none."""
    if accelerator == "cpu":
        return torch.device("cpu")
    if accelerator != "gpu":
        raise UserError(f"accelerator: {accelerator}; use cpu or gpu")
    if not torch.cuda.is_available():
        raise UserError("accelerator: gpu, but torch finds no GPU on this machine; use a scale with accelerator: cpu")
    return torch.device("cuda", 0)
