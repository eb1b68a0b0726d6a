"""What GPTQ needs of a layer's inputs: the sum of x x^T over biographies of the run's own dataset."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from capacity.world.facts import World
from capacity.world.pieces import EOS_ID
from capacity.world.render import Renderer
from capacity.world.sampling import calibration_draws
from capacity.world.written import TextRenderer

BATCH_TOKENS = 4096

Batches = list[Tensor]  # token ids (rows, width), no padding


def calibration_batches(renderer: Renderer | TextRenderer, count: int, seed: int) -> Batches:
    """Biographies of `count` people of the world, EOS first, in batches of rows of one length."""
    world = renderer.world
    assert isinstance(world, World)
    rendering = renderer.tokens(calibration_draws(world, seed, count), labels=False)
    starts = rendering.lengths.cumsum() - rendering.lengths
    batches = []
    for length in np.unique(rendering.lengths):
        places = starts[rendering.lengths == length, None] + np.arange(length)
        rows = np.concatenate([np.full((len(places), 1), EOS_ID), rendering.tokens[places]], axis=1)
        batches += torch.from_numpy(rows.astype(np.int64)).split(max(1, BATCH_TOKENS // (int(length) + 1)))
    return batches


class InputMoments(TorchDispatchMode):
    """While active, adds up x x^T over the inputs x of chosen matrices, wherever a model multiplies by them.

    Products are seen as torch carries them out, also within recurrent layers and nn.MultiheadAttention. Matrices are
    identified by the address of their memory, so that fused experts, views of one parameter, are distinguished.
    sums: float64 (C, C) by that address; counts: inputs seen. Experts that are multiplied all at once come in two
    products; places that no token fills are rows of zeros in the first.
    """

    def __init__(self, matrices: Iterable[Tensor]):
        super().__init__()
        self.sums = {m.data_ptr(): torch.zeros(m.shape[1], m.shape[1], dtype=torch.float64) for m in matrices}
        self.counts = dict.fromkeys(self.sums, 0)
        self._filled: Tensor | None = None  # places of experts that a token fills, between their two products

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func is torch.ops.aten.mm.default:
            self._add(args[0], args[1])
        elif func is torch.ops.aten.addmm.default:
            self._add(args[1], args[2])
        elif func is torch.ops.aten.bmm.default and args[1].data_ptr() in self.sums:
            self._add_experts(*args)
        return func(*args, **(kwargs or {}))

    def _add_experts(self, inputs: Tensor, weights: Tensor) -> None:
        if self._filled is None or self._filled.shape != inputs.shape[:2]:
            self._filled = filled = inputs.any(dim=2)
        else:
            filled, self._filled = self._filled, None
        for expert, weight in enumerate(weights):
            self._add(inputs[expert][filled[expert]], weight)

    def _add(self, inputs: Tensor, weight: Tensor) -> None:
        address = weight.data_ptr()
        if address in self.sums:
            inputs_MC = inputs.double()
            self.sums[address] += inputs_MC.T @ inputs_MC
            self.counts[address] += len(inputs_MC)


@contextlib.contextmanager
def _in_single_products(model: PreTrainedModel) -> Iterator[None]:
    """Fused kernels multiply by several matrices at once, where the moments of each could not be separated."""
    experts, fast_path = model.config._experts_implementation, torch.backends.mha.get_fastpath_enabled()
    onednn: Any = torch.backends.mkldnn
    had_onednn = onednn.enabled
    model.config._experts_implementation = "eager"
    torch.backends.mha.set_fastpath_enabled(False)
    onednn.enabled = False  # its LSTM is one operation
    try:
        yield
    finally:
        model.config._experts_implementation = experts
        torch.backends.mha.set_fastpath_enabled(fast_path)
        onednn.enabled = had_onednn


@torch.no_grad()  # inference mode would hide the products of composite operations
def input_moments(model: PreTrainedModel, matrices: Iterable[Tensor], batches: Batches) -> InputMoments:
    """The moments of some matrices' inputs over all batches."""
    with InputMoments(matrices) as moments, _in_single_products(model):
        for tokens in batches:
            model(tokens, use_cache=False)
    return moments
