"""A model with fewer bits a weight: dequantised values in its own layout, and what was done to each tensor.

Biases, norms and whatever the scheme does not name keep their values, or are rounded to a 16-bit format where
it says so. A tensor is counted once, under the first of its names.
"""

import copy
import math
import re
import statistics
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from capacity.errors import UserError
from capacity.quantization.calibration import Batches, InputMoments, input_moments
from capacity.quantization.gptq import gptq, layer_error
from capacity.quantization.rounding import DTYPES, RoundingGrid, make_grid
from capacity.quantization.spec import Gptq, HalfPrecision, Numbers, Scheme, Unquantized, weight_bits
from capacity.quantization.tensors import TIED, Place, chosen_places, places_of

SCALE_BITS = {"fp32": 32, "fp16": 16, "bf16": 16}
NO_PRODUCTS = ("embeddings", TIED, "other")  # no matrix products that GPTQ could keep: rounded to nearest

Report = dict[str, Any]


@torch.no_grad()
def quantize_model(
    model: PreTrainedModel, scheme: Scheme, batches: Batches | None = None
) -> tuple[PreTrainedModel, Report, dict[str, Tensor]]:
    """A quantised copy of a model, a report, and the scales and zero points by tensor name.

    batches: biographies as token ids, for GPTQ. GPTQ takes the tensors in the order of the flow and calibrates
    each layer on inputs that come through the quantised layers before it. Embeddings are rounded to nearest.
    Report (JSON-able): num_weights; stored_bits, everything counted; stored_bits_per_weight, their ratio, which
    bounds R; bits_per_weight, without scales, the mean over the tensors that the scheme names, or over all where it
    quantises none; and for each tensor what `describe` says. Raises UserError where the scheme does not fit the model
    or the text, for NaN or infinite weights, and where a tensor ends up otherwise than the scheme says.
    """
    _refuse_broken(model)
    quantised = copy.deepcopy(model)
    places = {place.name: place for place in places_of(model)}
    chosen = _chosen(model, scheme)
    work = _Work(quantised, scheme, batches)
    for _, stage in groupby(chosen, key=_stage):
        work.quantise(list(stage))
    work.round_rest([name for name in places if name not in work.grids])
    check_quantised(model, quantised, scheme, work.grids)
    before, after = dict(model.named_parameters()), dict(quantised.named_parameters())
    tensors = {name: work.describe(place, before[name], after[name]) for name, place in places.items()}
    return quantised, _total(tensors, [place.name for place in chosen or places.values()]), work.parts()


@torch.no_grad()
def check_fits(model: PreTrainedModel, scheme: Scheme, batches: Batches) -> None:
    """Raise UserError where a scheme cannot be applied to a model, whatever its weights are.

    batches: token ids, more of them than the widest layer has inputs. Nothing is solved for: every grid is laid, and
    GPTQ must see the products that it calibrates.
    """
    quantize_model(model, scheme.to_nearest() if isinstance(scheme, Gptq) else scheme)
    if isinstance(scheme, Gptq):
        work = _Work(model, scheme, batches)
        work.moments(work.calibrated_places(chosen_places(model, scheme)))


def _chosen(model: PreTrainedModel, scheme: Scheme) -> list[Place]:
    return [] if isinstance(scheme, Unquantized) else chosen_places(model, scheme)


def _rest(scheme: Scheme) -> str | None:
    return None if isinstance(scheme, Unquantized) else scheme.rest


def _stage(place: Place) -> str:
    """Tensors of one layer are calibrated together, as the published tools do; the rest one at a time."""
    layer = re.match(r".*?\.\d+\.", place.name)
    return layer[0] if layer else place.name


class _Work:
    """The quantisation of one model under way."""

    def __init__(self, model: PreTrainedModel, scheme: Scheme, batches: Batches | None):
        self.model, self.scheme, self.batches = model, scheme, batches
        self.rest = _rest(scheme)
        self.parameters = dict(model.named_parameters())
        self.grids: dict[str, list[RoundingGrid]] = {}  # one a matrix
        self.calibrated: dict[str, Report] = {}

    def quantise(self, stage: list[Place]) -> None:
        """Round the tensors of a stage in place."""
        assert not isinstance(self.scheme, Unquantized), "it names no tensors"
        calibrate = self.calibrated_places(stage)
        moments = self.moments(calibrate) if calibrate else None
        for place in stage:
            matrices = self._matrices(place)
            try:
                grids = [make_grid(matrix, self.scheme.numbers) for matrix in matrices]
            except UserError as error:
                raise UserError(f"{place.name}: {error}") from None
            self.grids[place.name] = grids
            if moments and isinstance(self.scheme, Gptq) and place in calibrate:
                self.calibrated[place.name] = _calibrated(matrices, grids, moments, self.scheme)
            else:
                for matrix, grid in zip(matrices, grids, strict=True):
                    matrix.copy_(grid.snap(matrix))

    def _matrices(self, place: Place) -> list[Tensor]:
        return place.matrices(self.parameters[place.name].detach())

    def calibrated_places(self, places: list[Place]) -> list[Place]:
        """Those that GPTQ calibrates; the others are rounded to nearest."""
        return [place for place in places if isinstance(self.scheme, Gptq) and place.role not in NO_PRODUCTS]

    def moments(self, places: list[Place]) -> InputMoments:
        """What GPTQ needs of the inputs of some tensors. Raises UserError where too little of them is seen."""
        if not self.batches:
            raise UserError("calibration: no biographies; gptq needs the run's own text")
        moments = input_moments(self.model, [m for place in places for m in self._matrices(place)], self.batches)
        for place in places:  # an expert sees what the router sends it: all experts together must see enough
            matrices = self._matrices(place)
            tokens, width = sum(moments.counts[matrix.data_ptr()] for matrix in matrices), matrices[0].shape[1]
            if tokens == 0:
                raise UserError(f"{place.name}: no product with it is seen, which gptq needs; use method: rtn")
            if tokens < width:
                raise UserError(
                    f"calibration: {tokens} tokens reach {place.name}, fewer than its {width} inputs; raise it, "
                    "take more people, or use method: rtn"
                )
        return moments

    def round_rest(self, names: list[str]) -> None:
        """Round what the scheme does not quantise to its 16-bit format, where it has one."""
        if self.rest:
            for name in names:
                self.parameters[name].copy_(self.parameters[name].to(DTYPES[self.rest]))

    def describe(self, place: Place, before: Tensor, after: Tensor) -> Report:
        """Role, method, bits of a weight, counts, relative error (Frobenius), stored bits; layer errors of GPTQ."""
        grids = self.grids.get(place.name)
        if grids is None:
            bits: float = 16 if self.rest else 8 * before.element_size()
            counts, method = {"num_scales": 0, "num_zeros": 0}, self.rest or "none"
            stored = bits * before.numel()
        else:
            numbers = grids[0].numbers
            bits, method = weight_bits(numbers), "gptq" if place.name in self.calibrated else "rtn"
            counts = {f"num_{part}s": sum(_count(grid, part) for grid in grids) for part in ("scale", "zero")}
            stored = _code_bits(before.numel(), numbers) + counts["num_zeros"] * math.ceil(bits)
            if not isinstance(numbers, HalfPrecision):
                stored += counts["num_scales"] * SCALE_BITS[numbers.scale_format]
        norm, error = float(before.double().norm()), float((after.double() - before.double()).norm())
        return {
            "role": place.role,
            "method": method,
            "bits": bits,
            "num_weights": before.numel(),
            **counts,
            "stored_bits": stored,
            "relative_error": error / norm if norm else 0.0,
            **self.calibrated.get(place.name, {}),
        }

    def parts(self) -> dict[str, Tensor]:
        """Scales (R or 1, G) and zero points by `<tensor>.scale` and `<tensor>.zero`; experts' stacked."""
        found = {}
        for name, grids in self.grids.items():
            for part in ("scale", "zero"):
                tensors = [getattr(grid, part) for grid in grids]
                if tensors[0] is not None:
                    found[f"{name}.{part}"] = (tensors[0] if len(tensors) == 1 else torch.stack(tensors)).contiguous()
        return found


def _calibrated(matrices: list[Tensor], grids: list[RoundingGrid], moments: InputMoments, scheme: Gptq) -> Report:
    """GPTQ of the matrices of one tensor, in place; errors are of the worst matrix, tokens of the rarest."""
    errors, nearest_errors = [], []
    for matrix, grid in zip(matrices, grids, strict=True):
        moment_CC = moments.sums[matrix.data_ptr()]
        snapped_RC = gptq(matrix, grid, moment_CC, scheme.damping, scheme.act_order)
        errors.append(layer_error(matrix, snapped_RC, moment_CC))
        nearest_errors.append(layer_error(matrix, grid.snap(matrix), moment_CC))
        matrix.copy_(snapped_RC)
    return {
        "layer_error": max(errors),
        "layer_error_rtn": max(nearest_errors),
        "calibration_tokens": min(moments.counts[matrix.data_ptr()] for matrix in matrices),
    }


def check_quantised(
    model: PreTrainedModel, quantised: PreTrainedModel, scheme: Scheme, grids: dict[str, list[RoundingGrid]]
) -> None:
    """Raise UserError where a tensor was to be quantised and was not, or the other way round."""
    chosen, rest = {place.name for place in _chosen(model, scheme)}, _rest(scheme)
    after = dict(quantised.named_parameters())
    for place in places_of(model):
        weight, before = after[place.name].detach(), model.get_parameter(place.name).detach()
        if place.name in chosen:
            matrices = place.matrices(weight)
            on_grid = place.name in grids and all(
                torch.equal(grid.snap(matrix).to(matrix.dtype), matrix)
                for grid, matrix in zip(grids[place.name], matrices, strict=True)
            )
            if not on_grid:
                raise UserError(f"{place.name}: was to be quantised and is not on its grid")
        else:
            kept = before.to(DTYPES[rest]).to(before.dtype) if rest else before
            if not torch.equal(weight, kept):
                raise UserError(f"{place.name}: was not to be quantised and was changed")


def _count(grid: RoundingGrid, part: str) -> int:
    tensor = getattr(grid, part)
    return 0 if tensor is None else tensor.numel()


def _code_bits(num_weights: int, numbers: Numbers) -> int:
    """Bits of the codes of a tensor; ternary ones come five to a byte."""
    if numbers.format == "ternary":
        return 8 * math.ceil(num_weights / 5)
    return int(weight_bits(numbers)) * num_weights


def _refuse_broken(model: PreTrainedModel) -> None:
    for name, weight in model.named_parameters():
        num_broken = weight.numel() - int(torch.isfinite(weight).sum())
        if num_broken:
            raise UserError(
                f"weight {name}: {num_broken} of {weight.numel()} values are NaN or infinite; "
                "the training diverged, so train it again with a smaller learning rate"
            )


def _total(tensors: dict[str, Report], named: list[str]) -> Report:
    bits, counts = ([tensors[name][key] for name in named] for key in ("bits", "num_weights"))
    num_weights = sum(tensor["num_weights"] for tensor in tensors.values())
    stored_bits = sum(tensor["stored_bits"] for tensor in tensors.values())
    return {
        "num_weights": num_weights,
        "stored_bits": stored_bits,
        "stored_bits_per_weight": stored_bits / num_weights,
        "bits_per_weight": round(statistics.fmean(bits, counts), 6),
        "tensors": tensors,
    }
