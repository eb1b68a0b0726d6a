"""Models and text that are the same in every environment: weights drawn by NumPy from a parameter's name."""

import zlib

import numpy as np
import torch
import transformers

VOCABULARY, WIDTH, LENGTH, ROWS = 96, 64, 24, 96
SHARED = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4}
SHARED |= {"intermediate_size": 128, "max_position_embeddings": 64, "attn_implementation": "eager"}
LLAMA = SHARED | {"num_key_value_heads": 2, "tie_word_embeddings": False}
FAMILIES = {
    "gpt2": lambda: transformers.GPTNeoXForCausalLM(
        transformers.GPTNeoXConfig(**SHARED, tie_word_embeddings=True, use_parallel_residual=False)
    ),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)),
    "mistral": lambda: transformers.MistralForCausalLM(transformers.MistralConfig(**LLAMA, sliding_window=None)),
}
RTN_CASES = [
    (bits, symmetric, group) for bits in (2, 3, 4, 5, 6, 8) for symmetric in (True, False) for group in ("row", 16)
]
# llm-compressor 0.14.0.1 traces Mistral's attention without its causal mask: there all layers are calibrated at once.
PIPELINES = {"gpt2": "sequential", "llama": "sequential", "mistral": "basic"}
GPTQ_CASES = [(4, "row", True), (4, "row", False), (3, "row", True), (4, 16, True)]  # bits, group, act_order


def model_of(family: str) -> transformers.PreTrainedModel:
    """A two-layer model with planted weights; inputs of its layers are correlated, as in a trained one."""
    model = FAMILIES[family]().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                rng = np.random.default_rng(zlib.crc32(name.encode()))
                low_rank = rng.normal(size=(parameter.shape[0], 4)) @ rng.normal(size=(4, parameter.shape[1]))
                values = 0.1 * rng.normal(size=parameter.shape) + 0.1 * low_rank
                parameter.copy_(torch.from_numpy(values.astype(np.float32)))
    return model


def tokens() -> torch.Tensor:
    """Rows of token ids, the rarer the larger."""
    rng = np.random.default_rng(7)
    return torch.from_numpy((VOCABULARY * rng.random((ROWS, LENGTH)) ** 2).astype(np.int64))


def matrix() -> torch.Tensor:
    """One layer's weights for rounding to nearest."""
    return torch.from_numpy(np.random.default_rng(11).normal(size=(24, 32)).astype(np.float32))


def linear_layers(model: transformers.PreTrainedModel) -> dict[str, torch.Tensor]:
    """Weights of the linear layers inside the blocks, by name."""
    names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    return {name: model.get_submodule(name).weight.detach() for name in names if ".layers." in name}
