"""Products of one tensor are made as one, and nothing else changes but the order of sums."""

from collections.abc import Callable

import pytest
import torch
from modelled import shaken
from torch import Tensor
from torch.fx import GraphModule
from torch.nn import functional

from capacity.training import compiled
from capacity.training.joined_products import join_products
from capacity.training.objective import Objective

V, T = 40, 12


def joined(function: Callable[..., Tensor], *arguments: Tensor) -> tuple[int, int]:
    """How many linear layers a function has, before and after; what it gives stays the same, and its gradient."""
    counts = []

    def backend(module: GraphModule, examples: list[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
        for change in (lambda _: None, join_products):
            change(module)
            counts.append(sum("linear" in str(node.target) for node in module.graph.nodes))
        module.graph.lint()
        return module.forward

    leaves = [each.clone().requires_grad_() for each in arguments]
    theirs = torch.autograd.grad(function(*leaves).sin().sum(), leaves, allow_unused=True)
    ours = torch.autograd.grad(torch.compile(function, backend=backend)(*leaves).sin().sum(), leaves, allow_unused=True)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
    before, after = counts
    return before, after


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def test_layers_of_one_tensor_become_one() -> None:
    def three(x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return functional.linear(x, a) * functional.linear(x, b) + functional.linear(x, c).sum(-1, keepdim=True)

    assert joined(three, some(4, 6, 8), some(5, 8), some(5, 8), some(3, 8)) == (3, 1)


def test_others_stay_as_they_are() -> None:
    def layers(x: Tensor, a: Tensor, b: Tensor, bias: Tensor) -> Tensor:
        first, alike = functional.linear(x, a), functional.linear(x, b, bias)
        return functional.linear(first, a) + alike

    assert joined(layers, some(4, 8), some(8, 8), some(8, 8), some(8)) == (3, 3)


def test_a_weight_that_is_made_between_two_layers_stops_them() -> None:
    def rounded(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        first = functional.linear(x, a)
        return first + functional.linear(x, b * first.detach().mean())

    assert joined(rounded, some(4, 8), some(8, 8), some(8, 8)) == (2, 2)


@pytest.mark.parametrize(("family", "products"), [("llama", 2 * 4 + 1), ("mistral", 2 * 4 + 1), ("gpt2", 2 * 4 + 1)])
def test_a_layer_of_every_family_has_four_products(family: str, products: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def counting(module: GraphModule) -> None:
        join_products(module)
        counts.append(sum("linear" in str(node.target) for node in module.graph.nodes))

    monkeypatch.setattr(compiled, "join_products", counting)
    models = [shaken({"family": family, "l": 2, "h": 2, "head_dim": 8}, V, T) for _ in range(2)]
    ours, eager = (
        Objective(model, T, "fp32", compiled=each) for model, each in zip(models, (True, False), strict=True)
    )
    rows = torch.randint(1, V, (4, T + 1), generator=torch.Generator().manual_seed(3))
    (slope, loss), (other_slope, other_loss) = (
        one.gradient(one.initial_vector(), rows[:, :-1], rows[:, 1:]) for one in (ours, eager)
    )
    torch.testing.assert_close(loss, other_loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(slope, other_slope, rtol=1e-3, atol=1e-5)
    assert counts == [products]
