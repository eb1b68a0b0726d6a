"""Promises of a compiled function: later calls, which go past the guards, give what the function gives."""

import pytest
import torch
from torch import Tensor

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
