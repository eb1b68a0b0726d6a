"""Promises of the objective: the stock model's own loss and gradient, whichever way they are computed."""

import pytest
import torch
from modelled import build_model, shaken
from quantizers import scheme_of
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from capacity.errors import UserError
from capacity.quantization.quantize import quantize_model
from capacity.quantization.spec import RoundToNearest
from capacity.training.batches import IGNORED
from capacity.training.objective import Objective

SPEC = {"family": "gpt2", "l": 2, "h": 2, "head_dim": 8}
V, B, T = 40, 5, 12


def model_of() -> PreTrainedModel:
    """A small model whose every parameter matters."""
    return shaken(SPEC, V, T)


def batch_of() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    inputs, targets = (torch.randint(0, V, (B, T), generator=generator) for _ in range(2))
    targets[1, 4:] = IGNORED
    targets[3] = IGNORED
    return inputs, targets


def stock_gradient(precision: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Loss and gradient by the stock model's own forward pass and autograd."""
    model, (inputs, targets) = model_of(), batch_of()
    with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
        logits = model(inputs).logits
    scored = targets.flatten() != IGNORED
    loss = functional.cross_entropy(logits.float().flatten(0, 1)[scored], targets.flatten()[scored])
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()]), loss.detach()


def our_gradient(precision: str) -> tuple[Tensor, Tensor]:
    objective = Objective(model_of(), T, precision, compiled=False)
    return objective.gradient(objective.initial_vector(), *batch_of())


def test_gradient_is_that_of_the_stock_model() -> None:
    gradient, loss = our_gradient("fp32")
    expected, expected_loss = stock_gradient()
    assert (expected != 0).all()
    torch.testing.assert_close(loss, expected_loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-7)


def test_bf16_is_autocast_with_parameters_in_fp32() -> None:
    gradient, loss = our_gradient("bf16")
    expected, expected_loss = stock_gradient(torch.bfloat16)
    exact, _ = stock_gradient()
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(loss, expected_loss, rtol=1e-4, atol=0)
    distance = (gradient - exact).norm() / exact.norm()
    assert 1e-4 < distance < 2e-2  # bfloat16 keeps 8 bits: products were rounded to it, and to nothing less
    assert (gradient - expected).norm() / exact.norm() < 1e-2


def test_the_vector_holds_each_parameter_once_and_goes_back_into_the_model() -> None:
    model = model_of()
    objective = Objective(model, T, "fp32", compiled=False)
    vector = objective.initial_vector()
    assert vector.numel() == sum(parameter.numel() for parameter in model.parameters())
    assert objective.finish(vector * 2) is model
    for parameter, before in zip(model.parameters(), model_of().parameters(), strict=True):
        assert torch.equal(parameter, before * 2)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    longer = torch.zeros(1, T + 3, dtype=torch.int64)
    assert model(longer).logits.shape == (1, T + 3, V)  # positions are the stock model's own again


SCHEMES = [
    scheme_of(4),
    scheme_of(3, group=8, symmetric=False, scale_format="fp16"),
    scheme_of(2, group="tensor", tensors=["linear"]),
    scheme_of(format="ternary"),
    scheme_of(format="fp4"),
]


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_quantised_training_sees_the_variant_that_rounding_to_nearest_makes(scheme: RoundToNearest) -> None:
    """Same loss, and each weight has the gradient of the rounded weight in its place."""
    objective = Objective(model_of(), T, "fp32", compiled=False, scheme=scheme)
    gradient, loss = objective.gradient(objective.initial_vector(), *batch_of(), quantised=True)
    rounded = Objective(quantize_model(model_of(), scheme)[0], T, "fp32", compiled=False)
    expected, expected_loss = rounded.gradient(rounded.initial_vector(), *batch_of())
    torch.testing.assert_close(loss, expected_loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)
    assert abs(float(loss - our_gradient("fp32")[1])) > 1e-3


def test_a_scheme_is_not_applied_before_it_is_asked_for() -> None:
    objective = Objective(model_of(), T, "fp32", compiled=False, scheme=scheme_of(2))
    gradient, loss = objective.gradient(objective.initial_vector(), *batch_of())
    plain, plain_loss = our_gradient("fp32")
    assert torch.equal(gradient, plain)
    assert torch.equal(loss, plain_loss)


def own(name: str, compiled: bool) -> Objective:
    model = build_model({"python": f"tests.own_models:{name}", "settings": {}}, V, T, seed=1)
    return Objective(model, T, "fp32", compiled, plain=True)


def test_a_model_whose_graph_depends_on_its_numbers_is_refused_where_it_is_to_be_compiled() -> None:
    objective = own("branches", compiled=True)
    with pytest.raises(UserError, match=r"compile: true, but this model is not one graph .*; set compile: false"):
        objective.gradient(objective.initial_vector(), *batch_of())


@pytest.mark.long
def test_a_product_that_is_added_with_factors_is_compiled_with_them() -> None:
    eager, compiled = own("scaled_sum", compiled=False), own("scaled_sum", compiled=True)
    vector = eager.initial_vector()
    for ours, expected in zip(compiled.gradient(vector, *batch_of()), eager.gradient(vector, *batch_of()), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)
