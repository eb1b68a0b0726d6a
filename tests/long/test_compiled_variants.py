"""Every variant of a model that is compiled is resumable to the bit, too. Compiling takes minutes."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from test_training_resume import VARIATIONS
from trainings import checkpoint_bytes, spec_of
from trainings import train as train_here

from capacity.jobs.stop import Interrupted
from capacity.training.executed import has_compiler

PAPERS = {name: pair for name, pair in VARIATIONS.items() if "family" in pair[0]}  # auto compiles no others


def train(root: Path, settings: dict[str, Any], **options: Any) -> None:
    """As in a process of its own, which has compiled nothing yet."""
    torch._dynamo.reset()
    train_here(root, settings, **options)


@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize(("model", "regime"), PAPERS.values(), ids=PAPERS)
def test_every_compiled_variation_gives_the_same_bits_whole_and_in_parts(
    model: dict, regime: dict, tmp_path: Path
) -> None:
    settings = spec_of(exposures=6, hardware={"compile": True}, **regime) | {"model": model}
    train(tmp_path / "straight", settings)
    for _ in range(2):
        with pytest.raises(Interrupted):
            train(tmp_path / "parts", settings, time_budget_seconds=0.0)
    train(tmp_path / "parts", settings)
    assert checkpoint_bytes(tmp_path / "parts") == checkpoint_bytes(tmp_path / "straight")
