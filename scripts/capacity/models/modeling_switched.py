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
        probability_EN = self._logits(hidden_Nd).T.contiguous().softmax(0)
        expert_KN = self._choices(probability_EN)
        gate_KN = torch.stack([(_is_chosen(expert_N, E) * probability_EN).sum(0) for expert_N in expert_KN])
        if K > 1:
            gate_KN = gate_KN / gate_KN.sum(0)
        C = self.capacity(N)
        slot_M, choice_S, taken_E = _slots(expert_KN.flatten(), E, C)
        input_Sd = Moved.apply(hidden_Nd.repeat(K, 1), choice_S, slot_M)
        output_ECd = self._experts(input_Sd.view(E, C, -1), taken_E)
        output_KNd = Moved.apply(output_ECd.flatten(0, 1), slot_M, choice_S).view(K, N, -1) * gate_KN[..., None]
        load_E = _is_chosen(expert_KN[0], E).sum(1)
        imbalance = E * (load_E / N * probability_EN.mean(1)).sum()
        routing = Routing(imbalance, num_dropped=(slot_M == E * C).sum(), load_E=load_E)
        return output_KNd.sum(0).to(hidden.dtype).view_as(hidden), routing

    def _logits(self, hidden_Nd: Tensor) -> Tensor:
        """What the router says of each token and expert, (N, E), in fp32 where other products are in bf16.

        In bf16 a logit of 8 is off by up to 1/64, and a gate by that share (Switch, arXiv 2101.03961, Section 2.4).
        """
        kind = hidden_Nd.device.type
        if not torch.is_autocast_enabled(kind):
            return self.router(hidden_Nd).float()
        with torch.autocast(kind, enabled=False):
            return self.router(hidden_Nd.float())

    def _choices(self, probability_EN: Tensor) -> Tensor:
        """The experts that tokens choose, K of each, most probable first: (K, N)."""
        left_EN = probability_EN.detach()
        choices = []
        for _ in range(self.config.num_experts_per_tok):
            choices.append(left_EN.argmax(0))
            left_EN = left_EN.masked_fill(_is_chosen(choices[-1], len(left_EN)), -1.0)
        return torch.stack(choices)

    def _experts(self, input_ECd: Tensor, taken_E: Tensor) -> Tensor:
        """Of each expert for its C slots, of which the first taken_E are filled, what it makes of them."""
        E, m, d = self.up_proj.shape
        between_ECm = multiply_taken(input_ECd, self.up_proj, taken_E)
        if self.up_bias is not None:
            between_ECm = between_ECm + self.up_bias.view(E, 1, m)
        output_ECd = multiply_taken(self.activation(between_ECm), self.down_proj, taken_E)
        if self.down_bias is not None:
            output_ECd = output_ECd + self.down_bias.view(E, 1, d)
        return output_ECd


def multiply_taken(rows_ECd: Tensor, matrices_Emd: Tensor, taken_E: Tensor) -> Tensor:
    """Of each expert, its rows by its matrix: (E, C, m), of which nobody uses rows from taken_E on."""
    return torch.bmm(rows_ECd, matrices_Emd.transpose(1, 2))


def _is_chosen(expert_M: Tensor, E: int) -> Tensor:
    """Whether a choice is of an expert: (E, M)."""
    return expert_M == torch.arange(E, device=expert_M.device)[:, None]


def _slots(expert_M: Tensor, E: int, C: int) -> tuple[Tensor, Tensor, Tensor]:
    """The slot of each of M choices among S = E C, or S where it is dropped; each slot's choice, or M.

    An expert's slots are filled in the order of choices, from its first: how many is returned too, (E,). expert_M:
    what each chooses.
    """
    M, chosen_EM = len(expert_M), _is_chosen(expert_M, E)
    place_M = ((chosen_EM.cumsum(1) - 1) * chosen_EM).sum(0)
    slot_M = torch.where(place_M < C, expert_M * C + place_M, E * C)
    choice_M = torch.arange(M, device=expert_M.device)
    place_M = slot_M + torch.where(slot_M == E * C, choice_M, 0)  # those that are dropped apart, behind all slots
    choice_S = torch.full((E * C + M,), M, device=expert_M.device).scatter(0, place_M, choice_M)[: E * C]
    return slot_M, choice_S, chosen_EM.sum(1).clamp(max=C)


class Moved(torch.autograd.Function):
    """Rows at other places: row i is row source[i] of the given ones, or zeros where that is behind the last.

    target: where each given row went, or behind the last: the same the other way round, so that gradients are moved
    back where torch, which does not know that a row goes to one place at most, would add them up one by one.
    """

    @staticmethod
    def forward(rows: Tensor, source: Tensor, target: Tensor) -> Tensor:
        return torch.cat([rows, rows.new_zeros(1, rows.shape[1])])[source]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1], inputs[2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        source, target = ctx.saved_tensors
        return Moved.apply(gradient, target, source), None, None


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
