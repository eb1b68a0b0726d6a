"""Every variant of a model that is compiled is repeatable and resumable to the bit, too. Compiling takes minutes."""

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
from capacity.plan.training_specs import has_compiler

PAPERS = {name: pair for name, pair in VARIATIONS.items() if "family" in pair[0]}  # auto compiles no others


def train(root: Path, settings: dict[str, Any], **options: Any) -> None:
    """As in a process of its own, which has compiled nothing yet."""
    torch._dynamo.reset()
    train_here(root, settings, **options)


@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize(("model", "regime"), PAPERS.values(), ids=PAPERS)
def test_every_compiled_variation_is_repeatable_and_resumable_to_the_bit(
    model: dict, regime: dict, tmp_path: Path
) -> None:
    settings = spec_of(exposures=6, hardware={"compile": True}, **regime) | {"model": model}
    train(tmp_path / "straight", settings)
    train(tmp_path / "again", settings)
    for _ in range(3):
        with pytest.raises(Interrupted):
            train(tmp_path / "parts", settings, time_budget_seconds=0.0)
    train(tmp_path / "parts", settings)
    straight = checkpoint_bytes(tmp_path / "straight")
    assert checkpoint_bytes(tmp_path / "again") == checkpoint_bytes(tmp_path / "parts") == straight
