"""The optimizers on one vector of parameters, gradient clipping, and the learning rate of every step."""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from capacity.errors import UserError
from capacity.training.spec import Descent, TrainingRegime

Matrices = list[tuple[int, torch.Size]]  # start in the vector, and shape
MOMENTUM = 0.95  # Muon's, where a regime gives none


def make_optimizer(regime: TrainingRegime, vector_P: Tensor, matrices: Matrices) -> "Optimizer":
    """The optimizer that a regime names. matrices: those that Muon takes, in the order of the vector."""
    if regime.optimizer == "muon":
        return Muon(regime, vector_P, matrices)
    if regime.optimizer == "schedule-free":
        return ScheduleFree(regime, vector_P)
    return Optimizer(regime, vector_P)


class Optimizer:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101) as a descent describes it; every parameter decays.

    The vector (P,) is updated in place. Gradients longer than `clip` in the 2-norm are shortened to it; None
    leaves them alone. torch.optim.AdamW wraps this very update; going round it saves 66 us of bookkeeping in
    a step of 2.4 ms.
    """

    def __init__(self, descent: Descent, vector_P: Tensor):
        self.clip = descent.clip
        self._settings: dict[str, Any] = {
            "beta1": descent.betas[0],
            "beta2": descent.betas[1],
            "eps": descent.eps,
            "weight_decay": descent.weight_decay,
            "amsgrad": False,
            "maximize": False,
            "has_complex": False,
            "foreach": False,
            "fused": True,
        }
        self.mean_P, self.square_P = torch.zeros_like(vector_P), torch.zeros_like(vector_P)
        self.num_updates = torch.zeros(self._num_parts, device=vector_P.device)

    _num_parts = 1  # of the vector, that AdamW updates

    def state(self) -> dict[str, Tensor]:
        """Every tensor that decides later steps."""
        return {"mean": self.mean_P, "square": self.square_P, "num_updates": self.num_updates}

    def kept(self, vector_P: Tensor) -> Tensor:
        """The weights (P,) that the training gives, of the vector after its last step."""
        return vector_P

    def step(self, vector_P: Tensor, gradient_P: Tensor, lr: float) -> None:
        """One update of the vector; the gradient is clipped in place."""
        if self.clip is not None:
            length = torch.linalg.vector_norm(gradient_P)
            gradient_P.mul_((self.clip / (length + 1e-6)).clamp_(max=1.0))
        self._update(vector_P, gradient_P, lr)

    def _update(self, vector_P: Tensor, gradient_P: Tensor, lr: float) -> None:
        self._adamw([vector_P], [gradient_P], [self.mean_P], [self.square_P], lr)

    def _adamw(
        self, parts: list[Tensor], gradients: list[Tensor], means: list[Tensor], squares: list[Tensor], lr: float
    ) -> None:
        adamw(parts, gradients, means, squares, [], list(self.num_updates.unbind()), lr=lr, **self._settings)


class Muon(Optimizer):
    """torch's Muon (Jordan, 2024) on hidden matrices, AdamW on all else: embeddings, head, biases, norms.

    One learning rate serves both: Muon's update is scaled to the size of an AdamW step, 0.2 sqrt(max(rows,
    columns)) (Liu et al., arXiv 2502.16982). Weight decay is the regime's in both; betas and eps are AdamW's.
    """

    def __init__(self, regime: TrainingRegime, vector_P: Tensor, matrices: Matrices):
        if not matrices:
            raise UserError("optimizer: muon, but the model has no hidden matrix for it; use adamw")
        sizes = [(start, start + shape.numel()) for start, shape in matrices]
        edges = [0, *(edge for size in sizes for edge in size), vector_P.numel()]
        self._rest = [(start, stop) for start, stop in list(pairwise(edges))[::2] if stop > start]
        self._num_parts = len(self._rest)
        super().__init__(regime, vector_P)
        self.momentum_P = torch.zeros_like(vector_P)
        self._matrices = matrices
        self._views = self._matrices_of(vector_P)
        self._muon = torch.optim.Muon(
            self._views,
            weight_decay=regime.weight_decay,
            momentum=MOMENTUM if regime.momentum is None else regime.momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        for view, buffer in zip(self._views, self._matrices_of(self.momentum_P), strict=True):
            self._muon.state[view]["momentum_buffer"] = buffer

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), "momentum": self.momentum_P}

    def _update(self, vector_P: Tensor, gradient_P: Tensor, lr: float) -> None:
        for view, gradient in zip(self._views, self._matrices_of(gradient_P), strict=True):
            view.grad = gradient
        self._muon.param_groups[0]["lr"] = lr
        self._muon.step()
        wholes = (vector_P, gradient_P, self.mean_P, self.square_P)
        parts, gradients, means, squares = ([whole[start:stop] for start, stop in self._rest] for whole in wholes)
        self._adamw(parts, gradients, means, squares, lr)

    def _matrices_of(self, whole_P: Tensor) -> list[Tensor]:
        return [whole_P[start : start + shape.numel()].view(shape) for start, shape in self._matrices]


class ScheduleFree(Optimizer):
    """Schedule-free AdamW (Defazio et al., arXiv 2405.15682), its authors' own; every parameter decays.

    Two points move: the iterate, by AdamW's steps without momentum, and the mean of all iterates, each weighted by the
    square of the largest rate so far. Gradients are taken between them, at the vector: a share betas[0] of the way
    to the mean. What is kept is the mean.
    """

    COUNTS = ("k", "weight_sum", "lr_max")  # of the library's group: steps done, sum of weights, largest rate

    def __init__(self, regime: TrainingRegime, vector_P: Tensor):
        from schedulefree import AdamWScheduleFree

        self.clip, self._beta1 = regime.clip, regime.betas[0]
        self.iterate_P, self.square_P = vector_P.clone(), torch.zeros_like(vector_P)
        self._free = AdamWScheduleFree([vector_P], betas=regime.betas, eps=regime.eps, weight_decay=regime.weight_decay)
        self._free.train()
        self._free.state[vector_P] = {"z": self.iterate_P, "exp_avg_sq": self.square_P}
        self._group = self._free.param_groups[0]
        self.counts = torch.tensor([self._group[name] for name in self.COUNTS], dtype=torch.float64)

    def state(self) -> dict[str, Tensor]:
        return {"iterate": self.iterate_P, "square": self.square_P, "counts": self.counts}

    def kept(self, vector_P: Tensor) -> Tensor:
        return vector_P.lerp(self.iterate_P, 1 - 1 / self._beta1)

    def _update(self, vector_P: Tensor, gradient_P: Tensor, lr: float) -> None:
        steps, weight_sum, lr_max = self.counts.tolist()
        self._group |= {"lr": lr, "k": int(steps), "weight_sum": weight_sum, "lr_max": lr_max}
        vector_P.grad = gradient_P
        self._free.step()
        vector_P.grad = None
        self.counts.copy_(torch.tensor([self._group[name] for name in self.COUNTS], dtype=torch.float64))


def learning_rate(descent: Descent, num_steps: int, step: int) -> float:
    """The learning rate of step 0, 1, ..., num_steps - 1.

    Linear from lr / warmup_steps to lr over warmup_steps, then a half cosine, or with `schedule: linear` a
    line, that ends with the last step at final_lr_fraction * lr (arXiv 2404.05405, Appendix A: 1K steps of
    warm-up, cosine to 0.1).
    """
    lr, warmup, final = descent.lr, descent.warmup_steps, descent.final_lr_fraction
    done = step + 1
    if done <= warmup:
        return lr * done / warmup
    way = (done - warmup) / (num_steps - warmup)
    left = 1 - way if descent.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * way))
    return lr * (final + (1 - final) * left)


def check_schedule(descent: Descent, num_steps: int) -> None:
    """Raise UserError where a training ends before its warm-up does."""
    if descent.warmup_steps > num_steps:
        raise UserError(
            f"warmup_steps: {descent.warmup_steps}, but the training has {num_steps} steps; "
            "lower warmup_steps, make the batch smaller or the exposures more"
        )
