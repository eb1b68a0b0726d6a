"""Which of a model's tensors a scheme reaches, and the matrices in them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from capacity.quantization.spec import TIED, Rounding, check_tensors

VECTOR = "vector"  # biases, norms, and all else with fewer than two dimensions: no scheme quantises it
LINEAR = (
    nn.Linear,
    Conv1D,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)  # matrices that inputs are multiplied by


@dataclass(frozen=True)
class Place:
    """A parameter of a model: its name, its role (one of spec.ROLES, TIED or VECTOR), how its matrices lie."""

    name: str
    role: str
    transposed: bool = False  # stored as (inputs, outputs)
    kernel: bool = False  # a convolution: (outputs, and inputs by places)

    def matrices(self, weight: Tensor) -> list[Tensor]:
        """Views of its matrices with outputs as rows: one, or one for each leading index, an expert for example."""
        if self.kernel:
            return [weight.view(len(weight), -1)]
        if weight.ndim > 2 and self.role != "experts":
            weight = weight.view(-1, *weight.squeeze().shape[-2:])
        stack = [weight] if weight.ndim == 2 else list(weight.unbind())
        return [matrix.T for matrix in stack] if self.transposed else stack

    def whole(self, matrices: list[Tensor], weight: Tensor) -> Tensor:
        """The tensor, in the shape of `weight`, that has these matrices."""
        stack = torch.stack(matrices)
        return (stack.mT if self.transposed else stack).reshape(weight.shape)


def places_of(model: PreTrainedModel) -> list[Place]:
    """Every parameter of a model, a tied one once, in the model's order."""
    owners = dict(model.named_modules())
    return [_place(model, owners[name.rpartition(".")[0]], name, p) for name, p in model.named_parameters()]


def _place(model: PreTrainedModel, owner: nn.Module, name: str, parameter: Tensor) -> Place:
    kind = type(owner).__name__
    if parameter.ndim == 3 and kind.endswith("Experts"):
        return Place(name, "experts", bool(getattr(owner, "is_transposed", False)))
    is_bias = name.endswith("bias")  # of experts, one a row
    if is_bias or parameter.ndim < 2 or (parameter.ndim > 2 and parameter.squeeze().ndim < 2):
        return Place(name, VECTOR)
    head = model.get_output_embeddings()
    if isinstance(owner, nn.Embedding) or owner is head:
        ends = (model.get_input_embeddings(), head)
        if all(getattr(end, "weight", None) is parameter for end in ends):
            return Place(name, TIED)  # whichever of the two the model made first
        return Place(name, "head" if owner is head else "embeddings")
    if kind.endswith("Router") or _routes(model, name):
        return Place(name, "router")
    if isinstance(owner, LINEAR) and parameter.ndim == 2:
        return Place(name, "linear", isinstance(owner, Conv1D))
    return Place(name, "other", kernel=isinstance(owner, _ConvNd) and parameter.ndim > 2)


def _routes(model: PreTrainedModel, name: str) -> bool:
    """Whether a parameter is a router's by its module's name; a `gate` is one where experts stand beside it."""
    path, _, own = name.rpartition(".")[0].rpartition(".")
    beside = [beside.lower() for beside, _ in model.get_submodule(path).named_children()]
    return own == "router" or (own == "gate" and any("expert" in each for each in beside))


def chosen_places(model: PreTrainedModel, scheme: Rounding) -> list[Place]:
    """The parameters that the scheme quantises, in the model's order.

    Raises UserError where it names none of this model's, or one role of a tensor that has two.
    """
    places = places_of(model)
    check_tensors(scheme, {place.role for place in places})
    tensors = {*scheme.tensors, *([TIED] if "head" in scheme.tensors else [])}
    return [place for place in places if place.role in tensors]
