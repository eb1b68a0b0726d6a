"""The loss in chunks of tokens is the loss of all, up to rounding, and never has all logits in memory."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from modelled import model_of
from quantizers import scheme_of
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from capacity.models.build import build_model
from capacity.training import mean_loss
from capacity.training.batches import IGNORED
from capacity.training.cost import flops_a_token
from capacity.training.mean_loss import chunk_tokens
from capacity.training.objective import Objective

V, B, T = 300, 2, 48
CHUNK = 17 * V  # logits, and so 16 tokens
EXPERTS = {"count": 4, "top": 2, "capacity": 4.0, "test_capacity": 8.0, "balance": 0.01}
SIZE = {"l": 1, "h": 2, "head_dim": 8}
MODELS = {
    "gpt2, tied": {"family": "gpt2", **SIZE},
    "gpt2, apart": {"family": "gpt2", **SIZE, "tied": False},
    "llama, apart": {"family": "llama", **SIZE},
    "llama, tied": {"family": "llama", **SIZE, "tied": True},
    "mistral": {"family": "mistral", **SIZE},
    "gpt2, no MLP": {"family": "gpt2", **SIZE, "mlp_ratio": 0.0},
    "gpt2, experts": {"family": "gpt2", **SIZE, "mlp_ratio": 0.25, "experts": EXPERTS},
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mean_loss, "CHUNK_LOGITS", CHUNK)


def objective(model: str, chunked: bool, precision: str = "fp32", compiled: bool = False, **more: Any) -> Objective:
    """Of a model that is far from even: weights ten times as large as at the start."""
    built = build_model(model_of({**MODELS[model], "init_std": 0.2}), V, T, seed=1)
    return Objective(built, T, precision, compiled, chunked=chunked, **more)


def batch() -> tuple[Tensor, Tensor]:
    """Rows of which some tokens are not scored, among them all of one chunk."""
    stream = torch.randint(0, V, (B, T + 1), generator=torch.Generator().manual_seed(3))
    inputs, targets = stream[:, :-1].clone(), stream[:, 1:].clone()
    targets[0, 5:9] = IGNORED
    targets[1, 10:] = IGNORED
    return inputs, targets


def gradient(objective: Objective, **more: Any) -> tuple[Tensor, Tensor]:
    return objective.gradient(objective.initial_vector(), *batch(), **more)


@pytest.mark.parametrize("model", MODELS)
def test_loss_and_gradient_are_those_of_all_logits(model: str) -> None:
    (slope, loss), (chunked_slope, chunked_loss) = (gradient(objective(model, chunked)) for chunked in (False, True))
    torch.testing.assert_close(chunked_loss, loss, rtol=0, atol=1e-6)
    torch.testing.assert_close(chunked_slope, slope, rtol=0, atol=1e-6)
    assert slope.abs().max() > 0.05


@pytest.mark.parametrize("model", ["gpt2, tied", "llama, apart"])
def test_products_in_bfloat16_are_those_of_all_logits(model: str) -> None:
    exact, _ = gradient(objective(model, chunked=False))
    (slope, loss), (chunked_slope, chunked_loss) = (
        gradient(objective(model, chunked, "bf16")) for chunked in (False, True)
    )
    assert chunked_slope.dtype == torch.float32
    torch.testing.assert_close(chunked_loss, loss, rtol=0, atol=1e-5)
    assert (chunked_slope - slope).norm() < 0.5 * (slope - exact).norm()


def test_rounded_weights_of_the_head_are_seen() -> None:
    (slope, loss), (chunked_slope, chunked_loss) = (
        gradient(objective("llama, apart", chunked, scheme=scheme_of(2)), quantised=True) for chunked in (False, True)
    )
    torch.testing.assert_close(chunked_loss, loss, rtol=0, atol=1e-6)
    torch.testing.assert_close(chunked_slope, slope, rtol=0, atol=1e-6)
    assert abs(loss - gradient(objective("llama, apart", chunked=True))[1]) > 1e-4


class Operators(TorchDispatchMode):
    """Notes the most logits that an operator made at once, and which parts of a vector were made bfloat16."""

    def __init__(self, vector: Tensor):
        super().__init__()
        self.most, self.cast, self.start = 0, [], vector.data_ptr()

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(tensor, Tensor) and tensor.shape[-1:] == (V,):
                self.most = max(self.most, tensor.numel())
        if "_to_copy" in str(function) and args[0].untyped_storage().data_ptr() == self.start:
            self.cast += [args[0].storage_offset()] * (made.dtype == torch.bfloat16)
        return made


def operators(chunked: bool, precision: str) -> Operators:
    ours = objective("gpt2, tied", chunked, precision)
    vector = ours.initial_vector()
    with Operators(vector) as seen:
        ours.gradient(vector, *batch())
    return seen


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_tensor_holds_the_logits_of_all_tokens(precision: str) -> None:
    assert operators(False, precision).most == B * T * V
    assert operators(True, precision).most <= CHUNK


@pytest.mark.parametrize("chunked", [False, True])
def test_a_parameter_is_made_bfloat16_once_a_step(chunked: bool) -> None:
    cast = operators(chunked, "bf16").cast
    assert len(cast) >= 5
    assert len(set(cast)) == len(cast)


def test_chunks_count_as_the_products_of_all_logits() -> None:
    step = SimpleNamespace(steps=lambda first, count: [array[None].numpy() for array in batch()])
    counts = [
        flops_a_token(SimpleNamespace(batches=step, objective=ours, vector=ours.initial_vector(), device="cpu"))
        for ours in (objective("llama, apart", chunked) for chunked in (False, True))
    ]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("vocabulary", "tokens"), [(100, 32), (300, 16), (CHUNK, 1), (2 * CHUNK, 1)])
def test_chunks_are_a_power_of_two_of_tokens_and_one_at_least(vocabulary: int, tokens: int) -> None:
    assert chunk_tokens(vocabulary) == tokens


@pytest.mark.long
def test_compiled_chunks_are_made_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inductor by itself makes the logits of all chunks first: products of one tensor are moved together."""
    vocabulary, context, rows, chunks = 4000, 128, 4, 4
    monkeypatch.setattr(mean_loss, "CHUNK_LOGITS", rows * context * vocabulary // chunks)
    stream = torch.randint(0, vocabulary, (rows, context + 1), generator=torch.Generator().manual_seed(3))
    inputs, targets = stream[:, :-1].clone(), stream[:, 1:].clone()
    model = model_of(MODELS["gpt2, apart"])
    expected, ours = (
        Objective(build_model(model, vocabulary, context, 1, "fused"), context, "fp32", chunked, chunked=chunked)
        for chunked in (False, True)
    )
    vector = ours.initial_vector()
    both = (one.gradient(vector, inputs, targets) for one in (ours, expected))
    for chunked, whole in zip(*both, strict=True):
        torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-6)
    peak = peak_bytes(lambda: ours.gradient(vector, inputs, targets))
    assert peak < 4 * rows * context * vocabulary, peak


def peak_bytes(step: Any) -> int:
    """The most memory that a step holds at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most
