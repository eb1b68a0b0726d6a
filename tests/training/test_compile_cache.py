"""Where compiled code is kept: apart for each kind of processor, and never where others can put theirs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from capacity.artefacts.identity import SCRIPTS
from capacity.errors import UserError
from capacity.kernels.compile_cache import TEMPORARY, VARIABLE, use_folder_of_processor


def folder(monkeypatch: pytest.MonkeyPatch, given: Path, capability: str = "") -> Path:
    """Where a process keeps it that is told to keep it in `given`."""
    monkeypatch.setenv(VARIABLE, str(given))
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", capability)
    use_folder_of_processor()
    return Path(os.environ[VARIABLE])


def test_each_kind_of_processor_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = (folder(monkeypatch, tmp_path, capability) for capability in ("avx512", "avx2"))
    assert mine.parent == other.parent == tmp_path
    assert mine != other
    assert folder(monkeypatch, mine, "avx512") == mine, "as a process finds it that another one started"


def test_among_temporary_files_it_is_mine_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / f"{TEMPORARY}0123"
    assert folder(monkeypatch, place).parent == place
    assert place.stat().st_mode & 0o777 == 0o700
    folder(monkeypatch, place)
    place.chmod(0o777)
    with pytest.raises(UserError, match="others can write to it; remove it, or set TORCHINDUCTOR_CACHE_DIR"):
        folder(monkeypatch, place)
    place.rmdir()
    place.symlink_to(tmp_path)
    with pytest.raises(UserError, match="others can write to it"):
        folder(monkeypatch, place)


LOSS = """
import json
import torch
from capacity.models.architectures import paper_model
from capacity.models.build import build_model
from capacity.training.objective import Objective
model = build_model(paper_model("gpt2", l=1, h=1, head_dim=4), 9, 5, 1, "short")
objective = Objective(model, 5, "fp32", True)
gradient, loss = objective.gradient(objective.initial_vector(), *torch.arange(20).view(2, 2, 5) % 9)
print(json.dumps([torch.backends.cpu.get_cpu_capability(), loss.item(), gradient.norm().item()]))
"""


@pytest.mark.long
def test_nodes_of_two_kinds_share_a_cache_and_compute_the_same(tmp_path: Path) -> None:
    """What one kind compiled would crash on the other, or give no number."""
    found = []
    for capability in ("default", "avx2", "default"):
        environment = {**os.environ, VARIABLE: str(tmp_path), "PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": "1"}
        environment |= {} if capability == "default" else {"ATEN_CPU_CAPABILITY": capability}
        answer = subprocess.run([sys.executable, "-c", LOSS], env=environment, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr[-2000:]
        found.append(json.loads(answer.stdout))
    (kind, *first), (other, *second), (again, *third) = found
    assert first == third
    assert kind == again
    assert second == pytest.approx(first, rel=1e-4)
    if kind != other:
        assert len(list(tmp_path.iterdir())) == 2
