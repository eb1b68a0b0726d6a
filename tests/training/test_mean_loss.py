"""Promises of the losses that are compiled: torch's own cross-entropy and its gradient, whichever rows are scored."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from capacity.kernels import library
from capacity.training.batches import IGNORED
from capacity.training.mean_loss import compilable_loss, kernel_loss

MeanLoss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
LOSSES = pytest.mark.parametrize("mean_loss", [compilable_loss, kernel_loss])


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    library.load()


@LOSSES
@settings(max_examples=30, deadline=None)
@given(N=st.integers(1, 40), V=st.integers(2, 100), scale=st.sampled_from([1.0, 10.0, 200.0]), every=st.integers(2, 9))
def test_loss_and_gradient_are_torchs(mean_loss: MeanLoss, N: int, V: int, scale: float, every: int) -> None:
    generator = torch.Generator().manual_seed(N * V)
    logits = (torch.randn(N, V, generator=generator) * scale).requires_grad_()
    targets = torch.randint(0, V, (N,), generator=generator)
    targets[1::every] = IGNORED
    loss, zero = mean_loss(logits, targets)
    expected = functional.cross_entropy(logits.double(), targets, ignore_index=IGNORED)
    assert zero.item() == 0
    assert not loss.requires_grad
    torch.testing.assert_close(loss.double(), expected.detach(), rtol=1e-5, atol=1e-5)
    ours, theirs = (torch.autograd.grad(one, logits, retain_graph=True)[0] for one in (zero, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6 / N)
    assert (ours[1::every] == 0).all()


def test_the_kernel_reads_columns_as_it_reads_rows() -> None:
    logits, targets = torch.randn(9, 40, generator=torch.Generator().manual_seed(1)), torch.arange(18)[::2]
    rows, columns = (kernel_loss(each.requires_grad_(), targets) for each in (logits, logits.T.contiguous().T))
    assert rows[0].equal(columns[0])


@LOSSES
def test_the_loss_of_no_target_is_no_number(mean_loss: MeanLoss) -> None:
    assert mean_loss(torch.zeros(2, 20), torch.full((2,), IGNORED))[0].isnan()


@LOSSES
@pytest.mark.parametrize("unheard", [torch.nan, torch.inf])
def test_what_is_no_number_is_not_hidden(mean_loss: MeanLoss, unheard: float) -> None:
    logits = torch.zeros(3, 40)
    logits[1, 33] = unheard
    loss, _ = mean_loss(logits, torch.tensor([1, 2, 3]))
    assert loss.isnan()


def test_the_kernel_refuses_a_target_that_is_no_token() -> None:
    for target in (-1, 20):
        with pytest.raises(RuntimeError, match="no token"):
            kernel_loss(torch.zeros(1, 20), torch.tensor([target]))
