"""The loss of a batch as a function of one vector that holds all parameters, and its gradient.

One vector and one traced function, forward and backward together, make a step of a small model half again as
fast as 27 parameter tensors and two graphs with autograd between them: see benchmarks/training.py.
"""

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.nn import functional
from transformers import PreTrainedModel

from capacity.batches import IGNORED
from capacity.errors import UserError
from capacity.quantization.schemes import Scheme
from capacity.quantization.straight_through import StraightThrough

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
Gradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class Objective:
    """Mean next-token loss of a model in nats, and its gradient, with all parameters in one vector.

    model: on its device. context: T, the length of every row. precision: "fp32", or "bf16" for products in
    bfloat16 with parameters, norms and loss in fp32. compiled: one torch.compile graph; its numbers differ
    from eager ones by rounding. scheme: a quantisation scheme that the forward pass rounds weights by, where it
    is asked to.
    """

    def __init__(
        self, model: PreTrainedModel, context: int, precision: str, compiled: bool, scheme: Scheme | None = None
    ):
        self.compiled = compiled
        self._rounding = StraightThrough(model, scheme) if scheme else None
        self._loss = _Loss(model, context, precision)
        parameters = dict(self._loss.named_parameters())  # a tied parameter once
        self._shapes = {name: parameter.shape for name, parameter in parameters.items()}
        self._sizes = [parameter.numel() for parameter in parameters.values()]
        self._gradients = {quantised: self._gradient_of(quantised) for quantised in (False, True)}

    def _gradient_of(self, quantised: bool) -> Gradient:
        loss = functools.partial(self.loss, quantised=quantised)
        return _compiled(loss) if self.compiled else functools.partial(_eager_gradient, loss)

    def initial_vector(self) -> Tensor:
        """The model's parameters, as one new vector (P,)."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self._loss.parameters()])

    def loss(self, vector_P: Tensor, inputs_BT: Tensor, targets_BT: Tensor, quantised: bool = False) -> Tensor:
        """Mean loss in nats over the targets that are not IGNORED; quantised: with weights rounded by the scheme."""
        views = self._views(vector_P)
        if quantised:
            assert self._rounding is not None, "quantised: needs a scheme"
            views = {name: self._rounding(name.removeprefix("model."), view) for name, view in views.items()}
        return functional_call(self._loss, views, (inputs_BT, targets_BT))

    def gradient(
        self, vector_P: Tensor, inputs_BT: Tensor, targets_BT: Tensor, quantised: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The gradient (P,) of the loss, and the loss. Both are new tensors; nothing waits for the device."""
        return self._gradients[quantised](vector_P, inputs_BT, targets_BT)

    def finish(self, vector_P: Tensor) -> PreTrainedModel:
        """The stock model, its parameters set from the vector; the objective is of no use afterwards."""
        views = self._views(vector_P)
        with torch.no_grad():
            for name, parameter in self._loss.named_parameters():
                parameter.copy_(views[name])
        return self._loss.stock_model()

    def _views(self, vector_P: Tensor) -> dict[str, Tensor]:
        parts = vector_P.split(self._sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}


class _Loss(nn.Module):
    """A model and its mean loss, with what depends on positions alone computed once and not in every step."""

    def __init__(self, model: PreTrainedModel, context: int, precision: str):
        super().__init__()
        self.model = model
        self._autocast = precision == "bf16"
        future = torch.full((context, context), torch.finfo(torch.float32).min, device=model.device).triu(1)
        self.register_buffer("mask", future[None, None], persistent=False)
        self._rotary = {name: part for name, part in model.named_modules() if name.endswith("rotary_emb")}
        for name, rotary in self._rotary.items():
            model.set_submodule(name, _RotaryTable(rotary, context, model.config.hidden_size))

    def stock_model(self) -> PreTrainedModel:
        """The model with its own rotary embeddings again."""
        for name, rotary in self._rotary.items():
            self.model.set_submodule(name, rotary)
        return self.model

    def forward(self, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        # Entered for bf16 only: even a disabled autocast keeps torch.compile from a cache, a second a job.
        products = torch.autocast(inputs_BT.device.type, torch.bfloat16) if self._autocast else nullcontext()
        with products:
            output = self.model(input_ids=inputs_BT, attention_mask=self.mask, use_cache=False)
        logits = output.logits.float().flatten(0, 1)
        return functional.cross_entropy(logits, targets_BT.flatten(), ignore_index=IGNORED)


class _RotaryTable(nn.Module):
    """Stands in for a model's rotary embedding: the same cosines and sines, kept."""

    cos: Tensor
    sin: Tensor

    def __init__(self, rotary: nn.Module, context: int, width: int):
        super().__init__()
        device = rotary.get_buffer("inv_freq").device
        with torch.no_grad():
            hidden = torch.zeros(1, context, width, device=device)
            cos, sin = rotary(hidden, position_ids=torch.arange(context, device=device)[None])
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, hidden: Tensor, position_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.cos.to(hidden.dtype), self.sin.to(hidden.dtype)


def _eager_gradient(loss: Loss, vector_P: Tensor, inputs_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
    leaf = vector_P.detach().requires_grad_()
    value = loss(leaf, inputs_BT, targets_BT)
    return torch.autograd.grad(value, leaf)[0], value.detach()


def _compiled(loss: Loss) -> Gradient:
    """Forward and backward of a loss, compiled together at the first call."""
    options: dict[str, Any] = {"deterministic": True}  # no kernel is chosen by a time that was measured
    graph = torch.compile(grad_and_value(loss), fullgraph=True, dynamic=False, options=options)

    def gradient(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        try:
            return graph(*arguments)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"compile: true, but torch.compile failed ({reason}); install g++ 11 or newer, or set compile: false"
            ) from error

    return gradient
