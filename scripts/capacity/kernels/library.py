"""All kernels as operators of torch: one file of C++, compiled by inductor's compiler and kept in its cache."""

import functools
import hashlib
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from capacity.errors import UserError
from capacity.kernels import attention, embedding, experts, loss, vectors
from capacity.kernels.compile_cache import use_folder_of_processor

_FRAME = r"""
#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cmath>
#include <cstring>

namespace {

using torch::stable::Tensor;
%s
}  // namespace

#define IMPLEMENT(name, device, library) STABLE_TORCH_LIBRARY_IMPL(name, device, library)

IMPLEMENT(NAMESPACE, CPU, library) {
  library.impl("attention", TORCH_BOX(&attention));
  library.impl("attention_backward", TORCH_BOX(&attention_backward));
  library.impl("mean_loss", TORCH_BOX(&mean_loss));
  library.impl("embedding_gradient", TORCH_BOX(&embedding_gradient));
  library.impl("expert_products", TORCH_BOX(&expert_products));
  library.impl("expert_sums", TORCH_BOX(&expert_sums));
}
"""

_SCHEMAS = (
    "attention(Tensor q, Tensor k, Tensor v, Tensor cos, Tensor sin, float scale) -> (Tensor, Tensor)",
    "attention_backward(Tensor g, Tensor q, Tensor k, Tensor v, Tensor weights, Tensor cos, Tensor sin, float scale, "
    "bool in_heads) -> Tensor",
    "mean_loss(Tensor logits, Tensor targets, int ignored) -> (Tensor, Tensor)",
    "embedding_gradient(Tensor slopes, Tensor tokens, int V) -> Tensor",
    "expert_products(Tensor rows, Tensor matrices, Tensor taken) -> Tensor",
    "expert_sums(Tensor left, Tensor right, Tensor taken) -> Tensor",
)
_defined: list[torch.library.Library] = []  # kept: with it the operators would go

operators: Any = None  # torch's, once they are loaded: not behind a call, which torch.compile would have to look into


@functools.cache
def load() -> None:
    """Make `operators`; not to be called first while torch.compile looks on. Raises UserError without a C++ compiler.

    Their names hold a digest of what they do, since torch's cache of graphs knows operators by name alone.
    """
    from torch._inductor.codecache import CppCodeCache  # a second to import

    use_folder_of_processor()
    source = _FRAME % "".join(part.SOURCE for part in (vectors, attention, loss, embedding, experts))
    name = f"capacity_{hashlib.sha256(repr((source, _SCHEMAS)).encode()).hexdigest()[:12]}"
    try:
        CppCodeCache.load(source, extra_flags=(f"-DNAMESPACE={name}", "-ffp-contract=fast"))
    except RuntimeError as error:
        raise UserError(
            f"compile: true needs kernels that cannot be compiled ({str(error).strip().splitlines()[0]}); "
            "install g++ 11 or newer, or set compile: false and attention: eager"
        ) from error
    _define(name)


def _define(name: str) -> None:
    """What the operators take and return. They read any strides, so that inductor need copy nothing for them."""
    library = torch.library.Library(name, "DEF")
    _defined.append(library)
    for schema in _SCHEMAS:
        library.define(schema, tags=(torch.Tag.flexible_layout,))
    global operators
    operators = getattr(torch.ops, name)

    @torch.library.register_fake(f"{name}::attention")
    def _(query_BHTD: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        B, H, T, D = query_BHTD.shape
        return query_BHTD.new_empty(B, T, H, D), query_BHTD.new_empty(B, H, T, -(-T // 16) * 16)

    @torch.library.register_fake(f"{name}::attention_backward")
    def _(slope_BTHD: Tensor, *others: Any) -> Tensor:
        B, T, H, D = slope_BTHD.shape
        return slope_BTHD.new_empty((B, T, H, 3, D) if others[-1] else (B, T, 3, H, D))

    @register_flop_formula(operators.attention)
    def _(shape: Any, *others: Any, **more: Any) -> int:
        B, H, T, D = shape
        return 2 * 2 * B * H * T * T * D

    @register_flop_formula(operators.attention_backward)
    def _(shape: Any, *others: Any, **more: Any) -> int:
        B, T, H, D = shape
        return 4 * 2 * B * H * T * T * D

    @torch.library.register_fake(f"{name}::mean_loss")
    def _(logits_NV: Tensor, targets_N: Tensor, ignored: int) -> tuple[Tensor, Tensor]:
        return logits_NV.new_empty(()), logits_NV.new_empty(logits_NV.shape)

    @torch.library.register_fake(f"{name}::embedding_gradient")
    def _(slopes_ND: Tensor, tokens_N: Tensor, V: int) -> Tensor:
        return slopes_ND.new_empty(V, slopes_ND.shape[1])

    @torch.library.register_fake(f"{name}::expert_products")
    def _(rows_ECd: Tensor, matrices_Edm: Tensor, taken_E: Tensor) -> Tensor:
        return rows_ECd.new_empty(*rows_ECd.shape[:2], matrices_Edm.shape[2])

    @torch.library.register_fake(f"{name}::expert_sums")
    def _(left_ECd: Tensor, right_ECm: Tensor, taken_E: Tensor) -> Tensor:
        return left_ECd.new_empty(left_ECd.shape[0], left_ECd.shape[2], right_ECm.shape[2])
