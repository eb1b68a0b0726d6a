"""Promises of the kernel for an embedding's gradient: torch's own deterministic bits, in a compiled graph too."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operators import Called
from torch import Tensor
from torch.func import grad
from torch.nn import functional

from capacity.kernels import library
from capacity.training.compiled import Compiled


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    library.load()


@settings(max_examples=30, deadline=None)
@given(N=st.integers(0, 40), V=st.integers(1, 9), D=st.integers(1, 40), apart=st.booleans())
def test_sums_are_those_of_torch_to_the_bit(N: int, V: int, D: int, apart: bool) -> None:
    generator = torch.Generator().manual_seed(N * V * D)
    slopes = torch.randn(D, N, generator=generator).T if apart else torch.randn(N, D, generator=generator)
    tokens = torch.randint(0, V, (2 * N,), generator=generator)[::2]
    expected = torch.zeros(V, D).index_put((tokens,), slopes, accumulate=True)
    assert library.operators.embedding_gradient(slopes, tokens, V).equal(expected)


@pytest.mark.parametrize("token", [-1, 9])
def test_a_number_that_is_no_token_is_refused(token: int) -> None:
    with pytest.raises(RuntimeError, match="no token"):
        library.operators.embedding_gradient(torch.zeros(1, 4), torch.tensor([token]), 9)


@pytest.mark.parametrize(
    ("kind", "padding", "by_frequency", "ours"),
    [
        (torch.float32, None, False, True),
        (torch.float32, 2, False, False),
        (torch.float32, None, True, False),
        (torch.float64, None, False, False),
    ],
)
def test_a_compiled_graph_has_it_where_it_is_what_is_asked_for(
    kind: torch.dtype, padding: int | None, by_frequency: bool, ours: bool
) -> None:
    tokens = torch.randint(0, 5, (3, 4), generator=torch.Generator().manual_seed(1))

    def slope(table: Tensor, tokens: Tensor) -> tuple[Tensor]:
        def loss(table: Tensor) -> Tensor:
            found = functional.embedding(tokens, table, padding, scale_grad_by_freq=by_frequency)
            return (found * torch.arange(6, dtype=kind)).sum()

        return (grad(loss)(table),)

    table = torch.ones(5, 6, dtype=kind)
    compiled = Compiled(slope, on_cpu=True)
    torch.testing.assert_close(compiled(table, tokens)[0], slope(table, tokens)[0])
    with Called() as called:
        compiled(table, tokens)
    assert called.any("embedding_gradient") == ours
