"""The training loop: one model on one device or several, from any step on, and the state that decides the rest."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from capacity.errors import UserError
from capacity.models.build import build_model
from capacity.models.spec import PaperModel
from capacity.training.batches import IGNORED, TrainingBatches
from capacity.training.objective import Objective
from capacity.training.optimizer import check_schedule, learning_rate, make_optimizer
from capacity.training.process_group import Team
from capacity.training.spec import TrainingSettings

CHUNK_TOKENS = 2**18  # rendered at once: a step does not feel it, and it fits the cache
TEAM_STEPS = 100  # of several processes, between two answers to whether they go on
NUM_ROWS = 200  # of metrics.csv, at most


class Training:
    """One training under way. Everything that decides the rest of it is in `state()`, and nothing else is."""

    def __init__(self, settings: TrainingSettings, batches: TrainingBatches, fabric: Fabric):
        self.regime, self.batches, self.device = settings.regime, batches, fabric.device
        self.num_steps = batches.num_steps
        self.team = Team(fabric)
        check_schedule(self.regime, self.num_steps)
        model = build_model(settings.model, batches.vocab_size, batches.context, settings.seed)
        fabric.to_device(model)
        plain = not isinstance(settings.model, PaperModel)
        experts = settings.model.experts if isinstance(settings.model, PaperModel) else None
        balance = experts.balance if experts else 0.0
        quantization = self.regime.quantization
        # The first step with quantised weights; after the last one where there is no scheme.
        self.quantised_from = round(quantization.start * self.num_steps) if quantization else self.num_steps
        scheme = quantization.scheme if quantization else None
        how = settings.hardware.precision, settings.hardware.compile
        self.objective = Objective(model, batches.context, *how, balance, plain, scheme)
        self.vector = self.objective.initial_vector()
        self.optimizer = make_optimizer(self.regime, self.vector, self.objective.hidden_matrices())
        rows = min(NUM_ROWS, self.num_steps)
        self.row_steps = [self.num_steps * (row + 1) // rows for row in range(rows)]
        self.row_losses = torch.zeros(rows, dtype=torch.float64)
        self.row_tokens = torch.zeros(rows, dtype=torch.int64)
        # Losses in nats a token: the sum of the steps since the last row, and of the latest step.
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.loss = torch.zeros((), device=self.device)
        self.step = self.tokens = self.row = 0  # done; scored so far; next row of metrics.csv

    def steps(self, go_on: Callable[[], bool] = lambda: True) -> Iterator[int]:
        """Do the steps that are left, one at a time; gives the number of steps done after each.

        go_on: asked in the first of several processes after every chunk of steps; False ends this in all of them.
        """
        size = max(1, CHUNK_TOKENS // (self.batches.batch * self.batches.context))
        size = size if self.team.alone else min(size, TEAM_STEPS)
        while self.step < self.num_steps:
            yield from self._chunk(min(size, self.num_steps - self.step))
            if not self.team.all_go_on(go_on):
                return

    def _chunk(self, count: int) -> Iterator[int]:
        inputs, targets = self.batches.steps(self.step, count)
        scored_K = _num_scored(targets)
        ends = (self.tokens + np.cumsum(scored_K)).tolist()
        inputs, targets = self.team.share(inputs), self.team.share(targets)
        weights = (_num_scored(targets) / scored_K).tolist()
        on_device = [torch.from_numpy(array).to(self.device, torch.int64) for array in (inputs, targets)]
        for inputs_BT, targets_BT, weight, tokens in zip(*on_device, weights, ends, strict=True):
            quantised = self.step >= self.quantised_from
            gradient, loss = self.objective.gradient(self.vector, inputs_BT, targets_BT, quantised)
            gradient, self.loss = self.team.combine(gradient, loss, weight)
            self.optimizer.step(self.vector, gradient, self.learning_rate(self.step))
            self.loss_sum.add_(self.loss)
            self.step, self.tokens = self.step + 1, tokens
            if self.step == self.row_steps[self.row]:
                self._close_row()
            yield self.step

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return learning_rate(self.regime, self.num_steps, step)

    def _close_row(self) -> None:
        """Note the mean loss since the last row. Raises UserError where the training has diverged."""
        since = self.row_steps[self.row - 1] if self.row else 0
        mean = float(self.loss_sum) / (self.step - since)
        if not math.isfinite(mean):
            raise UserError(f"lr: {self.regime.lr}; the loss is {mean} by step {self.step}; lower lr")
        self.row_losses[self.row], self.row_tokens[self.row] = mean, self.tokens
        self.loss_sum.zero_()
        self.row += 1

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Tensors and counters from which `restore` goes on with the same bits."""
        tensors = {
            "vector": self.vector,
            **self.optimizer.state(),
            "num_dropped": self.objective.num_dropped,
            "loss_sum": self.loss_sum,
            "row_losses": self.row_losses,
            "row_tokens": self.row_tokens,
        }
        return tensors, {"step": self.step, "tokens": self.tokens, "row": self.row}

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Take the place of the training that gave this state."""
        for name, tensor in self.state()[0].items():
            tensor.copy_(tensors[name])
        self.step, self.tokens, self.row = counters["step"], counters["tokens"], counters["row"]


def _num_scored(targets_KBT: NDArray[np.int32]) -> NDArray[np.int64]:
    """Targets of each step that are scored."""
    return np.count_nonzero(targets_KBT != IGNORED, axis=(1, 2))
