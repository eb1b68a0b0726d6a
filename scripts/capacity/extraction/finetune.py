"""Fine-tuning of one model on questions: the loop of every training, over the parameters that are not frozen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from capacity.extraction.adapt import grown, merged, untied, with_lora
from capacity.extraction.people import ORDER
from capacity.extraction.questions import Asked, encode, rows_of
from capacity.extraction.spec import Tuning
from capacity.models.build import load_model
from capacity.training.batches import IGNORED, Steps, padding
from capacity.training.device import make_fabric
from capacity.training.loop import Batch, Loop
from capacity.training.optimizer import Optimizer
from capacity.training.session import run_resumably
from capacity.training.spec import Descent
from capacity.world.pieces import EOS_ID
from capacity.world.streams import generator

CHUNK_STEPS = 32  # whose texts are tokenised at once
NUM_ROWS = 50
ADAMW: dict[str, Any] = {"betas": [0.9, 0.98], "eps": 1e-6, "clip": 1.0}  # as a regime's; the paper does not say
LINE: dict[str, Any] = {"warmup_steps": 0, "final_lr_fraction": 0.0, "schedule": "linear"}  # Appendix A.2


class QuestionBatches:
    """Steps of questions: each pass takes the texts in a keyed order of its own; only answers are scored.

    A row is EOS, the prompt, the answer, EOS; the targets are the answer and its EOS.
    """

    def __init__(self, asked: Asked, batch: int, seed: int):
        self.tokenizer, self.prompts, self.answers = asked.tokenizer, asked.prompts, asked.answers
        self.batch, self.seed = batch, seed

    def rows(self, start: int, stop: int) -> NDArray[np.int64]:
        """Numbers of the texts start..stop-1 of the endless stream of passes."""
        count, parts = len(self.prompts), []
        for number in range(start // count, (stop - 1) // count + 1):
            order = generator(self.seed, ORDER, number).permutation(count)
            parts.append(order[max(start - number * count, 0) : stop - number * count])
        return np.concatenate(parts)

    def steps(self, first: int, count: int) -> list[Steps]:
        """Inputs and targets of steps first..first+count-1, each (B, T) as wide as its longest text."""
        rows = self.rows(first * self.batch, (first + count) * self.batch)
        prompts = encode(self.tokenizer, [self.prompts[row] for row in rows])
        answers = encode(self.tokenizer, [self.answers[row] for row in rows])
        return [
            question_rows(prompts[start : start + self.batch], answers[start : start + self.batch])
            for start in range(0, len(rows), self.batch)
        ]


def question_rows(prompts: list[list[int]], answers: list[list[int]]) -> Steps:
    """Inputs and targets (B, T), one text a row, as wide as the longest."""
    longest = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)) + 1
    inputs, targets = padding(len(prompts), longest)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        inputs[row, 1 : end + 1] = prompt + answer
        targets[row, len(prompt) : end] = answer
        targets[row, end] = EOS_ID
    return inputs, targets


class Finetuning(Loop):
    """A training of those of a model's parameters that are not frozen, on questions."""

    def __init__(self, settings: Tuning, model: Any, batches: QuestionBatches, fabric: Fabric):
        self.model, self.batches, self._method = model.train(), batches, settings.method
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        vector = torch.cat([parameter.detach().reshape(-1) for parameter in self._trained])
        parts = vector.split([parameter.numel() for parameter in self._trained])
        for parameter, part in zip(self._trained, parts, strict=True):
            parameter.data = part.view_as(parameter)  # a view of the vector from now on
        descent = Descent(**ADAMW, **LINE, lr=settings.lr, weight_decay=settings.weight_decay)
        optimizer = Optimizer(descent, vector)
        super().__init__(descent, optimizer, vector, fabric, settings.steps, CHUNK_STEPS, NUM_ROWS)

    def _batches(self, first: int, count: int) -> Iterator[Batch]:
        for inputs, targets in self.batches.steps(first, count):
            inputs_BT, targets_BT = (
                torch.from_numpy(array).to(self.device, torch.int64) for array in (inputs, targets)
            )
            yield inputs_BT, targets_BT, int(np.count_nonzero(targets != IGNORED)), 1.0

    def _gradient(self, inputs_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(input_ids=inputs_BT, use_cache=False).logits.float()
        loss = functional.cross_entropy(logits.flatten(0, 1), targets_BT.flatten(), ignore_index=IGNORED)
        gradients = torch.autograd.grad(loss, self._trained, materialize_grads=True)
        return torch.cat([gradient.reshape(-1) for gradient in gradients]), loss.detach()

    def finish(self) -> Any:
        """The fine-tuned model, a stock one."""
        return (merged(self.model) if self._method == "lora" else self.model).eval()


def ready_model(model: Any, rows: int, positions: int, ranks: tuple[int, int] | None, seed: int) -> Any:
    """A model with rows for the questions' words, and low-rank matrices of these ranks; None for none."""
    grown(model, rows, positions, seed)
    return with_lora(untied(model), *ranks, seed) if ranks else model


def finetune(
    settings: Tuning, checkpoint: Path, asked: Asked, resume: Path, budget: float | None = None
) -> tuple[Any, Finetuning]:
    """Fine-tune a checkpoint on questions; the model, and what the fine-tuning was.

    resume: where the state is kept while it runs. Raises Interrupted after a stop, UserError for what cannot be run.
    """

    def make() -> Finetuning:
        fabric = make_fabric(settings.hardware)
        model = load_model(checkpoint, settings.hardware.accelerator)
        rows, positions = rows_of(asked.tokenizer), asked.lengths.positions
        model = fabric.to_device(ready_model(model, rows, positions, settings.ranks, settings.seed))
        return Finetuning(settings, model, QuestionBatches(asked, settings.batch, settings.seed), fabric)

    conditions = {"settings": settings.plain(), "peft": peft.__version__}
    training = run_resumably(make, resume, conditions, budget).loop
    return training.finish(), training
