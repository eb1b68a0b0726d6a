"""Promises of a compiled function: later calls, which go past the guards, give what the function gives."""

import json
import os
import subprocess
import sys
from pathlib import Path
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


GRADIENT = """
import json, sys
import torch
from torch._dynamo.utils import counters
from capacity.models.architectures import paper_model
from capacity.models.build import build_model
from capacity.training import compiled
from capacity.training.objective import Objective
if "plain" in sys.argv:
    from contextlib import nullcontext
    compiled._for_a_cpu = nullcontext
if "edited" in sys.argv:
    compiled._decomposed = lambda: "of other source"
model = build_model(paper_model("gpt2", l=1, h=1, head_dim=4), 9, 5, 1, "short")
objective = Objective(model, 5, "fp32", True)
gradient, _ = objective.gradient(objective.initial_vector(), *torch.arange(20).view(2, 2, 5) % 9)
print(json.dumps([dict(counters["aot_autograd"]).get("autograd_cache_hit", 0), gradient.double().sum().item().hex()]))
"""


@pytest.mark.long
def test_a_graph_is_found_by_another_process_and_by_none_that_makes_it_otherwise(tmp_path: Path) -> None:
    """What a kernel does, and how a bias is added, is no part of torch's own key of a graph."""

    def run(*words: str) -> tuple[int, str]:
        variables = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", GRADIENT, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
        found, gradient = json.loads(done.stdout)
        return found, gradient

    first, second = run(), run()
    assert (first[0], second[0]) == (0, 1)
    assert first[1] == second[1]
    assert run("plain")[0] == 0
    assert run("edited")[0] == 0
