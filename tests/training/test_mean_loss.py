"""Promises of the loss that is compiled: torch's own cross-entropy and its gradient, whichever rows are scored."""

import pytest
import torch
from torch.nn import functional

from capacity.training.batches import IGNORED
from capacity.training.mean_loss import compilable_loss


@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_loss_and_gradient_are_torchs(scale: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = (torch.randn(30, 21, generator=generator) * scale).requires_grad_()
    targets = torch.randint(0, 21, (30,), generator=generator)
    targets[::7] = IGNORED
    loss, zero = compilable_loss(logits, targets)
    expected = functional.cross_entropy(logits, targets, ignore_index=IGNORED)
    assert zero.item() == 0
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-6, atol=0)
    ours, theirs = (torch.autograd.grad(one, logits, retain_graph=True)[0] for one in (zero, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)
    assert (ours[::7] == 0).all()


def test_the_loss_of_no_target_is_no_number() -> None:
    logits = torch.zeros(2, 3)
    assert compilable_loss(logits, torch.full((2,), IGNORED))[0].isnan()
