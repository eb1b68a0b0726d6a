"""The kernels for short rows give what causal attention is, in float64, and its gradient."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb

from capacity.kernels import library
from capacity.models.short_attention import Rotation, _interface, attend

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 64), st.integers(1, 64))


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    library.load()


def tensors(B: int, H: int, T: int, D: int, num: int, spread: float = 1.0, seed: int = 0) -> list[Tensor]:
    """Some (B, H, T, D), views as a model has them: a token's heads stand beside one another."""
    generator = torch.Generator().manual_seed(seed)
    return [(spread * torch.randn(B, T, H, D, generator=generator)).transpose(1, 2) for _ in range(num)]


def plain(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """The definition, in float64: (B, T, H, D)."""
    query, key, value = query.double(), key.double(), value.double()
    future = torch.ones(query.shape[2], query.shape[2], dtype=torch.bool).triu(1)
    scores = (scale * query @ key.transpose(2, 3)).masked_fill(future, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


def with_slopes(function, parts: list[Tensor], slope: Tensor, scale: float) -> list[Tensor]:
    """The function of query, key and value, and the gradient of its product with `slope` by each."""
    leaves = [part.detach().clone(memory_format=torch.preserve_format).requires_grad_() for part in parts]
    out = function(*leaves, scale)
    return [out.detach(), *torch.autograd.grad(out, leaves, slope.to(out.dtype))]


@settings(max_examples=60, deadline=None)
@given(size=SIZES, seed=st.integers(0, 99), spread=st.sampled_from([0.1, 1.0, 3.0]))
def test_output_and_gradient_are_those_of_the_definition(size: tuple[int, ...], seed: int, spread: float) -> None:
    *parts, slope = tensors(*size, num=4, spread=spread, seed=seed)
    slope, scale = slope.transpose(1, 2), size[3] ** -0.5
    summed = (
        spread,
        spread**3,
        spread**3,
        spread,
    )  # the size of what output, queries', keys' and values' slopes add up
    for ours, theirs, added in zip(
        with_slopes(attend, parts, slope, scale), with_slopes(plain, parts, slope, scale), summed, strict=True
    ):
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-4, atol=1e-5 * added)


@pytest.mark.parametrize("size", [(2, 2, 12, 8), (1, 2, 40, 14)])
def test_scores_that_no_exponential_holds_are_as_good(size: tuple[int, ...]) -> None:
    parts = tensors(*size, num=3, spread=100.0)
    torch.testing.assert_close(attend(*parts, 1.0).double(), plain(*parts, 1.0), rtol=1e-4, atol=1e-3)


def test_parts_of_one_product_are_read_where_they_stand() -> None:
    """As GPT-NeoX has them: query, key and value of a head beside one another, and as a Llama's shared key."""
    whole = torch.randn(3, 12, 2, 24, generator=torch.Generator().manual_seed(1)).transpose(1, 2)
    parts = whole.chunk(3, dim=-1)
    assert not any(part.is_contiguous() for part in parts)
    torch.testing.assert_close(attend(*parts, 0.5).double(), plain(*parts, 0.5), rtol=1e-5, atol=1e-5)
    shared = whole[:, :1, :, 8:16].expand(3, 2, 12, 8)
    ours, theirs = (function(parts[0], shared, parts[2], 0.5) for function in (attend, plain))
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)


def tables(T: int, R: int) -> Rotation:
    """Of which no two numbers are alike, so that one taken for another is seen."""
    cos, sin = torch.randn(2, T, R, generator=torch.Generator().manual_seed(7))
    return Rotation(cos, sin)


@settings(max_examples=40, deadline=None)
@given(size=SIZES, share=st.floats(0, 1), in_heads=st.booleans())
def test_queries_and_keys_turn_as_in_transformers(size: tuple[int, ...], share: float, in_heads: bool) -> None:
    """All channels of a head or some, and their gradients, wherever these are put."""
    *parts, slope = tensors(*size, num=4)
    slope, scale = slope.transpose(1, 2), size[3] ** -0.5
    rotation = tables(size[2], 2 * int(share * size[3] / 2))

    def turned(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        query, key = apply_rotary_pos_emb(query.double(), key.double(), *(table[None].double() for table in rotation))
        return plain(query, key, value, scale)

    ours = with_slopes(partial(attend, rotation=rotation, in_heads=in_heads), parts, slope, scale)
    for one, other in zip(ours, with_slopes(turned, parts, slope, scale), strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=1e-3, atol=1e-4)


def test_positions_of_another_shape_are_refused() -> None:
    parts = tensors(1, 1, 12, 8, num=3)
    for rotation in (tables(11, 8), tables(12, 10), tables(12, 7), Rotation(tables(12, 8).cos, tables(12, 6).sin)):
        with pytest.raises(RuntimeError, match="rotary positions of another shape"):
            attend(*parts, 1.0, rotation)


def test_channels_that_do_not_stand_together_are_read_all_the_same() -> None:
    parts = tensors(2, 2, 12, 8, num=3)
    apart = [part.transpose(2, 3).contiguous().transpose(2, 3) for part in parts]
    assert {part.stride(3) for part in apart} == {12}
    slope = torch.randn(2, 8, 2, 12, generator=torch.Generator().manual_seed(3)).permute(0, 3, 2, 1)
    ours, expected = (with_slopes(attend, given, slope, 0.5) for given in (apart, parts))
    assert all(one.equal(other) for one, other in zip(ours, expected, strict=True))


def test_what_is_no_number_stays_so_and_in_its_row() -> None:
    query, key, value = tensors(3, 2, 12, 8, num=3)
    clean = attend(query, key, value, 1.0)
    query[1, 0, 5, 2] = torch.nan
    dirty = attend(query, key, value, 1.0)
    assert dirty[1, 5, 0].isnan().all()
    dirty[1, 5, 0] = clean[1, 5, 0]
    assert dirty.equal(clean)


def test_the_future_changes_no_bit() -> None:
    query, key, value = tensors(1, 2, 20, 8, num=3)
    before = attend(query, key, value, 1.0)
    for part in (query, key, value):
        part[:, :, 13:] = 1e9
    assert attend(query, key, value, 1.0)[:, :13].equal(before[:, :13])


@pytest.mark.parametrize(("T", "D", "masked"), [(65, 8, False), (12, 65, False), (12, 8, True)])
def test_what_the_kernels_do_not_take_is_attended_all_the_same(T: int, D: int, masked: bool) -> None:
    parts = tensors(2, 2, T, D, num=3)
    allowed = torch.ones(2, 1, T, T, dtype=torch.bool).tril() if masked else None
    module = torch.nn.Module()
    module.is_causal = True
    out, _ = _interface(module, *parts, allowed, 0.5)
    torch.testing.assert_close(out.double(), plain(*parts, 0.5), rtol=1e-4, atol=1e-5)
    query, key, value = parts
    rotation = tables(T, D // 2 * 2)
    out, _ = _interface(module, *parts, allowed, 0.5, rotation)
    turned = apply_rotary_pos_emb(query, key, *(table[None] for table in rotation))
    torch.testing.assert_close(out.double(), plain(*turned, value, 0.5), rtol=1e-4, atol=1e-4)


def test_more_tokens_or_channels_than_the_kernels_hold_are_refused_by_themselves() -> None:
    for T, D in ((65, 8), (12, 65)):
        with pytest.raises(RuntimeError, match="too many tokens or channels"):
            attend(*tensors(1, 1, T, D, num=3), 1.0)


def test_another_process_has_the_same_bits() -> None:
    code = (
        "import torch; from capacity.kernels.library import load; load()\n"
        "from capacity.models.short_attention import attend\n"
        "parts = [torch.randn(4, 2, 13, 9, generator=torch.Generator().manual_seed(i)) for i in range(3)]\n"
        "print(attend(*parts, 0.3).double().sum().item().hex())"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout


@pytest.mark.parametrize("compiler", ["/nowhere/g++", "/bin/false"])
def test_without_a_compiler_it_is_said_what_to_do(compiler: str, tmp_path: Path) -> None:
    code = "from capacity.kernels.library import load; load()"
    nothing = {"CXX": compiler, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | nothing)
    assert "UserError: compile: true needs kernels that cannot be compiled" in run.stderr
    assert "install g++ 11 or newer, or set compile: false" in run.stderr
