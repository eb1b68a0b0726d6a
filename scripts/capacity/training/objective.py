"""The loss of a batch as a function of one vector that holds all parameters, and its gradient.

One vector and one traced function, forward and backward together, make a step of a small model half again as
fast as 27 parameter tensors and two graphs with autograd between them: see benchmarks/training.py.
"""

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.nn.modules.conv import _ConvNd
from transformers import PreTrainedModel

from capacity.models.build import FUSED
from capacity.models.external import balance_weight
from capacity.models.modeling_switched import Routing
from capacity.models.short_attention import SHORT, Rotation, positions_in_the_kernel, rotating_files
from capacity.quantization.spec import RoundToNearest
from capacity.quantization.straight_through import StraightThrough
from capacity.training.compiled import Compiled
from capacity.training.executed import Compile
from capacity.training.mean_loss import chunked_loss, compilable_loss, kernel_loss, stock_loss
from capacity.world.pieces import EOS_ID

Aside = tuple[Tensor, Tensor]  # mean loss in nats a token; choices that experts dropped
Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Aside]]
Gradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class Objective:
    """Mean next-token loss of a model in nats, and its gradient, with all parameters in one vector.

    Where the model has experts the gradient is that of the loss and `balance` times their load-balancing
    losses, and `num_dropped` counts the choices that experts had no room for, over all calls. An external model
    that gives such a loss (output_router_logits: true in its configuration) is trained with its own weight of it.

    model: on its device; `plain` for one that is not of the paper: it is called with the tokens alone, and makes
    its own mask and positions. context: T, the length of every row. precision: "fp32", or "bf16" for products in
    bfloat16 with parameters, norms and loss in fp32. compiled: one torch.compile graph, with "reduce-overhead" in
    CUDA graphs; its numbers differ from eager ones by rounding. scheme: a quantisation scheme that the forward pass
    rounds weights by, where it is asked to. document_mask: a token sees its own document alone, which
    begins with EOS. chunked: of a model of the paper, the loss is made from the logits of some tokens at a time, so
    that those of a batch are never all in memory.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        context: int,
        precision: str,
        compiled: Compile,
        balance: float = 0.0,
        plain: bool = False,
        scheme: RoundToNearest | None = None,
        document_mask: bool = False,
        chunked: bool = False,
    ):
        self.compiled, self._cuda_graph, self.chunked = bool(compiled), compiled == "reduce-overhead", chunked
        self._on_cpu = model.device.type == "cpu"
        self.num_dropped = torch.zeros((), dtype=torch.int64, device=model.device)
        self._rounding = StraightThrough(model, scheme) if scheme else None
        self._loss = _Loss(model, context, precision, self.compiled, balance, plain, document_mask, chunked)
        parameters = dict(self._loss.named_parameters())  # a tied parameter once
        self._shapes = {name: parameter.shape for name, parameter in parameters.items()}
        self._sizes = [parameter.numel() for parameter in parameters.values()]
        self._gradients = {quantised: self._gradient_of(quantised) for quantised in (False, True)}

    def _gradient_of(self, quantised: bool) -> Gradient:
        total = functools.partial(self._total, quantised=quantised)
        return self._compiled_gradient(total) if self.compiled else functools.partial(_eager_gradient, total)

    def _compiled_gradient(self, total: Loss) -> Gradient:
        """Forward and backward of what is differentiated, compiled together at the first call."""
        both = grad_and_value(total, has_aux=True)

        def gradient(vector_P: Tensor, inputs_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            gradient_P, (_, (loss, num_dropped)) = both(vector_P, inputs_BT, targets_BT)
            return gradient_P, loss, num_dropped

        compiled = Compiled(
            gradient,
            self._on_cpu,
            in_order=self.chunked,
            cuda_graph=self._cuda_graph,
            tracing=functools.partial(positions_in_the_kernel, self._loss.turned_by_kernels),
        )
        return cast(Gradient, compiled)

    def initial_vector(self) -> Tensor:
        """The model's parameters, as one new vector (P,)."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self._loss.parameters()])

    def gradient(
        self, vector_P: Tensor, inputs_BT: Tensor, targets_BT: Tensor, quantised: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The gradient (P,) and the mean loss in nats over the targets that are not IGNORED.

        Both are new tensors; nothing waits for the device. quantised: with weights rounded by the scheme.
        """
        gradient, loss, num_dropped = self._gradients[quantised](vector_P, inputs_BT, targets_BT)
        self.num_dropped.add_(num_dropped)
        return gradient, loss

    def _total(
        self, vector_P: Tensor, inputs_BT: Tensor, targets_BT: Tensor, quantised: bool = False
    ) -> tuple[Tensor, Aside]:
        """What is differentiated, and beside it the loss and the choices that were dropped."""
        views = self._views(vector_P)
        if quantised:
            assert self._rounding is not None, "quantised: needs a scheme"
            views = {name: self._rounding(name.removeprefix("model."), view) for name, view in views.items()}
        return functional_call(self._loss, views, (inputs_BT, targets_BT))

    def eager_gradient(self, vector_P: Tensor, inputs_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient, loss and dropped choices, not compiled and not quantised."""
        return _eager_gradient(self._total, vector_P, inputs_BT, targets_BT)

    def hidden_matrices(self) -> list[tuple[int, torch.Size]]:
        """Start in the vector and shape of every matrix but embeddings and the head.

        An expert's are apart; a convolution is one, (outputs, inputs by places); biases of experts are none.
        """
        kernels = {id(part.weight) for part in self._loss.modules() if isinstance(part, _ConvNd)}
        outer = {id(part.weight) for part in self._loss.modules() if isinstance(part, nn.Embedding)}
        outer |= {id(head.weight) for head in [self._loss.model.get_output_embeddings()] if head is not None}
        found: list[tuple[int, torch.Size]] = []
        start = 0
        for name, parameter in self._loss.named_parameters():
            shape = parameter.shape
            if id(parameter) in kernels and shape[1] > 1:
                found.append((start, torch.Size((shape[0], shape[1:].numel()))))
            elif len(shape) == 2 and id(parameter) not in outer and not name.endswith("bias"):
                found.append((start, shape))
            elif len(shape) == 3 and min(shape) > 1:
                found += [(start + i * shape[1] * shape[2], torch.Size(shape[1:])) for i in range(shape[0])]
            start += parameter.numel()
        return found

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

    mask: Tensor

    def __init__(
        self,
        model: PreTrainedModel,
        context: int,
        precision: str,
        compiled: bool,
        balance: float,
        plain: bool,
        document_mask: bool,
        chunked: bool,
    ):
        super().__init__()
        attention = model.config._attn_implementation
        self._fused, self._document_mask = attention in (FUSED, SHORT), document_mask
        self.model, self.balance, self._plain = model, balance, plain
        self._has_experts = getattr(model.config, "mlp_kind", "") == "experts"
        self._mean_loss = _mean_loss(model.device, compiled)
        self._autocast, self._chunked = precision == "bf16", chunked
        future = torch.full((context, context), torch.finfo(torch.float32).min, device=model.device).triu(1)
        self.register_buffer("mask", future[None, None], persistent=False)
        rotary_parts = {name: part for name, part in model.named_modules() if name.endswith("rotary_emb")}
        self._rotary = {} if plain else rotary_parts
        for name, rotary in self._rotary.items():
            model.set_submodule(name, _RotaryTable(rotary, context, model.config.hidden_size))
        # In a compiled graph the kernels turn queries and keys, in place of what these files do.
        self.turned_by_kernels = rotating_files(model) if attention == SHORT and self._rotary else []

    def _rotation(self) -> Rotation:
        """The cosines and sines of the model's rotary positions, the same in all layers."""
        table: Any = self.model.get_submodule(next(iter(self._rotary)))
        return Rotation(table.cos[0], table.sin[0])

    def stock_model(self) -> PreTrainedModel:
        """The model with its own rotary embeddings again."""
        for name, rotary in self._rotary.items():
            self.model.set_submodule(name, rotary)
        return self.model

    def _mask(self, inputs_BT: Tensor) -> Tensor | None:
        """What is added to scores, or for a fused kernel which of them count; None for its own causal mask."""
        if not self._document_mask:
            return None if self._fused else self.mask
        document_BT = (inputs_BT == EOS_ID).cumsum(1)
        apart_B1TT = document_BT[:, None, :, None] != document_BT[:, None, None, :]
        if self._fused:
            return (self.mask == 0) & ~apart_B1TT
        return self.mask.masked_fill(apart_B1TT, torch.finfo(torch.float32).min)

    def forward(self, inputs_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Aside]:
        # Entered for bf16 only: even a disabled autocast keeps torch.compile from a cache, a second a job.
        products = torch.autocast(inputs_BT.device.type, torch.bfloat16) if self._autocast else nullcontext()
        routing: list[Routing] = []
        extra: dict[str, Any] = {} if self._plain else {"attention_mask": self._mask(inputs_BT)}
        if self._has_experts:
            extra["routing"] = routing
        if self.turned_by_kernels and torch.compiler.is_compiling():
            extra["rotation"] = self._rotation()
        model = self.model.base_model if self._chunked else self.model
        with products:
            output = model(input_ids=inputs_BT, use_cache=False, **extra)
        if self._chunked:
            head_VD = self.model.get_output_embeddings().weight
            kind = torch.bfloat16 if self._autocast else torch.float32
            loss, zero = chunked_loss(output.last_hidden_state.flatten(0, 1), head_VD, targets_BT.flatten(), kind)
        else:
            logits = output.logits.float().flatten(0, 1)
            loss, zero = self._mean_loss(logits, targets_BT.flatten())
        if not routing:
            none_dropped = torch.zeros((), dtype=torch.int64, device=loss.device)
            imbalance = getattr(output, "aux_loss", None)
            total = loss + zero if imbalance is None else loss + zero + balance_weight(self.model.config) * imbalance
            return total, (loss, none_dropped)
        total = loss + zero + self.balance * torch.stack([layer.imbalance for layer in routing]).sum()
        return total, (loss, torch.stack([layer.num_dropped for layer in routing]).sum())


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


def _mean_loss(device: torch.device, compiled: bool) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    if not compiled:
        return stock_loss
    return kernel_loss if device.type == "cpu" and torch.get_num_threads() == 1 else compilable_loss


def _eager_gradient(
    total: Loss, vector_P: Tensor, inputs_BT: Tensor, targets_BT: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    leaf = vector_P.detach().requires_grad_()
    value, (loss, num_dropped) = total(leaf, inputs_BT, targets_BT)
    return torch.autograd.grad(value, leaf)[0], loss.detach(), num_dropped
