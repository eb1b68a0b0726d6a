"""What a trained model costs a token, counted; and what its experts do with their tokens, measured."""

import inspect
import re
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from capacity.models.modeling_switched import Routing
from capacity.training.pretraining import Training

EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
CHOSEN_KEYS = ("num_experts_per_tok", "top_k_experts", "moe_topk")
EXPERTS = re.compile(  # not the routers and biases that some keep beside them
    r"\bexperts\.(?!router\b|bias$)|\bmlp\.(up|down)_(proj|bias)$|(\bmlp|_moe)\.(in|out)put_linear\."
)
COUNTED = 4096  # positions of which the operations are counted, at most
NUM_BATCHES = 16  # of the training's first, on which routing is measured


def flops_a_token(training: Training) -> float:
    """Floating-point operations of products in one step, forward and backward, a position of the batch.

    Counted by torch on some rows of one eager step; a multiplication and an addition are two. For a GPT-2 it is
    6 (P - vectors) + 12 l d T, with all T positions of attention and an expert's empty places computed too.
    """
    inputs, targets = training.batches.steps(0, 1)
    rows = max(1, COUNTED // inputs.shape[-1])  # a whole batch of many devices has no room in one
    inputs_BT, targets_BT = (torch.from_numpy(array[0, :rows]) for array in (inputs, targets))
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # fused attention as the products that it stands for
        training.objective.eager_gradient(
            training.vector, inputs_BT.long().to(training.device), targets_BT.long().to(training.device)
        )
    return counter.get_total_flops() / inputs_BT.numel()


def active_parameters(model: PreTrainedModel) -> int:
    """Parameters that one token uses: all, of experts K of E. Source: the model's own configuration."""
    config = model.config
    E = next((n for key in EXPERT_KEYS if (n := getattr(config, key, None))), 0)
    K = next((n for key in CHOSEN_KEYS if (n := getattr(config, key, None))), E)
    inside = sum(p.numel() for name, p in model.named_parameters() if E and EXPERTS.search(name))
    return sum(p.numel() for p in model.parameters()) - (inside * (E - K)) // max(E, 1)


def routing_facts(training: Training, model: PreTrainedModel) -> dict[str, float]:
    """Shares of choices that experts had no room for, and the largest load; {} without experts.

    dropped: over the whole training. dropped_after: of the trained model on training batches, in training and
    in evaluation mode. largest_load: the fullest expert's share of first choices there, in units of the even
    share, in the layer where that is largest: 1 is balanced, E is one expert for all. External experts have room
    for every choice, as far as this project can see; of them there is the load alone.
    """
    if getattr(model.config, "mlp_kind", "") != "experts":
        loads = _stock_loads(training, model)
        return {} if loads is None else {"largest_load": _largest(loads)}
    choices = model.config.num_hidden_layers * model.config.num_experts_per_tok
    positions = training.num_steps * training.batches.batch * training.batches.context
    model.train()
    dropped, loads = _route(training, model)
    model.eval()
    dropped_at_test, _ = _route(training, model)
    model.train()
    return {
        "dropped": float(training.objective.num_dropped) / (positions * choices),
        "dropped_after": dropped,
        "dropped_after_at_test": dropped_at_test,
        "largest_load": _largest(loads),
    }


def _largest(loads_LE: Tensor) -> float:
    return float((loads_LE / loads_LE.mean(1, keepdim=True)).max())


def _some_inputs(training: Training) -> list[Tensor]:
    """Token ids (B, T) of the training's first batches."""
    inputs, _ = training.batches.steps(0, min(NUM_BATCHES, training.num_steps))
    return [torch.from_numpy(inputs_BT).long().to(training.device) for inputs_BT in inputs]


@torch.no_grad()
def _route(training: Training, model: Any) -> tuple[float, Tensor]:
    """The share of dropped choices, and first choices by layer and expert, over some training batches."""
    routed: list[list[Routing]] = []
    for inputs_BT in _some_inputs(training):
        routed.append([])
        model(input_ids=inputs_BT, use_cache=False, routing=routed[-1])
    dropped = sum(int(layer.num_dropped) for layers in routed for layer in layers)
    loads = torch.stack([torch.stack([layer.load_E for layer in layers]) for layers in routed]).sum(0).double()
    return dropped / (float(loads.sum()) * model.config.num_experts_per_tok), loads


@torch.no_grad()
def _stock_loads(training: Training, model: Any) -> Tensor | None:
    """First choices by layer and expert of a stock model that returns its routers' logits (N, E); else None."""
    if "output_router_logits" not in inspect.signature(model.forward).parameters:
        return None
    total = None
    for inputs_BT in _some_inputs(training):
        logits = model(input_ids=inputs_BT, use_cache=False, output_router_logits=True).router_logits
        if not logits:
            return None
        loads = torch.stack([torch.bincount(NE.argmax(-1), minlength=NE.shape[-1]) for NE in logits]).double()
        total = loads if total is None else total + loads
    return total
