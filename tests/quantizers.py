"""Schemes as the quantiser reads them, and tiny models of every family, for the tests of quantisation."""

import functools
from typing import Any

import torch
import transformers
from modelled import build_model
from trainings import WORLD
from worlds import made_tokenizer, make_world

from capacity.config.quantizer import Quantizer
from capacity.quantization.calibration import calibration_batches
from capacity.quantization.rounding import make_grid
from capacity.quantization.spec import Numbers, Rounding, Unquantized
from capacity.world.render import Renderer

COUNT = 20  # people of the tiny world


NONE = Unquantized(method="none")


def scheme_of(bits: int | None = None, method: str = "rtn", **options: Any) -> Rounding:
    """The scheme of a quantizer section."""
    given = {"method": method, **({"bits": bits} if bits else {}), **options}
    scheme = Quantizer.model_validate(given).to_settings(people=COUNT, seed=1)
    assert not isinstance(scheme, Unquantized)
    return scheme


def numbers_of(bits: int | None = None, **options: Any) -> Numbers:
    """The numbers that such a scheme rounds to."""
    return scheme_of(bits, **options).numbers


def changed(numbers: Numbers, **options: Any) -> Numbers:
    """Numbers with other options; those that they do not have are left out."""
    return numbers.model_copy(update={key: value for key, value in options.items() if hasattr(numbers, key)})


def round_to_nearest(weight_RC: torch.Tensor, numbers: Numbers) -> torch.Tensor:
    """A matrix rounded to its own grid, without calibration."""
    return make_grid(weight_RC, numbers).snap(weight_RC).to(weight_RC.dtype)


@functools.cache
def batches() -> list[torch.Tensor]:
    """The tiny world's biographies."""
    world = make_world(WORLD)
    return calibration_batches(Renderer(world, made_tokenizer({"kind": "word"}, world)), COUNT, seed=1)


EXPERTS = {"count": 3, "top": 1, "capacity": 3.0, "test_capacity": 3.0, "balance": 0.01}
SHARED = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SHARED |= {
    "attn_implementation": "eager",
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "initializer_range": 0.2,
}
LLAMA = SHARED | {"num_key_value_heads": 1, "tie_word_embeddings": False}
FAMILIES = {
    "gpt2": lambda: transformers.GPTNeoXForCausalLM(
        transformers.GPTNeoXConfig(**SHARED, tie_word_embeddings=True, use_parallel_residual=False)
    ),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)),
    "mistral": lambda: transformers.MistralForCausalLM(transformers.MistralConfig(**LLAMA)),
    "experts": lambda: transformers.MixtralForCausalLM(
        transformers.MixtralConfig(**LLAMA, num_local_experts=3, num_experts_per_tok=1)
    ),
    "own-experts": lambda: build_model(
        {"family": "gpt2", "l": 2, "h": 2, "head_dim": 8, "init_std": 0.2, "experts": EXPERTS}, 40, 32, seed=1
    ),
    "conv1d": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=40,
            n_embd=16,
            n_layer=2,
            n_head=2,
            n_positions=32,
            initializer_range=0.2,
            attn_implementation="eager",
        )
    ),
}


def model_of(family: str) -> transformers.PreTrainedModel:
    """A tiny model with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return FAMILIES[family]().eval()


def logits(model: transformers.PreTrainedModel) -> torch.Tensor:
    """Of the first batch."""
    with torch.inference_mode():
        return model(batches()[0]).logits
