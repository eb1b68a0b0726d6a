"""Promises of a compiled function: later calls, which go past the guards, give what the function gives."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule

from capacity.training.compiled import Compiled


@pytest.mark.long
def test_later_calls_see_their_own_arguments_and_other_tensors_as_they_are() -> None:
    table = torch.arange(4.0)

    def function(left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        return (left @ right).tanh() + table, right.sum(), left.sum()

    compiled = Compiled(function, on_cpu=True)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        arguments = torch.randn(3, 5, generator=generator), torch.randn(5, 4, generator=generator)
        for ours, expected in zip(compiled(*arguments), function(*arguments), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
        table += 1
    with pytest.raises(RuntimeError, match="expected size 6==3"):  # inductor's own check
        compiled(torch.zeros(6, 5), torch.zeros(5, 4))


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_inductor_is_told_what_is_asked_for(cuda_graph: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA graphs overwrite the results of the last call, so each call has to be said to be a new step."""
    told: list[dict[str, Any]] = []
    steps: list[None] = []

    def inductor(module: GraphModule, examples: list[Any], config_patches: dict[str, Any]) -> Any:
        told.append(config_patches)
        return module.forward

    monkeypatch.setattr("capacity.training.compiled.compile_fx", inductor)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: steps.append(None))
    compiled = Compiled(lambda x: (x + 1,), on_cpu=False, in_order=cuda_graph, cuda_graph=cuda_graph)
    for number in range(3):
        assert compiled(torch.tensor([float(number)]))[0].item() == number + 1
    more = {"triton.cudagraphs": True, "reorder_for_locality": False} if cuda_graph else {}
    assert told == [{"deterministic": True, "cpp_wrapper": False, "cpp.use_decompose_tanh": True} | more]
    assert len(steps) == (3 if cuda_graph else 0)
