"""Llama with the parts of a layer exchanged: what the stock classes of transformers cannot say.

This file is copied into the folder of every checkpoint of such a model, so that
AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True) loads it without this project. It imports
torch and transformers alone.

Shapes: N tokens, d width, m hidden units.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.activations import ACT2FN
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding


class SwitchedConfig(LlamaConfig):
    """A Llama's configuration and its exchanged parts.

    mlp_kind: "gated" (Llama's own), "standard" or "none". norm_kind: "rms" (Llama's own) or "layer", with
    bias. rotary_fraction: the share of a head's pairs of channels that turn with the position.
    """

    model_type = "switched"

    def __init__(self, mlp_kind: str = "gated", norm_kind: str = "rms", rotary_fraction: float = 1.0, **settings: Any):
        self.mlp_kind, self.norm_kind, self.rotary_fraction = mlp_kind, norm_kind, rotary_fraction
        super().__init__(**settings)


class SwitchedForCausalLM(LlamaForCausalLM):
    """Llama with the MLPs, norms and rotary embedding that its configuration names."""

    config: SwitchedConfig
    config_class = SwitchedConfig

    def __init__(self, config: SwitchedConfig):
        super().__init__(config)
        for layer in self.model.layers:
            layer.mlp = _mlp(config, layer.mlp)
            layer.input_layernorm = _norm(config, layer.input_layernorm)
            no_mlp = config.mlp_kind == "none"
            layer.post_attention_layernorm = nn.Identity() if no_mlp else _norm(config, layer.post_attention_layernorm)
        self.model.norm = _norm(config, self.model.norm)
        self.model.rotary_emb = PartialRotaryEmbedding(config)
        self.post_init()


class StandardMLP(nn.Module):
    """d -> m -> d with one activation between, as in GPT-2."""

    def __init__(self, config: SwitchedConfig):
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down_proj(self.activation(self.up_proj(hidden)))


class NoMLP(nn.Module):
    """Adds nothing to the residual stream."""

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.zeros_like(hidden)


class PartialRotaryEmbedding(LlamaRotaryEmbedding):
    """Rotary positions over the first pairs of a head's channels; the others stand still (frequency 0).

    Channel i turns with channel i + D/2. GPT-NeoX pairs i with i + R/2 inside the first R channels: the same
    model up to the order of a head's channels.
    """

    @staticmethod
    def compute_default_rope_parameters(config: Any, **kwargs: Any) -> tuple[Tensor, float]:
        turning = round(config.head_dim * config.rotary_fraction)
        exponent = torch.arange(0, turning, 2, dtype=torch.float) / max(turning, 1)
        still = torch.zeros((config.head_dim - turning) // 2)
        return torch.cat([config.rope_parameters["rope_theta"] ** -exponent, still]), 1.0


def _mlp(config: SwitchedConfig, gated: nn.Module) -> nn.Module:
    kinds = {"gated": lambda: gated, "standard": lambda: StandardMLP(config), "none": NoMLP}
    return kinds[config.mlp_kind]()


def _norm(config: SwitchedConfig, rms: nn.Module) -> nn.Module:
    return nn.LayerNorm(config.hidden_size, eps=1e-5) if config.norm_kind == "layer" else rms


SwitchedConfig.register_for_auto_class()
SwitchedForCausalLM.register_for_auto_class("AutoModelForCausalLM")
