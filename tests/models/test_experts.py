"""Promises of experts: equal to a loop over them, tokens dropped exactly, nothing lost when saved or resumed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from modelled import build_model, model_of, shaken
from torch import Tensor
from trainings import SPEC, batches_of, checkpoint_bytes, spec_of, train, training_of

from capacity.errors import UserError
from capacity.jobs.stop import Interrupted
from capacity.models.architectures import parameter_count
from capacity.models.build import load_model
from capacity.models.modeling_switched import SwitchedExperts
from capacity.training.cost import NUM_BATCHES, active_parameters, routing_facts
from capacity.training.objective import Objective


def spec_with(**experts: Any) -> dict[str, Any]:
    chosen = {"count": 4, "top": 1, "capacity": 4.0, "test_capacity": 4.0, "balance": 0.01} | experts
    return {"family": "gpt2", "l": 2, "h": 2, "head_dim": 4, "mlp_ratio": 0.25, "experts": chosen}


def layer_of(**experts: Any) -> SwitchedExperts:
    return shaken(spec_with(**experts), 40, 12, by=0.5).model.layers[0].mlp


def tokens(N: int = 30, d: int = 8) -> Tensor:
    return torch.randn(N, d, generator=torch.Generator().manual_seed(3))


def loop(layer: SwitchedExperts, x_Nd: Tensor, C: int) -> tuple[Tensor, int]:
    """One token and one expert at a time: first choices of all tokens, then second ones; and how many were dropped."""
    E, m, d = layer.up_proj.shape
    K = layer.config.num_experts_per_tok
    up_bias, down_bias = layer.up_bias.view(E, m), layer.down_bias.view(E, d)
    output, taken, dropped = torch.zeros_like(x_Nd), [0] * E, 0
    probabilities = (x_Nd @ layer.router.weight.T).softmax(-1)
    for choice in range(K):
        for n, x in enumerate(x_Nd):
            ranked = probabilities[n].argsort(descending=True)[:K]
            expert = int(ranked[choice])
            if taken[expert] == C:
                dropped += 1
                continue
            taken[expert] += 1
            gate = probabilities[n, expert] / (probabilities[n, ranked].sum() if K > 1 else 1)
            between = layer.activation(layer.up_proj[expert] @ x + up_bias[expert])
            output[n] = output[n] + gate * (layer.down_proj[expert] @ between + down_bias[expert])
    return output, dropped


def test_a_router_chooses_in_fp32_whatever_other_products_are_in() -> None:
    layer, x = layer_of(), 30 * tokens()
    _, plain = layer(x[None])
    with torch.autocast("cpu", torch.bfloat16):
        _, routing = layer(x[None])
        logits = layer._logits(x)
        assert layer.router(x).dtype == torch.bfloat16, "which is what it would do by itself"
    assert torch.equal(logits, layer._logits(x))
    assert torch.equal(routing.load_E, plain.load_E)
    assert torch.equal(routing.imbalance, plain.imbalance)


@pytest.mark.parametrize("top", [1, 2, 3])
def test_with_room_for_all_it_is_a_dense_loop_over_experts(top: int) -> None:
    layer, x = layer_of(top=top), tokens()
    output, routing = layer(x[None])
    expected, _ = loop(layer, x, C=len(x))
    torch.testing.assert_close(output[0], expected, rtol=0, atol=1e-5)
    assert routing.num_dropped == 0
    assert routing.load_E.sum() == len(x)


@pytest.mark.parametrize(
    ("top", "capacity", "N", "C"),
    [(1, 1.0, 30, 8), (1, 0.5, 30, 4), (2, 0.75, 30, 12), (2, 0.5, 30, 8), (1, 1.3, 12, 3), (1, 0.1, 30, 1)],
)
def test_what_an_expert_has_no_room_for_is_dropped_in_the_order_of_tokens(
    top: int, capacity: float, N: int, C: int
) -> None:
    """C = K int(factor ceil(N / E)), one at least: ceil(30 / 4) = 8."""
    layer, x = layer_of(top=top, capacity=capacity), tokens(N)
    assert layer.capacity(N) == C
    output, routing = layer(x[None])
    expected, dropped = loop(layer, x, C)
    assert dropped > 0
    assert routing.num_dropped == dropped
    torch.testing.assert_close(output[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("top", "capacity"), [(1, 4.0), (1, 0.5), (2, 4.0), (2, 0.5), (3, 0.75)])
def test_gradients_are_those_of_a_loop_over_experts(top: int, capacity: float) -> None:
    """Also of tokens that were dropped, and of slots that nobody fills."""
    layer, x, weight = layer_of(top=top, capacity=capacity), tokens().requires_grad_(), tokens(N=30) + 1
    inputs = [x, *layer.parameters()]
    gradients = torch.autograd.grad((layer(x[None])[0][0] * weight).sum(), inputs)
    expected = torch.autograd.grad((loop(layer, x, layer.capacity(30))[0] * weight).sum(), inputs)
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-4)


def test_room_in_training_and_at_test_are_told_apart() -> None:
    layer, x = layer_of(capacity=0.5, test_capacity=4.0), tokens()
    assert layer.train()(x[None])[1].num_dropped > 0
    assert layer.eval()(x[None])[1].num_dropped == 0


def test_imbalance_is_one_when_even_and_grows_to_the_number_of_experts() -> None:
    layer = layer_of()
    with torch.no_grad():
        layer.router.weight.zero_()
        layer.router.weight[:, :4] = 100 * torch.eye(4)
    even = torch.eye(8)[:4].repeat(5, 1)
    assert float(layer(even[None])[1].imbalance.detach()) == pytest.approx(1)
    assert float(layer(even[:1].repeat(9, 1)[None])[1].imbalance.detach()) == pytest.approx(4)


@pytest.mark.parametrize("top", [1, 2])
def test_parameters_count_all_experts_and_active_ones_those_that_a_token_meets(top: int) -> None:
    settings = spec_with(top=top)
    model = build_model(settings, 40, 12, seed=1)
    d, expert = 8, 2 * 8 * 8 + 2 * 8
    layer = 4 * d**2 + 4 * d + 4 * d + 4 * expert + 4 * d
    assert sum(parameter.numel() for parameter in model.parameters()) == 2 * layer + 2 * d + 40 * d
    assert parameter_count(model_of(settings), 40) == 2 * layer + 2 * d + 40 * d
    assert active_parameters(model) == parameter_count(model_of(settings), 40) - 2 * (4 - top) * expert


def test_the_papers_ratio_of_all_to_active_parameters_of_a_layer() -> None:
    """4 d^2 + 64 d^2 against 4 d^2 + 2 d^2: 8.8 % are active (arXiv 2404.05405, Section 8)."""
    settings = {
        "family": "gpt2",
        "l": 1,
        "h": 8,
        "head_dim": 64,
        "mlp_ratio": 0.25,
        "experts": {"count": 32, "top": 1, "capacity": 1.0, "test_capacity": 1.0, "balance": 0.0},
    }
    model = build_model(settings, 1, 12, seed=1)
    assert active_parameters(model) / parameter_count(model_of(settings), 1) == pytest.approx(0.088, abs=0.002)


@pytest.mark.parametrize("top", [1, 2])
def test_saving_and_loading_loses_no_expert(top: int, tmp_path: Path) -> None:
    model = shaken(spec_with(top=top, test_capacity=1.0), 40, 12, by=0.5).eval()
    model.save_pretrained(tmp_path)
    inputs = torch.arange(24).view(2, 12)
    assert torch.equal(load_model(tmp_path)(inputs).logits, model(inputs).logits)


def test_gradient_is_of_the_loss_and_the_weighted_imbalance() -> None:
    inputs = torch.randint(0, 40, (5, 12), generator=torch.Generator().manual_seed(4))
    targets = inputs.roll(-1, 1)
    model = shaken(spec_with(), 40, 12, by=0.5)
    routing: list = []
    logits = model(input_ids=inputs, use_cache=False, routing=routing).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    (loss + 0.3 * sum(layer.imbalance for layer in routing)).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    objective = Objective(shaken(spec_with(), 40, 12, by=0.5), 12, "fp32", compiled=False, balance=0.3)
    gradient, reported = objective.gradient(objective.initial_vector(), inputs, targets)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(reported, loss.detach(), rtol=1e-6, atol=0)  # without the imbalance


def test_dropped_choices_are_counted_over_a_training_that_was_stopped_and_went_on(tmp_path: Path) -> None:
    settings = SPEC | {"model": spec_with(capacity=0.6) | {"l": 1}}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    facts = train(whole, settings)
    assert 0.2 < facts["dropped"] < 1
    assert 1 <= facts["largest_load"] <= 4
    assert facts["dropped_after_at_test"] == 0
    for _ in range(100):
        try:
            train(parts, settings, time_budget_seconds=0.0)
            break
        except Interrupted:
            continue
    assert checkpoint_bytes(parts) == checkpoint_bytes(whole)
    assert json.loads((whole / "checkpoint" / "training.json").read_text())["dropped"] == facts["dropped"]


def test_the_load_balancing_loss_balances(tmp_path: Path) -> None:
    loads = {}
    for balance in (0.0, 1.0):
        settings = spec_of(exposures=100) | {"model": spec_with(balance=balance) | {"l": 1, "init_std": 0.5}}
        loads[balance] = train(tmp_path / str(balance), settings)["largest_load"]
    assert loads[1.0] < loads[0.0]
    assert loads[1.0] < 1.6


# --- stock experts

MIXTRAL = {
    "model_type": "mixtral", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "intermediate_size": 16, "num_local_experts": 4, "num_experts_per_tok": 1,
}  # fmt: skip


def mixtral(**changes: Any) -> dict[str, Any]:
    return {"hf": MIXTRAL | changes}


@pytest.mark.parametrize("top", [1, 2])
def test_the_load_of_stock_experts_is_that_of_the_experts_their_routers_name_first(top: int, tmp_path: Path) -> None:
    settings = SPEC | {"model": mixtral(num_experts_per_tok=top, initializer_range=0.5)}
    facts = train(tmp_path, settings)
    assert facts == json.loads((tmp_path / "checkpoint" / "training.json").read_text()) | facts
    assert "dropped" not in facts  # there is no capacity
    model = load_model(tmp_path / "checkpoint")
    chosen: list[Tensor] = []
    for layer in model.model.layers:
        layer.mlp.gate.register_forward_hook(lambda *call: chosen.append(call[2][2][:, 0]))
    for inputs in batches_of(settings).steps(0, NUM_BATCHES)[0]:
        model(input_ids=torch.from_numpy(inputs).long(), use_cache=False)
    layers = [torch.cat(chosen[layer::2]) for layer in range(2)]
    shares = [(first == expert).double().mean() for first in layers for expert in range(4)]
    assert facts["largest_load"] == pytest.approx(4 * float(max(shares)))
    assert facts["largest_load"] > 1


def test_one_expert_for_all_is_a_load_of_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Routers whose rows are all equal but one, and tokens all alike to them."""
    settings = SPEC | {"model": mixtral(num_hidden_layers=1)}
    training = training_of(settings)
    model = training.objective.finish(training.vector)
    with torch.no_grad():
        model.model.layers[0].post_attention_layernorm.weight.zero_()
        model.model.layers[0].mlp.gate.weight.zero_()
    assert routing_facts(training, model) == {"largest_load": 4.0}


def test_a_model_without_experts_has_no_facts_of_them(tmp_path: Path) -> None:
    for model in (SPEC["model"], {"hf": {"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 1}}):
        assert "largest_load" not in train(tmp_path / str(len(model)), SPEC | {"model": model})


def test_training_stock_experts_with_their_balance_is_transformers_own_loss() -> None:
    hf = mixtral(output_router_logits=True, router_aux_loss_coef=0.3)
    inputs = torch.randint(0, 40, (5, 12), generator=torch.Generator().manual_seed(4))
    targets = inputs.roll(-1, 1)
    targets[:, -1] = -100
    model = build_model(hf, 40, 12, seed=1)
    output = model(input_ids=inputs, labels=inputs, use_cache=False)
    assert output.aux_loss > 0.5
    output.loss.backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    objective = Objective(build_model(hf, 40, 12, seed=1), 12, "fp32", compiled=False, plain=True)
    gradient, reported = objective.gradient(objective.initial_vector(), inputs, targets)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(reported, (output.loss - 0.3 * output.aux_loss).detach(), rtol=1e-5, atol=0)


def test_the_balance_of_stock_experts_balances_and_is_refused_where_it_would_be_idle(tmp_path: Path) -> None:
    loads = {}
    for weight in (0.0, 1.0):
        balance = {"output_router_logits": True, "router_aux_loss_coef": weight}
        model = mixtral(initializer_range=0.5, num_hidden_layers=1, **balance)
        loads[weight] = train(tmp_path / str(weight), spec_of(exposures=100) | {"model": model})["largest_load"]
    assert loads[1.0] < loads[0.0]
    assert loads[1.0] < 1.6
    with pytest.raises(UserError, match=r"router_aux_loss_coef: 0.1 is of no use without output_router_logits: true"):
        build_model(mixtral(router_aux_loss_coef=0.1), 40, 12, seed=1)


def test_saving_and_loading_stock_experts_loses_none(tmp_path: Path) -> None:
    model = shaken(mixtral(num_experts_per_tok=2), 40, 12, by=0.5).eval()
    model.save_pretrained(tmp_path)
    inputs = torch.arange(24).view(2, 12)
    assert torch.equal(load_model(tmp_path)(inputs).logits, model(inputs).logits)
