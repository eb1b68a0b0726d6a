"""Post-training quantisation of weights; the result is dequantised, in the checkpoint's own dtype and layout.

Which tensors: every 2-D floating-point tensor, the embedding (and so a tied head) included. Biases and norms
keep their dtype. Rows are dim 0 of the stored tensor, also where a layout is transposed (GPT-2's Conv1D).

Integer grid of b bits: levels -2^(b-1) .. 2^(b-1)-1, scale = max|w| / ((2^b - 1) / 2), and the code is
round(w * (1/scale)), ties to even, then clamped. It is the symmetric grid of torchao (MappingType.SYMMETRIC),
of compressed-tensors and of GPTQ's own code. The largest weight lies half a step outside the top level.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from capacity.errors import UserError

State = dict[str, Tensor]
SCALE_BITS = 32  # one fp32 scale a row
MIN_BITS, MAX_BITS = 2, 8


def quantize_state(state: State, scheme: dict[str, Any]) -> tuple[State, dict[str, Any]]:
    """Quantises a checkpoint's tensors as the scheme says; also reports what was done to each tensor.

    state: names to tensors, as loaded from model.safetensors or model.state_dict(); it is not changed. Names
    that share memory (a tied head) share it in the result too and are counted once, under the first name.
    scheme: {"method": "none"} or {"method": "rtn", "bits": 2..8}.
    Report (JSON-able): num_weights; stored_bits, scales included; stored_bits_per_weight, their ratio, which
    bounds R; and for each tensor bits, num_scales, num_weights, relative_error (Frobenius) and stored_bits.
    Raises UserError for an unknown method or option, an impossible bit width, NaN or infinite weights.
    """
    quantize_matrix, bits = _resolve_scheme(scheme)
    quantised: State = {}
    tensors: dict[str, dict[str, Any]] = {}
    first_with_memory: dict[tuple, str] = {}
    for name, weight in state.items():
        twin = first_with_memory.setdefault(_memory_of(weight), name)
        if twin != name:
            quantised[name] = quantised[twin]
            continue
        _refuse_broken(name, weight)
        if quantize_matrix is not None and weight.ndim == 2 and weight.is_floating_point():
            quantised[name] = quantize_matrix(weight)
            tensors[name] = _describe(weight, quantised[name], bits, num_scales=weight.shape[0])
        else:
            quantised[name] = weight
            tensors[name] = _describe(weight, weight, 8 * weight.element_size(), num_scales=0)
    return quantised, _total(tensors)


def round_to_nearest(weight: Tensor, bits: int) -> Tensor:
    """Rounds each row of a matrix to its own symmetric integer grid, without calibration.

    weight: float (rows, columns). Returns the dequantised weights in the same dtype; arithmetic is in fp32.
    A row of zeros stays zero.
    """
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    weight_RC = weight.float()
    scale_R1 = weight_RC.abs().amax(dim=1, keepdim=True) / ((highest - lowest) / 2)
    scale_R1 = scale_R1.clamp_min(torch.finfo(torch.float32).tiny)  # a row of zeros has no scale
    codes_RC = torch.round(weight_RC * scale_R1.reciprocal()).clamp(lowest, highest)
    return (codes_RC * scale_R1).to(weight.dtype)


def _resolve_scheme(scheme: dict[str, Any]) -> tuple[Callable[[Tensor], Tensor] | None, int]:
    """The function that quantises one matrix (None: leave it) and the bits of a quantised weight."""
    match scheme:
        case {"method": "none", **others} if not others:
            return None, 0
        case {"method": "rtn", "bits": int(bits), **others} if not others and MIN_BITS <= bits <= MAX_BITS:
            return lambda weight: round_to_nearest(weight, bits), bits
    raise UserError(
        f'quantisation scheme {scheme}: use {{"method": "none"}} or {{"method": "rtn", "bits": b}} '
        f"with b from {MIN_BITS} to {MAX_BITS}"
    )


def _memory_of(weight: Tensor) -> tuple:
    """What the names of one tied tensor have in common; an empty tensor owns no memory and is never tied."""
    if weight.numel() == 0:
        return (id(weight),)
    return (weight.device, weight.data_ptr(), weight.dtype, weight.shape, weight.stride())


def _refuse_broken(name: str, weight: Tensor) -> None:
    num_broken = weight.numel() - int(torch.isfinite(weight).sum())
    if num_broken:
        raise UserError(
            f"weight {name}: {num_broken} of {weight.numel()} values are NaN or infinite; "
            "the training diverged, so train it again with a smaller learning rate"
        )


def _describe(weight: Tensor, quantised: Tensor, bits: int, num_scales: int) -> dict[str, Any]:
    norm = float(weight.double().norm())
    error = float((quantised.double() - weight.double()).norm())
    return {
        "bits": bits,
        "num_scales": num_scales,
        "num_weights": weight.numel(),
        "relative_error": error / norm if norm else 0.0,
        "stored_bits": bits * weight.numel() + SCALE_BITS * num_scales,
    }


def _total(tensors: dict[str, dict[str, Any]]) -> dict[str, Any]:
    num_weights = sum(tensor["num_weights"] for tensor in tensors.values())
    stored_bits = sum(tensor["stored_bits"] for tensor in tensors.values())
    return {
        "num_weights": num_weights,
        "stored_bits": stored_bits,
        "stored_bits_per_weight": stored_bits / num_weights,
        "tensors": tensors,
    }
