"""Rounding and GPTQ against the stored numbers of torchao and llm-compressor; `make crosscheck` makes them anew."""

import json
import sys
from pathlib import Path

import pytest
import torch
from quantizers import round_to_nearest, scheme_of

sys.path.insert(0, str(Path(__file__).parents[1] / "crosscheck"))

from crosscheck_models import PIPELINES, linear_layers, matrix, model_of, tokens

from capacity.quantization.calibration import input_moments
from capacity.quantization.gptq import gptq, layer_error
from capacity.quantization.quantize import quantize_model
from capacity.quantization.rounding import make_grid

STORED = json.loads((Path(__file__).parents[1] / "crosscheck" / "references.json").read_text())


@pytest.mark.parametrize(("bits", "symmetric", "group", "values"), STORED["rtn"])
def test_rounding_to_nearest_is_torchaos(bits, symmetric, group, values):
    scheme = scheme_of(bits, symmetric=symmetric, group=group)
    torch.testing.assert_close(round_to_nearest(matrix(), scheme.numbers), torch.tensor(values), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("family", "bits", "group", "act_order", "errors"), STORED["gptq"])
def test_layer_errors_of_gptq_are_within_3_percent_of_llm_compressors(family, bits, group, act_order, errors):
    original = model_of(family)
    scheme = scheme_of(bits, "gptq", group=group, act_order=act_order, tensors=["linear"])
    before = linear_layers(original)
    moments = input_moments(original, before.values(), [tokens()])
    sums = {name: moments.sums[weight.data_ptr()] for name, weight in before.items()}
    if PIPELINES[family] == "sequential":
        after = linear_layers(quantize_model(original, scheme, [tokens()])[0])
    else:
        grids = {name: make_grid(weight, scheme.numbers) for name, weight in before.items()}
        after = {name: gptq(before[name], grids[name], sums[name], 0.01, act_order) for name in before}
    ratios = {name: layer_error(before[name], after[name], sums[name]) / errors[name] for name in before}
    assert ratios.keys() == errors.keys()
    assert all(abs(ratio - 1) < 0.03 for ratio in ratios.values()), ratios
