"""The example architectures are sound models: causal, built and quantised as every model of one's own is."""

from pathlib import Path

import pytest

from capacity.models.external_checks import check
from capacity.models.spec import FactoryModel

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "architectures"
SETTINGS = {
    "gru": [{}],
    "transformer": [
        *({"positions": positions} for positions in ("learned", "alibi", "none")),
        {"layers": 1, "loops": 2, "width": 24},
        {"convolution": 4},
    ],
}


def test_every_example_is_short_and_tested():
    files = {path.stem: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert set(files) == set(SETTINGS)
    assert max(files.values()) <= 100


@pytest.mark.parametrize(("name", "settings"), [(name, each) for name, all_of in SETTINGS.items() for each in all_of])
def test_an_example_can_be_trained_and_quantised(name: str, settings: dict):
    model = FactoryModel(python=f"examples.architectures.{name}:make", settings=settings)
    check(model)
