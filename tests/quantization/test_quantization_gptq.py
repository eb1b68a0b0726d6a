"""GPTQ against rounding to nearest, a search over all codes, and inputs that break a careless one."""

import itertools

import pytest
import torch
from quantizers import batches, changed, model_of, numbers_of

from capacity.quantization.calibration import InputMoments, input_moments
from capacity.quantization.gptq import gptq, layer_error
from capacity.quantization.rounding import make_grid

NUM_LAYERS = 200


def random_layer(seed):
    """Weights (R, C), and inputs (M, C) whose covariance is anything from the identity to nearly rank one."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (int(torch.randint(low, 49, (), generator=generator)) for low in (2, 4))
    strength = float(torch.rand((), generator=generator))
    common = torch.randn(400, 3, generator=generator) @ torch.randn(3, columns, generator=generator)
    inputs = strength * common + (1 - strength) * torch.randn(400, columns, generator=generator)
    return torch.randn(rows, columns, generator=generator), inputs


def errors(weight, inputs, numbers, damping=0.01, act_order=True):
    """Layer errors of GPTQ and RTN on one grid."""
    grid, moment = make_grid(weight, numbers), inputs.double().T @ inputs.double()
    solved = gptq(weight, grid, moment, damping, act_order)
    return layer_error(weight, solved, moment), layer_error(weight, grid.snap(weight), moment)


@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize("bits", [3, 4])
def test_gptq_is_never_much_worse_than_rtn_and_better_on_average(bits, act_order):
    ratios = []
    for seed in range(NUM_LAYERS):
        solved, nearest = errors(*random_layer(seed), numbers_of(bits), act_order=act_order)
        ratios.append(solved / nearest)
    assert max(ratios) <= 1.05
    assert sum(ratios) / len(ratios) < 0.9


def test_gptq_comes_near_the_best_of_all_codes():
    """Two inputs, correlated; every pair of 2-bit codes is tried."""
    inputs = torch.tensor([[1.0, 0.9], [0.9, 1.0], [1.0, 1.1], [-1.0, -0.8]])
    weight, numbers = torch.tensor([[0.6, 0.55], [0.3, -0.8]]), numbers_of(2)
    grid, moment = make_grid(weight, numbers), inputs.double().T @ inputs.double()
    solved = gptq(weight, grid, moment, 1e-6, act_order=False)
    for row in range(2):
        levels = [code * float(grid.scale[row]) for code in range(-2, 2)]
        tried = [torch.tensor([pair]) for pair in itertools.product(levels, levels)]
        best = min(layer_error(weight[row : row + 1], pair, moment) for pair in tried)
        assert layer_error(weight[row : row + 1], solved[row : row + 1], moment) <= 1.5 * best


@pytest.mark.parametrize("act_order", [True, False])
def test_without_correlation_gptq_rounds_to_nearest(act_order):
    weight = torch.randn(8, 12, generator=torch.Generator().manual_seed(3))
    grid, moment = make_grid(weight, numbers_of(4)), torch.diag(torch.arange(1.0, 13.0))
    assert torch.equal(gptq(weight, grid, moment, 0.01, act_order), grid.snap(weight))


@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize("group", ["row", "tensor", 8])
@pytest.mark.parametrize("numbers", [numbers_of(4), numbers_of(3, symmetric=False), numbers_of(format="fp4")], ids=str)
def test_every_weight_is_on_the_grid_in_its_own_place(numbers, group, act_order):
    weight, inputs = torch.randn(20, 16), torch.randn(100, 16) @ torch.randn(16, 16)
    grid = make_grid(weight, changed(numbers, group=group))
    solved = gptq(weight, grid, inputs.double().T @ inputs.double(), 0.01, act_order)
    torch.testing.assert_close(grid.snap(solved), solved)


def test_columns_beyond_a_block_are_made_good_too(monkeypatch):
    """Blocks change the order of sums and nothing else."""
    weight, inputs = random_layer(5)
    moment, grid = inputs.double().T @ inputs.double(), make_grid(weight, numbers_of(4))
    whole = gptq(weight, grid, moment, 0.01, True)
    monkeypatch.setattr("capacity.quantization.gptq.BLOCK", 3)
    blocked = gptq(weight, grid, moment, 0.01, True)
    assert (whole == blocked).float().mean() > 0.99


@pytest.mark.parametrize("damping", [1e-6, 0.01, 1])
@pytest.mark.parametrize("act_order", [True, False])
def test_dead_and_dependent_inputs_are_survived(damping, act_order):
    weight = torch.randn(6, 16, generator=torch.Generator().manual_seed(1))
    inputs = torch.randn(5, 16, generator=torch.Generator().manual_seed(2))  # rank 5 of 16
    inputs[:, 3:6] = 0
    inputs[:, 9] = inputs[:, 8]
    grid, moment = make_grid(weight, numbers_of(4)), inputs.double().T @ inputs.double()
    solved = gptq(weight, grid, moment, damping, act_order)
    assert torch.isfinite(solved).all()
    assert torch.equal(solved[:, 3:6], grid.snap(weight)[:, 3:6])
    assert layer_error(weight, solved, moment) <= layer_error(weight, grid.snap(weight), moment) * 1.05


def test_inputs_that_are_all_zero_leave_rounding_to_nearest():
    weight = torch.randn(4, 8)
    grid = make_grid(weight, numbers_of(4))
    assert torch.equal(gptq(weight, grid, torch.zeros(8, 8), 0.01, True), grid.snap(weight))


@pytest.mark.parametrize("family", ["gpt2", "llama", "conv1d"])
def test_moments_are_those_of_a_layers_inputs(family):
    """Against a hook on one layer, the second of the model."""
    model = model_of(family)
    name = next(n for n, p in list(model.named_parameters())[::-1] if p.ndim == 2 and ".1." in n)
    layer, seen = model.get_submodule(name.rpartition(".")[0]), []
    hook = layer.register_forward_hook(lambda module, args, output: seen.append(args[0].flatten(0, -2).double()))
    matrix = layer.weight.T if family == "conv1d" else layer.weight
    moments = input_moments(model, [matrix], batches())
    hook.remove()
    inputs = torch.cat(seen)
    torch.testing.assert_close(moments.sums[layer.weight.data_ptr()], inputs.T @ inputs)
    assert moments.counts[layer.weight.data_ptr()] == len(inputs) == sum(tokens.numel() for tokens in batches())


def test_each_expert_has_the_moments_of_the_tokens_that_the_router_sent_it():
    model = model_of("experts")
    experts = model.model.layers[0].mlp.experts
    matrices = list(experts.gate_up_proj.unbind())
    seen = []
    hook = experts.register_forward_hook(lambda module, args, output: seen.append(args[:2]))
    moments = input_moments(model, matrices, batches())
    hook.remove()
    for expert, matrix in enumerate(matrices):
        inputs = torch.cat([hidden[(chosen == expert).any(1)] for hidden, chosen in seen]).double()
        torch.testing.assert_close(moments.sums[matrix.data_ptr()], inputs.T @ inputs)
        assert moments.counts[matrix.data_ptr()] == len(inputs)


def test_experts_that_are_multiplied_at_once_have_the_moments_of_their_own_tokens():
    """Against the router's choices; places that no token fills count nowhere, behind a bias neither."""
    model = model_of("own-experts")
    layer = model.model.layers[0].mlp
    with torch.no_grad():
        layer.up_bias.fill_(0.5)
    seen = []
    hook = layer.register_forward_hook(lambda module, args, output: seen.append(args[0].flatten(0, 1)))
    up, down = list(layer.up_proj.unbind()), list(layer.down_proj.unbind())
    moments = input_moments(model, up + down, batches())
    hook.remove()
    hidden = torch.cat(seen)
    chosen = layer.router(hidden).argmax(1)
    biases = layer.up_bias.view(len(up), -1)
    for expert in range(len(up)):
        inputs = hidden[chosen == expert].detach()
        between = layer.activation(inputs @ up[expert].T + biases[expert]).detach().double()
        torch.testing.assert_close(moments.sums[up[expert].data_ptr()], inputs.double().T @ inputs.double())
        torch.testing.assert_close(moments.sums[down[expert].data_ptr()], between.T @ between, rtol=1e-4, atol=1e-4)
        assert moments.counts[down[expert].data_ptr()] == moments.counts[up[expert].data_ptr()] == len(inputs)


def test_nothing_is_added_outside_the_context():
    matrix = torch.randn(3, 4)
    moments = InputMoments([matrix])
    torch.nn.functional.linear(torch.ones(2, 4), matrix)
    assert moments.counts[matrix.data_ptr()] == 0
