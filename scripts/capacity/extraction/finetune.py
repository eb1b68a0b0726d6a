"""Fine-tuning of one model on questions: a plain loop over the parameters that are trained, resumable at every step."""

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from capacity.errors import UserError
from capacity.extraction.adapt import grown, merged, untied, with_lora
from capacity.extraction.people import ORDER
from capacity.extraction.questions import Asked, encode, rows_of
from capacity.jobs.resume import load_state, save_state
from capacity.jobs.stop import Interrupted, StopRequest
from capacity.models.build import load_model
from capacity.training.batches import IGNORED, Steps, padding
from capacity.training.device import make_fabric, numeric_conditions
from capacity.training.optimizer import Optimizer, learning_rate
from capacity.training.spec import Descent, Hardware
from capacity.world.pieces import EOS_ID
from capacity.world.streams import generator

CHUNK_STEPS = 32  # whose texts are tokenised at once
SAVE_SECONDS = 60.0
NUM_ROWS = 50  # of metrics.csv, at most
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


class Finetuning:
    """One fine-tuning under way: the model, the vector of what is trained in it, and the steps done."""

    def __init__(self, settings: dict[str, Any], model: Any, batches: QuestionBatches):
        self.settings, self.model, self.batches = settings, model, batches
        self.regime = Descent(**ADAMW, **LINE, lr=settings["lr"], weight_decay=settings["weight_decay"])
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.vector = torch.cat([parameter.detach().reshape(-1) for parameter in trained])
        start = 0
        for parameter in trained:  # each a view of the vector from now on
            parameter.data = self.vector[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
        self.trained = trained
        self.optimizer = Optimizer(self.regime, self.vector)
        self.num_steps, self.step, self.row = settings["steps"], 0, 0
        rows = min(NUM_ROWS, self.num_steps)
        self.row_steps = [self.num_steps * (row + 1) // rows for row in range(rows)]
        self.row_losses = torch.zeros(rows, dtype=torch.float64)
        self.loss_sum = torch.zeros((), dtype=torch.float64)

    def steps(self) -> Iterator[int]:
        """Do the steps that are left; gives the number of steps done after each."""
        self.model.train()
        while self.step < self.num_steps:
            for inputs, targets in self.batches.steps(self.step, min(CHUNK_STEPS, self.num_steps - self.step)):
                self._one(torch.from_numpy(inputs), torch.from_numpy(targets))
                yield self.step

    def _one(self, inputs_BT: Tensor, targets_BT: Tensor) -> None:
        device = self.vector.device
        logits = self.model(input_ids=inputs_BT.long().to(device), use_cache=False).logits.float()
        targets = targets_BT.long().to(device)
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        loss.backward()
        gradient = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in self.trained])
        for parameter in self.trained:
            parameter.grad = None
        with torch.no_grad():
            self.optimizer.step(self.vector, gradient, learning_rate(self.regime, self.num_steps, self.step))
        self.loss_sum += loss.detach().double().cpu()
        self.step += 1
        if self.step == self.row_steps[self.row]:
            self._close_row()

    def _close_row(self) -> None:
        mean = float(self.loss_sum) / (self.step - (self.row_steps[self.row - 1] if self.row else 0))
        if not math.isfinite(mean):
            raise UserError(f"lr: {self.settings['lr']}; the loss on questions is {mean} by step {self.step}; lower lr")
        self.row_losses[self.row] = mean
        self.loss_sum.zero_()
        self.row += 1

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Tensors and counters that decide the rest."""
        tensors = {"vector": self.vector, **self.optimizer.state()}
        tensors |= {"loss_sum": self.loss_sum, "row_losses": self.row_losses}
        return tensors, {"step": self.step, "row": self.row}

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        """Take the place of the fine-tuning that gave this state."""
        for name, tensor in self.state()[0].items():
            with torch.no_grad():
                tensor.copy_(tensors[name])
        self.step, self.row = counters["step"], counters["row"]

    def finish(self) -> Any:
        """The fine-tuned model, a stock one."""
        return (merged(self.model) if self.settings["method"] == "lora" else self.model).eval()


def ready_model(model: Any, rows: int, positions: int, settings: dict[str, Any]) -> Any:
    """A model with rows for the questions' words, and low-rank matrices where the method is lora."""
    grown(model, rows, positions, settings["seed"])
    if settings["method"] == "full":
        return model
    embedding_rank, attention_rank = settings["ranks"]
    return with_lora(untied(model), embedding_rank, attention_rank, settings["seed"])


def finetune(
    settings: dict[str, Any], checkpoint: Path, asked: Asked, resume: Path, budget: float | None = None
) -> tuple[Any, Finetuning]:
    """Fine-tune a checkpoint on questions; the model, and what the fine-tuning was.

    spec: {"method": "lora" or "full", "ranks": [r', r], "lr", "steps", "batch", "weight_decay", "hardware", "seed"}.
    resume: where the state lies while it runs, a folder that the artefact's id names. Stopped and started again it
    ends with the same bits. Raises Interrupted after a stop, UserError for what cannot be run.
    """
    fabric = make_fabric(Hardware.read(settings["hardware"]))
    model = load_model(checkpoint, settings["hardware"]["accelerator"])
    model = fabric.to_device(ready_model(model, rows_of(asked.tokenizer), asked.lengths.positions, settings))
    batches = QuestionBatches(asked, settings["batch"], settings["seed"])
    training = Finetuning(settings, model, batches)
    versions = {"transformers": transformers.__version__, "peft": peft.__version__}
    conditions = {"finetune": resume.name, "settings": settings, **versions, **numeric_conditions(fabric.device)}
    saved = load_state(resume, conditions)
    if saved is not None:
        training.restore(*saved)
        print(f"going on from step {training.step:,} of {training.num_steps:,}", file=sys.stderr, flush=True)
    with StopRequest(budget) as stop:
        save_due = time.monotonic() + SAVE_SECONDS
        for step in training.steps():
            reason = stop.reason if step < training.num_steps else None
            if reason or time.monotonic() >= save_due:
                save_state(resume, *training.state(), conditions)
                save_due = time.monotonic() + SAVE_SECONDS
            if reason:
                position = f"step {step:,} of {training.num_steps:,}"
                raise Interrupted(f"stopped by {reason} at {position}; the state is saved")
    return training.finish(), training
