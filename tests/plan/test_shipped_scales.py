"""Every study can be asked at every scale that is shipped, so that prune and a person can."""

from pathlib import Path

import pandas as pd
import pytest

from capacity.config.load import load_config, read_yaml
from capacity.errors import UserError
from capacity.plan.context_checks import check_contexts
from capacity.plan.grid import resolve
from capacity.tables.claims import select

ROOT = Path(__file__).resolve().parents[2]
SCALES = sorted((ROOT / "scales").glob("*.yaml"))


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_every_study_can_be_asked_at_a_shipped_scale(monkeypatch: pytest.MonkeyPatch, scale: Path):
    monkeypatch.chdir(ROOT)
    config = load_config([ROOT / "config.yaml", scale])
    for study in config.studies:
        assert resolve(config.model_copy(update={"study": [study]})).specs, study


# Claims that a scale's studies leave open on purpose: our own question after 100 exposures, and shorter junk.
SHORT_SWEEPS = {f"sweep-{key}-short" for key in "KCDLT"}
LEFT_OUT = {"paper": SHORT_SWEEPS, "workstation": SHORT_SWEEPS | {"junk-600", "junk-1000", "tag-300"}}


@pytest.mark.parametrize("name", ["workstation", pytest.param("paper", marks=pytest.mark.long)])
def test_every_claim_finds_rows_at_the_scales_of_the_paper(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(ROOT)
    config = load_config([ROOT / "config.yaml", ROOT / "scales" / f"{name}.yaml"])
    own = set(read_yaml(ROOT / "scales" / f"{name}.yaml")["studies"])
    rows = pd.DataFrame(resolve(config.model_copy(update={"study": sorted(own)})).table.settings["rows"])
    rows = rows.assign(chosen=True, R=1.0, bits_per_weight=32.0)
    claims = read_yaml(ROOT / "claims.yaml")["claims"]
    selections = [(claim["id"], claim[part]) for claim in claims for part in ("of", "to") if claim.get(part)]
    lacking = {
        claim
        for claim, selection in selections
        if own & set(selection["study"])
        and select(rows, {key: value for key, value in selection.items() if key != "R_max_at_most"}).empty
    }
    assert lacking == LEFT_OUT[name]


@pytest.mark.parametrize("name", ["workstation", pytest.param("paper", marks=pytest.mark.long)])
def test_rates_of_which_the_best_counts_are_no_settings(name: str):
    """A rate that a study varies is a setting of its own, of which each counts."""
    assert "regime.lr" not in (ROOT / "scales" / f"{name}.yaml").read_text()


@pytest.mark.parametrize("name", ["workstation", pytest.param("paper", marks=pytest.mark.long)])
def test_every_text_fits_the_windows_of_the_sweeps(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(ROOT)
    config = load_config([ROOT / "config.yaml", ROOT / "scales" / f"{name}.yaml"], {"study": "bioD-sweeps"})
    check_contexts(resolve(config).specs, ())
    short = load_config(
        [ROOT / "config.yaml", ROOT / "scales" / f"{name}.yaml"],
        {"study": "bioD-sweeps", "regimes": {"bioD-1024": {"context": 512}}},
    )
    with pytest.raises(UserError, match=r"context: 512, but biographies of datasets/bioD-N.* can have 773 tokens"):
        check_contexts(resolve(short).specs, ())
