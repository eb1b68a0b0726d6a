"""Promises of the optimizer: torch's AdamW and clipping, and the learning rates of the paper's schedule."""

import pytest
import torch

from capacity.errors import UserError
from capacity.training.optimizer import Optimizer, check_schedule, learning_rate

REGIME = {"lr": 0.01, "warmup_steps": 4, "final_lr_fraction": 0.1}
REGIME |= {"weight_decay": 0.02, "betas": [0.9, 0.98], "eps": 1e-6, "clip": 1.0}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.0025),
        (1, 0.005),
        (3, 0.01),  # the warm-up's last step has the full rate
        (5, 0.01 * (0.1 + 0.9 * 0.853553391)),  # a quarter of the way: (1 + cos 45 degrees) / 2
        (7, 0.01 * (0.1 + 0.9 * 0.5)),  # half way
        (9, 0.01 * (0.1 + 0.9 * 0.146446609)),
        (11, 0.001),  # the last step has the final rate
    ],
)
def test_learning_rate_warms_up_and_follows_a_half_cosine(step: int, expected: float) -> None:
    assert learning_rate(REGIME, 12, step) == pytest.approx(expected, rel=1e-8)


def test_no_warm_up_starts_next_to_the_full_rate() -> None:
    regime = REGIME | {"warmup_steps": 0}
    assert learning_rate(regime, 1000, 0) == pytest.approx(0.01, rel=1e-5)
    assert learning_rate(regime, 1000, 999) == pytest.approx(0.001)


def test_a_warm_up_longer_than_the_training_is_refused() -> None:
    check_schedule(REGIME, 4)
    with pytest.raises(UserError, match="warmup_steps: 4, but the training has 3 steps"):
        check_schedule(REGIME, 3)


@pytest.mark.parametrize("clip", [1.0, 0.3, None])
def test_updates_are_those_of_torchs_adamw_after_torchs_clipping(clip: float | None) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(100, generator=generator)
    ours, theirs = start.clone(), torch.nn.Parameter(start.clone())
    optimizer = Optimizer(REGIME | {"clip": clip}, ours)
    reference = torch.optim.AdamW([theirs], lr=1.0, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.02)
    for step in range(20):
        gradient = torch.randn(100, generator=generator) * (0.01 if step % 3 else 1.0)
        theirs.grad = gradient.clone()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([theirs], clip)
        reference.param_groups[0]["lr"] = lr = learning_rate(REGIME, 20, step)
        reference.step()
        optimizer.step(ours, gradient.clone(), lr)
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-7)
    assert (ours - start).norm() > 0.1
