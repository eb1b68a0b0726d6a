"""The loop of every training: gradient descent on one vector from any step on, and the state that decides the rest."""

import csv
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor

from capacity.errors import UserError
from capacity.training.optimizer import Optimizer, learning_rate
from capacity.training.process_group import ProcessGroup
from capacity.training.spec import Descent

GROUP_STEPS = 100  # of several processes, between two answers to whether they go on
SIGNIFICANT_DIGITS = 9  # of a float32, so that reading gives it back

Batch = tuple[Tensor, Tensor, int, float]  # inputs and targets (B, T); targets scored in all; this process's share


class Loop(ABC):
    """One training under way. Everything that decides the rest of it is in `state()`, and nothing else is.

    chunk: steps that are made at once. num_rows: of metrics.csv, at most. A training says what its batches are, and
    what the gradient of one is.
    """

    exposures: int | None = None  # of every fact, in the whole training, where that is a number
    compiled = False  # whether the first step compiles
    execution: dict[str, Any] = {}  # noqa: RUF012 - what `auto` became here; a state is of use under the same alone

    def __init__(
        self,
        descent: Descent,
        optimizer: Optimizer,
        vector_P: Tensor,
        fabric: Fabric,
        num_steps: int,
        chunk: int,
        num_rows: int,
    ):
        self.descent, self.optimizer, self.vector, self.device = descent, optimizer, vector_P, vector_P.device
        self.group, self.num_steps = ProcessGroup(fabric), num_steps
        self._chunk = chunk if self.group.alone else min(chunk, GROUP_STEPS)
        rows = min(num_rows, num_steps)
        self.row_steps = [num_steps * (row + 1) // rows for row in range(rows)]
        self.row_losses = torch.zeros(rows, dtype=torch.float64)
        self.row_tokens = torch.zeros(rows, dtype=torch.int64)
        # Losses in nats a token: the sum of the steps since the last row, and of the latest step.
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.loss = torch.zeros((), device=self.device)
        self.step = self.tokens = self.row = 0  # done; scored so far; next row of metrics.csv

    @abstractmethod
    def _batches(self, first: int, count: int) -> Iterable[Batch]:
        """Steps first..first+count-1, on the device."""

    @abstractmethod
    def _gradient(self, inputs_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient (P,) at the vector, and the mean loss in nats a target."""

    def steps(self, go_on: Callable[[], bool] = lambda: True) -> Iterator[int]:
        """Do the steps that are left, one at a time; gives the number of steps done after each.

        go_on: asked in the first of several processes after every chunk of steps; False ends this in all of them.
        """
        while self.step < self.num_steps:
            batches = self._batches(self.step, min(self._chunk, self.num_steps - self.step))
            for inputs_BT, targets_BT, num_scored, share in batches:
                gradient, loss = self._gradient(inputs_BT, targets_BT)
                gradient, self.loss = self.group.combine(gradient, loss, share)
                self.optimizer.step(self.vector, gradient, self.learning_rate(self.step))
                self.loss_sum.add_(self.loss)
                self.step, self.tokens = self.step + 1, self.tokens + num_scored
                if self.step == self.row_steps[self.row]:
                    self._close_row()
                yield self.step
            if not self.group.all_go_on(go_on):
                return

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return learning_rate(self.descent, self.num_steps, step)

    def _close_row(self) -> None:
        """Note the mean loss since the last row. Raises UserError where the training has diverged."""
        since = self.row_steps[self.row - 1] if self.row else 0
        mean = float(self.loss_sum) / (self.step - since)
        if not math.isfinite(mean):
            raise UserError(f"lr: {self.descent.lr}; the loss is {mean} by step {self.step}; lower lr")
        self.row_losses[self.row], self.row_tokens[self.row] = mean, self.tokens
        self.loss_sum.zero_()
        self.row += 1

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Tensors and counters from which `restore` goes on with the same bits."""
        rows = {"loss_sum": self.loss_sum, "row_losses": self.row_losses, "row_tokens": self.row_tokens}
        tensors = {"vector": self.vector, **self.optimizer.state(), **rows}
        return tensors, {"step": self.step, "tokens": self.tokens, "row": self.row}

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Take the place of the training that gave this state."""
        for name, tensor in self.state()[0].items():
            tensor.copy_(tensors[name])
        self.step, self.tokens, self.row = counters["step"], counters["tokens"], counters["row"]

    @property
    def weights(self) -> Tensor:
        """What the training gives, (P,)."""
        return self.optimizer.kept(self.vector)

    @property
    def final_loss(self) -> float:
        """The mean of the last row."""
        return rounded(float(self.row_losses[-1]))

    def rows(self, first: int = 0) -> list[dict[str, float]]:
        """A row for each equal part of the training that is done, from one on: mean loss, last learning rate; exposures
        where known, by steps until all tokens are counted.
        """
        rows = []
        for row in range(first, self.row):
            step, tokens, loss = self.row_steps[row], int(self.row_tokens[row]), float(self.row_losses[row])
            share = tokens / self.tokens if self.step == self.num_steps else step / self.num_steps
            seen = {"exposures": rounded(self.exposures * share), "tokens": tokens} if self.exposures else {}
            lr = rounded(self.learning_rate(step - 1))
            rows.append({"step": step, **seen, "loss": rounded(loss), "lr": lr})
        return rows

    def write_metrics(self, path: Path) -> None:
        """All rows, as CSV."""
        rows = self.rows()
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def rounded(value: float) -> float:
    """A number with as many digits as a float32 has."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
