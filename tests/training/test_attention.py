"""Other kernels of attention give the losses of eager; a mask of documents those of documents trained alone."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from modelled import model_of
from torch import Tensor

from capacity.models.build import build_model
from capacity.training.batches import IGNORED
from capacity.training.cost import flops_a_token
from capacity.training.objective import Objective
from capacity.world.pieces import EOS_ID

V, T = 40, 64
SIZE = {"l": 2, "h": 2, "head_dim": 8}
EXPERTS = {"count": 4, "top": 1, "capacity": 4.0, "test_capacity": 8.0, "balance": 0.01}
FAMILIES = {
    "gpt2": {"family": "gpt2", **SIZE},
    "llama": {"family": "llama", **SIZE},
    "mistral, shared keys": {"family": "mistral", **SIZE},
    "gpt2, no MLP": {"family": "gpt2", **SIZE, "mlp_ratio": 0.0},
    "llama, layer norm": {"family": "llama", **SIZE, "norm": "layer"},
    "gpt2, half of a head turns": {"family": "gpt2", **SIZE, "rotary": 0.5},
    "llama, half of a head turns": {"family": "llama", **SIZE, "rotary": 0.5},
    "gpt2, experts": {"family": "gpt2", **SIZE, "mlp_ratio": 0.25, "experts": EXPERTS},
}


def objective(
    family: str,
    attention: str,
    context: int = T,
    compiled: bool = False,
    documents: bool = False,
    precision: str = "fp32",
):
    """Of a model whose attention matters: weights ten times as large as at the start."""
    model = build_model(model_of({**FAMILIES[family], "init_std": 0.2}), V, context, seed=1, attention=attention)
    return Objective(model, context, precision, compiled, document_mask=documents)


def gradient(objective: Objective, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return objective.gradient(objective.initial_vector(), inputs, targets)


def windows() -> tuple[Tensor, Tensor]:
    """Two windows of whole documents of several lengths, each after its EOS."""
    stream = torch.randint(1, V, (2 * T + 1,), generator=torch.Generator().manual_seed(3))
    stream[[0, 9, 40, T, T + 1, T + 33, 2 * T]] = EOS_ID
    return stream[:-1].view(2, T), stream[1:].view(2, T)


@pytest.mark.parametrize("attention", ["fused", "short"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("documents", [False, True], ids=["whole windows", "documents apart"])
def test_other_kernels_give_the_loss_and_gradient_of_eager(family: str, documents: bool, attention: str) -> None:
    (slope, loss), (other_slope, other_loss) = (
        gradient(objective(family, kernel, documents=documents), *windows()) for kernel in ("eager", attention)
    )
    assert abs(loss - other_loss) < 1e-5
    torch.testing.assert_close(other_slope, slope, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("family", "precision"), [*((family, "fp32") for family in FAMILIES), ("gpt2", "bf16")])
def test_short_attention_is_one_graph_with_the_rest_and_gives_what_it_gives_eagerly(
    family: str, precision: str
) -> None:
    """Compiled, the kernels turn queries and keys; uncompiled, transformers does, before and after alike."""
    rows = [stream.reshape(-1, 16)[:8] for stream in windows()]
    ours = objective(family, "short", 16, compiled=True, precision=precision)
    eager = objective(family, "short", 16, precision=precision)
    (slope, loss), (other_slope, other_loss), again = (
        gradient(one, *rows) for one in (ours, eager, objective(family, "short", 16, precision=precision))
    )
    tolerance = {"fp32": 1e-5, "bf16": 2e-2}[precision]
    assert abs(loss - other_loss) < tolerance
    assert (slope - other_slope).norm() < 10 * tolerance * slope.norm()
    assert again[0].equal(other_slope)
    assert ours._loss.turned_by_kernels


def test_positions_are_transformers_own_where_its_function_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [stream.reshape(-1, 16)[:8] for stream in windows()]
    expected, _ = gradient(objective("gpt2", "short", 16), *rows)
    monkeypatch.setattr("capacity.models.short_attention._ROTATE", "rotate")
    slope, _ = gradient(objective("gpt2", "short", 16, compiled=True), *rows)
    torch.testing.assert_close(slope, expected, rtol=1e-3, atol=1e-5)


def test_fused_attention_takes_no_mask_even_where_torch_compile_looks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fastest kernels take none; transformers makes one for its own `sdpa` there, on torch before 2.14."""
    seen = []
    real = torch.nn.functional.scaled_dot_product_attention

    def attention(*arguments: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False, **more: Any) -> Tensor:
        seen.append((attn_mask, is_causal))
        return real(*arguments, attn_mask=attn_mask, is_causal=is_causal, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)
    monkeypatch.setattr("transformers.masking_utils.is_torchdynamo_exporting", lambda: True)
    gradient(objective("mistral, shared keys", "fused"), *windows())
    assert seen == [(None, True)] * SIZE["l"]


class Batches:
    """Those two windows as a step."""

    def steps(self, first: int, count: int) -> list[Any]:
        return [array[None].numpy() for array in windows()]


def test_other_kernels_count_as_the_products_of_eager() -> None:
    counts = []
    for attention in ("eager", "fused", "short"):
        ours = objective("gpt2", attention)
        counts.append(
            flops_a_token(
                SimpleNamespace(batches=Batches(), objective=ours, vector=ours.initial_vector(), device="cpu")
            )
        )
    assert counts[0] == counts[1] == counts[2]


@pytest.mark.parametrize("attention", ["eager", "fused", "short"])
@pytest.mark.parametrize("family", [family for family in FAMILIES if "experts" not in family])
def test_documents_apart_have_the_losses_of_documents_alone(family: str, attention: str) -> None:
    inputs, targets = windows()
    together = gradient(objective(family, attention, documents=True), inputs, targets)[1]
    assert abs(together - gradient(objective(family, attention), inputs, targets)[1]) > 1e-3  # a mask matters
    documents = [
        range(*pair) for pair in itertools.pairwise([*(inputs.flatten() == EOS_ID).nonzero().flatten(), 2 * T])
    ]
    alone = torch.full((len(documents), T), EOS_ID), torch.full((len(documents), T), IGNORED)
    for row, document in enumerate(documents):
        for apart, stream in zip(alone, (inputs, targets), strict=True):
            apart[row, : len(document)] = stream.flatten()[document.start : document.stop]
    assert abs(together - gradient(objective(family, attention), *alone)[1]) < 1e-5
