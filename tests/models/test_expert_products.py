"""Promises of experts' own products: those of all rows where rows were taken, gradients too, in the compiled step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from modelled import model_of
from operators import Called
from torch import Tensor

from capacity.kernels import library
from capacity.models import modeling_switched
from capacity.models.build import build_model
from capacity.models.expert_products import multiply_taken
from capacity.training.objective import Objective


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    library.load()


def normal(*shape: int, seed: int = 1, apart: bool = False) -> Tensor:
    """Of this shape, and where asked with the last two dimensions the other way round in memory."""
    generator = torch.Generator().manual_seed(seed)
    if apart:
        return torch.randn(shape[0], shape[2], shape[1], generator=generator).transpose(1, 2)
    return torch.randn(shape, generator=generator)


@settings(max_examples=60, deadline=None)
@given(
    taken=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    D=st.integers(1, 20),
    M=st.integers(1, 20),
    apart=st.tuples(st.booleans(), st.booleans()),
)
def test_products_and_sums_are_of_the_rows_that_were_taken(
    taken: list[int], D: int, M: int, apart: tuple[bool, bool]
) -> None:
    """What stands in the others has no part in it, whatever it is; zeros come out there."""
    E, C, taken_E = len(taken), 6, torch.tensor(taken)
    rows, others = normal(E, C, D, apart=apart[0]), normal(E, C, M, seed=2, apart=apart[1])
    matrices = normal(E, D, M, seed=3, apart=apart[1])
    filled = (torch.arange(C) < taken_E[:, None])[..., None]
    left = torch.where(filled, rows, float("nan"))
    products = library.operators.expert_products(left, matrices, taken_E)
    torch.testing.assert_close(products, torch.where(filled, rows, 0) @ matrices)
    assert not products[~filled[..., 0]].any()
    expected = torch.where(filled, rows, 0).transpose(1, 2) @ torch.where(filled, others, 0)
    torch.testing.assert_close(library.operators.expert_sums(left, others, taken_E), expected)


@pytest.mark.parametrize("taken", [-1, 4])
def test_more_rows_than_there_are_places_are_refused(taken: int) -> None:
    rows, taken_E = torch.zeros(2, 3, 5), torch.tensor([0, taken])
    with pytest.raises(RuntimeError, match="room"):
        library.operators.expert_products(rows, torch.zeros(2, 5, 4), taken_E)
    with pytest.raises(RuntimeError, match="room"):
        library.operators.expert_sums(rows, rows, taken_E)


def test_gradients_are_those_of_products_of_all_rows() -> None:
    taken_E, rows, matrices = torch.tensor([3, 0, 5]), normal(3, 5, 64), normal(3, 80, 64, seed=2)
    weight = normal(3, 5, 80, seed=3) * (torch.arange(5) < taken_E[:, None])[..., None]
    rows *= (torch.arange(5) < taken_E[:, None])[..., None]

    def slopes(multiply: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        inputs = rows.clone().requires_grad_(), matrices.clone().requires_grad_()
        return torch.autograd.grad((multiply(*inputs, taken_E) * weight).sum(), inputs)

    for ours, expected in zip(slopes(multiply_taken), slopes(modeling_switched.multiply_taken), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


V, T = 40, 8


def objective(head_dim: int, top: int, compiled: bool, precision: str = "fp32") -> Objective:
    """Of a model whose experts matter: weights ten times as large as at the start."""
    experts = {"count": 4, "top": top, "capacity": 0.75, "test_capacity": 4.0, "balance": 0.01}
    settings: dict[str, Any] = {"l": 1, "h": 2, "head_dim": head_dim, "mlp_ratio": 0.25, "init_std": 0.2}
    model = model_of({"family": "gpt2", **settings, "experts": experts})
    return Objective(build_model(model, V, T, seed=1, attention="short"), T, precision, compiled)


def step(of: Objective) -> tuple[Tensor, Tensor]:
    tokens = torch.randint(1, V, (6, T + 1), generator=torch.Generator().manual_seed(3))
    return of.gradient(of.initial_vector(), tokens[:, :-1], tokens[:, 1:])


@pytest.mark.parametrize(
    ("head_dim", "top", "precision", "apart"),
    [(32, 1, "fp32", True), (32, 2, "fp32", True), (8, 1, "fp32", False), (32, 1, "bf16", False)],
)
def test_a_compiled_step_multiplies_taken_rows_alone_and_gives_what_it_gives_eagerly(
    head_dim: int, top: int, precision: str, apart: bool
) -> None:
    ours, eager = objective(head_dim, top, True, precision), objective(head_dim, top, False, precision)
    (slope, loss), (other_slope, other_loss) = step(ours), step(eager)
    tolerance = {"fp32": 1e-5, "bf16": 2e-2}[precision]
    assert abs(loss - other_loss) < tolerance
    assert (slope - other_slope).norm() < 10 * tolerance * slope.norm()
    assert ours.num_dropped == eager.num_dropped > 0
    with Called() as called:
        again, _ = step(ours)
    assert again.equal(slope)
    assert called.any("expert_products") == apart
