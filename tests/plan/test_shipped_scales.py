"""Every study can be asked at every scale that is shipped, so that prune and a person can."""

from pathlib import Path

import pytest

from capacity.config.load import load_config
from capacity.plan.grid import resolve

ROOT = Path(__file__).resolve().parents[2]
SCALES = sorted((ROOT / "scales").glob("*.yaml"))


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_every_study_can_be_asked_at_a_shipped_scale(monkeypatch: pytest.MonkeyPatch, scale: Path):
    monkeypatch.chdir(ROOT)
    config = load_config([ROOT / "config.yaml", scale])
    for study in config.studies:
        assert resolve(config.model_copy(update={"study": [study]})).specs, study
