"""Promises of the optimizer: torch's AdamW and clipping, and the learning rates of the paper's schedule."""

import pytest
import torch
from modelled import build_model
from torch import nn
from trainings import regime_of

from capacity.errors import UserError
from capacity.training.objective import Objective
from capacity.training.optimizer import Optimizer, check_schedule, learning_rate, make_optimizer

REGIME = regime_of(warmup_steps=4, weight_decay=0.02)


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
    regime = regime_of(warmup_steps=0)
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
    optimizer = Optimizer(regime_of(weight_decay=0.02, clip=clip), ours)
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


MUON = {"optimizer": "muon", "weight_decay": 0.1, "clip": None}


def test_muon_on_the_vector_is_torchs_muon_on_matrices_and_adamw_on_the_rest() -> None:
    """A vector of 4 numbers, a matrix 3 x 5, 2 numbers, a matrix 6 x 2: five steps of both."""
    generator = torch.Generator().manual_seed(1)
    vector = torch.randn(33, generator=generator)
    matrices = [(4, torch.Size([3, 5])), (21, torch.Size([6, 2]))]
    parts = [vector[4:19].view(3, 5), vector[21:33].view(6, 2), vector[:4], vector[19:21]]
    alone = [nn.Parameter(part.clone()) for part in parts]
    muon = torch.optim.Muon(alone[:2], weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(alone[2:], betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1)
    ours = make_optimizer(regime_of(**MUON, momentum=0.9), vector, matrices)
    for step in range(5):
        gradient, lr = torch.randn(33, generator=generator), 0.01 * (step + 1)
        pieces = [gradient[4:19].view(3, 5), gradient[21:33].view(6, 2), gradient[:4], gradient[19:21]]
        for parameter, piece in zip(alone, pieces, strict=True):
            parameter.grad = piece.clone()
        for optimizer in (muon, adamw):
            optimizer.param_groups[0]["lr"] = lr
            optimizer.step()
        ours.step(vector, gradient, lr)
    assert {name: tensor.shape for name, tensor in ours.state().items()}["num_updates"] == (2,)
    expected = torch.cat([alone[2].flatten(), alone[0].flatten(), alone[3].flatten(), alone[1].flatten()])
    torch.testing.assert_close(vector, expected.detach(), rtol=0, atol=1e-6)


def test_muon_of_a_model_without_hidden_matrices_is_refused() -> None:
    with pytest.raises(UserError, match="optimizer: muon, but the model has no hidden matrix"):
        make_optimizer(regime_of(**MUON), torch.zeros(4), [])


def test_muon_takes_every_matrix_but_embedding_and_head_and_each_expert_apart() -> None:
    model = {"family": "gpt2", "l": 1, "h": 2, "head_dim": 4}
    experts = {"mlp_ratio": 0.25, "experts": {"count": 3, "top": 1, "capacity": 1, "test_capacity": 1, "balance": 0}}
    shapes = {}
    for name, settings in {"dense": model, "untied": model | {"tied": False}, "experts": model | experts}.items():
        objective = Objective(build_model(settings, 40, 12, seed=1), 12, "fp32", compiled=False)
        shapes[name] = sorted(tuple(shape) for _, shape in objective.hidden_matrices())
    assert shapes["dense"] == shapes["untied"] == [(8, 8), (8, 32), (24, 8), (32, 8)]
    assert shapes["experts"] == sorted([(3, 8), *[(8, 8)] * 4, *[(8, 8)] * 6])


def test_muon_takes_a_convolution_whole_and_no_biases_of_experts() -> None:
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    experts = {"num_key_value_heads": 1, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 1}
    shapes = {}
    for name, model in {
        "own": {"python": "tests.own_models:gated", "settings": {"width": 8}},
        "gpt_oss": {"hf": {"model_type": "gpt_oss", **size, **experts}},
    }.items():
        objective = Objective(build_model(model, 40, 12, seed=1), 12, "fp32", compiled=False)
        shapes[name] = sorted(tuple(shape) for _, shape in objective.hidden_matrices())
    assert [shape for shape in shapes["own"] if shape[0] == 8] == [(8, 8)] * 3 + [(8, 24)]
    assert shapes["gpt_oss"].count((4, 16)) == 1  # the router, of which the biases of four experts have the shape


def test_a_linear_schedule_is_a_line() -> None:
    regime = regime_of(lr=1.0, warmup_steps=2, final_lr_fraction=0.0, schedule="linear")
    assert [learning_rate(regime, 6, step) for step in range(6)] == pytest.approx([0.5, 1, 0.75, 0.5, 0.25, 0])


def test_schedule_free_is_its_authors_reference_and_what_is_kept_is_the_mean() -> None:
    """Their other implementation keeps the mean itself; both with a warm-up of 5 steps."""
    from schedulefree import AdamWScheduleFreeReference

    generator = torch.Generator().manual_seed(1)
    start, target = torch.randn(50, generator=generator), torch.randn(50, generator=generator)
    ours, theirs = start.clone(), nn.Parameter(start.clone())
    regime = regime_of(
        optimizer="schedule-free", lr=0.05, warmup_steps=5, final_lr_fraction=1.0, weight_decay=0.02, clip=None
    )
    optimizer = make_optimizer(regime, ours, [])
    reference = AdamWScheduleFreeReference(
        [theirs], lr=0.05, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.02, warmup_steps=5
    )
    reference.train()
    for step in range(30):
        theirs.grad = (theirs - target).detach()
        reference.step()
        optimizer.step(ours, ours - target, learning_rate(regime, 30, step))
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-4, atol=1e-5)
    reference.eval()
    kept = optimizer.kept(ours)
    torch.testing.assert_close(kept, theirs.detach(), rtol=1e-4, atol=1e-5)
    assert (kept - ours).norm() > 0.01
