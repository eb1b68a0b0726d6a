"""Grids of quantised weights against torchao's and PyTorch's own quantisers, and planted matrices."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from quantizers import changed, numbers_of, round_to_nearest
from torch.ao.quantization.observer import PerChannelMinMaxObserver

from capacity.errors import UserError
from capacity.quantization.rounding import make_grid

# weight.qdata and weight.scale of a Linear with WEIGHT after torchao 0.18.0's
# quantize_(linear, IntxWeightOnlyConfig(weight_dtype=torch.int<bits>, granularity=PerAxis(0)))
WEIGHT = [[0.7, -0.45, 0.1, 0.02], [-3.0, 1.4, 2.2, -0.1]]
TORCHAO = {
    2: ([[1, -1, 0, 0], [-2, 1, 1, 0]], [0.46666666865348816, 2.0]),
    3: ([[3, -2, 0, 0], [-4, 2, 3, 0]], [0.20000000298023224, 0.8571428656578064]),
    4: ([[7, -5, 1, 0], [-8, 4, 6, 0]], [0.09333333373069763, 0.4000000059604645]),
    5: ([[15, -10, 2, 0], [-16, 7, 11, -1]], [0.04516128823161125, 0.19354838132858276]),
    6: ([[31, -20, 4, 1], [-32, 15, 23, -1]], [0.02222222276031971, 0.095238097012043]),
    8: ([[127, -82, 18, 4], [-128, 60, 94, -4]], [0.0054901959374547005, 0.0235294122248888]),
}
FP4_LEVELS = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
FORMATS = [numbers_of(format=name) for name in ("ternary", "fp8", "fp4", "fp16", "bf16")]
FORMATS += [numbers_of(bits, symmetric=symmetric) for bits in (2, 3, 4, 8) for symmetric in (True, False)]


def matrix(rows=16, columns=24, dtype=torch.float32):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_rtn_gives_the_codes_and_scales_of_torchao(bits):
    codes, scales = (torch.tensor(values) for values in TORCHAO[bits])
    assert torch.equal(round_to_nearest(torch.tensor(WEIGHT), numbers_of(bits)), codes * scales[:, None])


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_rtn_agrees_with_pytorchs_observer_and_fake_quantiser(bits, symmetric):
    weight = matrix()
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)
    scheme, dtype = (
        (torch.per_channel_symmetric, torch.qint8) if symmetric else (torch.per_channel_affine, torch.quint8)
    )
    observer = PerChannelMinMaxObserver(
        ch_axis=0, quant_min=lowest, quant_max=highest, qscheme=scheme, dtype=dtype, eps=1e-12
    )
    observer(weight)
    scales, zeros = observer.calculate_qparams()
    expected = torch.fake_quantize_per_channel_affine(weight, scales, zeros.int(), 0, lowest, highest)
    rounded = round_to_nearest(weight, numbers_of(bits, symmetric=symmetric))
    torch.testing.assert_close(rounded, expected, rtol=1e-5, atol=1e-6)


@given(st.integers(2, 8), st.booleans(), st.integers(0, 2**31), st.floats(1e-6, 1e6))
def test_integers_move_no_weight_by_more_than_their_step_allows(bits, symmetric, seed, size):
    """Half a step; asymmetric ones up to a whole one at the ends, where the zero point was rounded."""
    weight = torch.randn(5, 9, generator=torch.Generator().manual_seed(seed)) * size
    rounded = round_to_nearest(weight, numbers_of(bits, symmetric=symmetric))
    ends = torch.stack([weight.amin(1), weight.amax(1), torch.zeros(5)])
    reach = 2 * weight.abs().amax(1) if symmetric else ends.amax(0) - ends.amin(0)
    step = reach[:, None] / (2**bits - 1)
    assert ((rounded - weight).abs() <= step * ((0.5 if symmetric else 1.0) + 1e-4)).all()
    assert all(len(set(row.tolist())) <= 2**bits for row in rounded)


def test_asymmetric_integers_hold_zero_and_follow_a_one_sided_row():
    weight = torch.tensor([[0.0, 1.0, 2.0, 3.0], [-3.0, -2.0, -1.0, 0.0]])
    assert torch.equal(round_to_nearest(weight, numbers_of(2, symmetric=False)), weight)


@pytest.mark.parametrize("numbers", FORMATS, ids=str)
def test_what_is_on_the_grid_stays_there(numbers):
    weight = matrix()
    grid = make_grid(weight, numbers)
    once = grid.snap(weight)
    assert torch.equal(grid.snap(once), once)
    columns = [grid.snap_column(weight[:, column], column) for column in range(weight.shape[1])]
    assert torch.equal(torch.stack(columns, dim=1), once)


def test_fp4_is_the_nearest_of_its_levels_with_ties_to_even_codes():
    weight = torch.cat([torch.linspace(-6, 6, 961), torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5])])[None]
    levels = torch.tensor(sorted({sign * level for level in FP4_LEVELS for sign in (1, -1)}))
    rounded = round_to_nearest(weight, numbers_of(format="fp4"))[0]
    assert set(rounded.tolist()) <= set(levels.tolist())
    nearest = (weight[0, :, None] - levels).abs().amin(1)
    assert torch.equal((rounded - weight[0]).abs(), nearest)
    assert rounded[-7:].tolist() == [0, 1, 1, 2, 2, 4, 4]  # OCP Microscaling Formats 1.0: ties to even


def test_fp8_takes_the_largest_weight_to_448_and_rounds_as_torch_does():
    weight = matrix()
    scale = weight.abs().amax(1, keepdim=True) / 448
    expected = (weight / scale).to(torch.float8_e4m3fn).float() * scale
    torch.testing.assert_close(round_to_nearest(weight, numbers_of(format="fp8")), expected)


@pytest.mark.parametrize(("name", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_16_bit_floats_are_casts(name, dtype):
    assert torch.equal(round_to_nearest(matrix(), numbers_of(format=name)), matrix().to(dtype).float())


def test_ternary_weights_are_the_mean_size_or_nothing():
    weight = torch.tensor([[1.0, -0.2, 0.5, -2.3]])
    assert torch.equal(round_to_nearest(weight, numbers_of(format="ternary")), torch.tensor([[1.0, -0.0, 0.0, -1.0]]))


@pytest.mark.parametrize("numbers", [s for s in FORMATS if s.format not in ("fp16", "bf16")], ids=str)
def test_a_group_is_a_row_of_its_own_and_a_tensor_one_long_row(numbers):
    weight = matrix(6, 24)
    by_group = round_to_nearest(weight, changed(numbers, group=8))
    assert torch.equal(by_group, round_to_nearest(weight.reshape(18, 8), numbers).reshape(6, 24))
    by_tensor = round_to_nearest(weight, changed(numbers, group="tensor"))
    assert torch.equal(by_tensor, round_to_nearest(weight.reshape(1, -1), numbers).reshape(6, 24))
    assert make_grid(weight, changed(numbers, group=8)).scale.shape == (6, 3)
    assert make_grid(weight, changed(numbers, group="tensor")).scale.shape == (1, 1)


def test_each_row_has_its_own_scale():
    weight = matrix()
    factors = 2.0 ** torch.arange(-8, 8)[:, None]
    rounded = round_to_nearest(weight, numbers_of(4))
    assert torch.equal(round_to_nearest(weight * factors, numbers_of(4)), rounded * factors)


@pytest.mark.parametrize(("name", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_scales_are_what_their_format_can_hold(name, dtype):
    scale = make_grid(matrix(), numbers_of(4, scale_format=name)).scale
    assert torch.equal(scale, make_grid(matrix(), numbers_of(4)).scale.to(dtype).float())


@pytest.mark.parametrize("scale_format", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("numbers", FORMATS, ids=str)
def test_a_row_of_zeros_stays_zero(numbers, scale_format):
    weight = matrix()
    weight[3] = 0
    rounded = round_to_nearest(weight, changed(numbers, scale_format=scale_format))
    assert (rounded[3] == 0).all()
    assert torch.isfinite(rounded).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtype_shape_and_input_are_kept(dtype):
    weight = matrix(dtype=dtype)
    before = weight.clone()
    rounded = round_to_nearest(weight, numbers_of(4))
    assert (rounded.dtype, rounded.shape) == (dtype, weight.shape)
    assert torch.equal(weight, before)


def test_a_group_that_does_not_divide_the_inputs_is_refused():
    with pytest.raises(UserError, match="group: 7 does not divide 24 inputs"):
        make_grid(matrix(), numbers_of(4, group=7))
