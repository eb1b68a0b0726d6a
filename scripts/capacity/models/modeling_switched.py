"""Llama with the parts of a layer exchanged: what the stock classes of transformers cannot say.

This file is copied into the folder of every checkpoint of such a model, so that
AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True) loads it without this project. It imports
torch and transformers alone.

Shapes: N tokens, d width, m hidden units, E experts, K experts a token, C tokens an expert.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding


class SwitchedConfig(LlamaConfig):
    """A Llama's configuration and its exchanged parts.

    mlp_kind: "gated" (Llama's own), "standard", "experts" or "none". norm_kind: "rms" (Llama's own) or "layer", with
    bias. rotary_fraction: the share of a head's pairs of channels that turn with the position.
    """

    model_type = "switched"

    def __init__(self, mlp_kind: str = "gated", norm_kind: str = "rms", rotary_fraction: float = 1.0, **settings: Any):
        self.mlp_kind, self.norm_kind, self.rotary_fraction = mlp_kind, norm_kind, rotary_fraction
        super().__init__(**settings)


class SwitchedModel(LlamaModel):
    """A Llama's layers with the MLPs, norms and rotary embedding that its configuration names."""

    config: SwitchedConfig

    def __init__(self, config: SwitchedConfig):
        super().__init__(config)
        if config.mlp_kind == "experts":
            self.layers = nn.ModuleList(ExpertsLayer(config, i) for i in range(config.num_hidden_layers))
        layer: Any
        for layer in self.layers:
            layer.mlp = _mlp(config, layer.mlp)
            layer.input_layernorm = _norm(config, layer.input_layernorm)
            no_mlp = config.mlp_kind == "none"
            layer.post_attention_layernorm = nn.Identity() if no_mlp else _norm(config, layer.post_attention_layernorm)
        self.set_submodule("norm", _norm(config, self.norm))
        self.rotary_emb = PartialRotaryEmbedding(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, SwitchedExperts):
            for matrices in (module.up_proj, module.down_proj):
                init.normal_(matrices, std=self.config.initializer_range)
            for biases in (module.up_bias, module.down_bias):
                if biases is not None:
                    init.zeros_(biases)


class SwitchedForCausalLM(LlamaForCausalLM):
    """A `SwitchedModel` and its head."""

    config: SwitchedConfig
    config_class = SwitchedConfig

    def __init__(self, config: SwitchedConfig):
        super().__init__(config)
        self.model = SwitchedModel(config)
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


class Routing(NamedTuple):
    """What one layer did with its tokens."""

    imbalance: Tensor  # the load-balancing loss: 1 where experts share tokens and probability evenly, E at most
    num_dropped: Tensor  # choices for which their expert had no room
    load_E: Tensor  # first choices of each expert, dropped ones too


class SwitchedExperts(nn.Module):
    """E standard MLPs, of which each token uses the K that a router finds most probable.

    An expert takes K * int(factor * ceil(N / E)), one at least, of the N tokens of a batch (as in tutel, which
    the paper used): first choices before second ones, in the order of tokens. A choice beyond that is dropped:
    it adds nothing to the residual stream. An output counts with its router probability, for K > 1 as a share
    of the K probabilities. Load-balancing loss: E sum_e f_e p_e with f_e the share of first choices and p_e the
    mean probability of expert e (GShard, arXiv 2006.16668; Switch, arXiv 2101.03961, Section 2.2).
    """

    def __init__(self, config: Any):
        super().__init__()
        E, d, m = config.num_local_experts, config.hidden_size, config.intermediate_size
        self.config = config
        self.router = nn.Linear(d, E, bias=False)
        self.up_proj = nn.Parameter(torch.empty(E, m, d))
        self.down_proj = nn.Parameter(torch.empty(E, d, m))
        # One dimension, so that nobody takes them for matrices.
        self.up_bias = nn.Parameter(torch.empty(E * m)) if config.mlp_bias else None
        self.down_bias = nn.Parameter(torch.empty(E * d)) if config.mlp_bias else None
        self.activation = ACT2FN[config.hidden_act]

    def capacity(self, N: int) -> int:
        """C, the tokens that an expert takes of N, and N where it could take all."""
        config = self.config
        factor = config.capacity_factor if self.training else config.test_capacity_factor
        room = config.num_experts_per_tok * int(factor * -(-N // config.num_local_experts))
        return max(1, min(room, N))

    def forward(self, hidden: Tensor) -> tuple[Tensor, Routing]:
        hidden_Nd = hidden.flatten(0, -2)
        N, E, K = len(hidden_Nd), self.config.num_local_experts, self.config.num_experts_per_tok
        probability_NE = self.router(hidden_Nd).float().softmax(-1)
        gate_NK, expert_NK = probability_NE.topk(K)
        if K > 1:
            gate_NK = gate_NK / gate_NK.sum(-1, keepdim=True)
        chosen_KNE = (expert_NK.T[..., None] == torch.arange(E, device=hidden.device)).long()
        slot_M, kept_M = self._slots(chosen_KNE)
        output_Md = self._experts(hidden_Nd, slot_M, kept_M) * (gate_NK.T.reshape(-1, 1) * kept_M[:, None])
        output_Nd = output_Md.view(K, N, -1).sum(0).to(hidden.dtype)
        load_E = chosen_KNE[0].sum(0)
        imbalance = E * (load_E / N * probability_NE.mean(0)).sum()
        return output_Nd.view_as(hidden), Routing(imbalance, (~kept_M).sum(), load_E)

    def _slots(self, chosen_KNE: Tensor) -> tuple[Tensor, Tensor]:
        """Where each of the M = K N choices goes: a place of its own among E C, or behind them when dropped."""
        chosen_ME = chosen_KNE.flatten(0, 1)
        M, E = chosen_ME.shape
        C = self.capacity(chosen_KNE.shape[1])
        place_M = ((chosen_ME.cumsum(0) - 1) * chosen_ME).sum(1)
        expert_M = chosen_ME.argmax(1)
        kept_M = place_M < C
        behind_M = E * C + torch.arange(M, device=chosen_ME.device)
        return torch.where(kept_M, expert_M * C + place_M, behind_M), kept_M

    def _experts(self, hidden_Nd: Tensor, slot_M: Tensor, kept_M: Tensor) -> Tensor:
        """Each choice's output; anything for those that were dropped."""
        (N, d), M = hidden_Nd.shape, len(slot_M)
        E, m = self.up_proj.shape[:2]
        C = self.capacity(N)
        token_M = torch.arange(M, device=slot_M.device) % N
        # Slots that nobody fills read the row of zeros behind the tokens.
        token_of_slot = torch.full((E * C + M,), N, device=slot_M.device).scatter(0, slot_M, token_M)[: E * C]
        padded = torch.cat([hidden_Nd, hidden_Nd.new_zeros(1, d)])
        input_ECd = padded[token_of_slot].view(E, C, d)
        between_ECm = torch.bmm(input_ECd, self.up_proj.transpose(1, 2))
        if self.up_bias is not None:
            between_ECm = between_ECm + self.up_bias.view(E, 1, m)
        output_ECd = torch.bmm(self.activation(between_ECm), self.down_proj.transpose(1, 2))
        if self.down_bias is not None:
            output_ECd = output_ECd + self.down_bias.view(E, 1, d)
        flat = output_ECd.flatten(0, 1)
        return flat[torch.where(kept_M, slot_M, 0)]


class ExpertsLayer(LlamaDecoderLayer):
    """A layer whose MLP is `SwitchedExperts`; adds its Routing to the list `routing`, where one is given."""

    def forward(self, hidden_states: Tensor, routing: list[Routing] | None = None, **settings: Any) -> Tensor:
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **settings)
        hidden_states = hidden_states + attended
        mixed, routed = self.mlp(self.post_attention_layernorm(hidden_states))
        if routing is not None:
            routing.append(routed)
        return hidden_states + mixed


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
    kinds["experts"] = lambda: SwitchedExperts(config)
    return kinds[config.mlp_kind]()


def _norm(config: SwitchedConfig, rms: nn.Module) -> nn.Module:
    return nn.LayerNorm(config.hidden_size, eps=1e-5) if config.norm_kind == "layer" else rms


SwitchedConfig.register_for_auto_class()
SwitchedForCausalLM.register_for_auto_class("AutoModelForCausalLM")
