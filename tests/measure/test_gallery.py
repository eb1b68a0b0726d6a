"""The gallery ranks planted cards, and says what is no card."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy.stats import t as student

from capacity.errors import UserError
from capacity.measure.gallery import gallery_markdown, plot_gallery, read_gallery

GALLERY = Path(__file__).resolve().parents[2] / "results" / "reference" / "gallery"


def card(long: float, short: float) -> dict[str, Any]:
    """A card whose candidate keeps so many times GPT-2's bits after 1000 and after 100 exposures."""

    def mean(value: float) -> dict[str, float]:
        return {"mean": value, "low": value - 0.1, "high": value + 0.1}

    both = {"candidate": 9_000, "baseline": 9_100}
    return {
        "P": both,
        "seeds": 3,
        "kept": {"int8": {"candidate": mean(0.99)}, "int4": {"candidate": mean(0.1)}},
        "flops_a_token": {"candidate": 30_000.0, "baseline": 20_000.0},
        "peak_ratio": {"1000": mean(long), "100": mean(short)},
        "peak": {"1000": {"candidate": mean(2 * long), "baseline": mean(2.0)}}
        | {"100": {"candidate": mean(short), "baseline": mean(1.0)}},
        "limits": ["too few bits on offer"],
    }


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Three cards; what is best after 1000 exposures is worst after 100."""
    for name, ratios in {"a": (0.8, 1.2), "b": (1.1, 0.5), "c": (0.9, 0.9)}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(json.dumps(card(*ratios)))
    return tmp_path


def test_the_highest_ratio_after_most_exposures_is_first_whatever_comes_after_fewer(gallery: Path):
    table = read_gallery(gallery)
    assert table["exposures"].tolist() == [1000] * 3 + [100] * 3
    assert table["model"].tolist() == ["b", "c", "a"] * 2
    first, last = table.iloc[0], table.iloc[-1]
    assert math.isnan(last["int8"]), "it is of the longest training alone"
    assert (first["ratio"], first["R"], first["flops"], first["int8"]) == pytest.approx((1.1, 2.2, 1.5, 0.99))


def test_the_page_links_each_card(gallery: Path):
    head, rule, first, *_ = gallery_markdown(read_gallery(gallery)).splitlines()
    assert head.count("|") == rule.count("|") == first.count("|")
    assert first == "| [b](b/card.md) | 9,000 | 1,000 | 2.20 | **1.10** (1.00 to 1.20) | 0.990 | 1.50 | 1 |"


def test_the_figure_has_its_data_beside_it(gallery: Path):
    plot_gallery(read_gallery(gallery), gallery)
    assert {"gallery.png", "gallery.svg", "gallery.csv"} <= {path.name for path in gallery.iterdir()}
    assert len((gallery / "gallery.csv").read_text().splitlines()) == 7


def test_no_card_is_no_gallery(tmp_path: Path):
    assert read_gallery(tmp_path).empty


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"P": 3}'])
def test_what_is_no_card_is_named(gallery: Path, text: str):
    (gallery / "b" / "card.json").write_text(text)
    with pytest.raises(UserError, match=r"b/card\.json: no card of capacity measure"):
        read_gallery(gallery)


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in GALLERY.glob("*/card.json")), ids=lambda path: path.name
)
def test_a_committed_card_follows_from_the_rows_beside_it(folder: Path):
    """The ratio and its interval, paired by seed, by hand."""
    card = json.loads((folder / "card.json").read_text())
    rows = pd.read_csv(folder / "rows.csv")
    rows = rows[(rows["scheme"] == "none") & rows["chosen"]]
    for exposures, expected in card["peak_ratio"].items():
        part = rows[rows["exposures"] == int(exposures)].pivot_table("R", "seed", "model", aggfunc="max")
        ratios = part["measure-candidate"] / part["measure-baseline"]
        half = student.ppf(0.975, len(ratios) - 1) * ratios.std() / len(ratios) ** 0.5
        found = (ratios.mean(), ratios.mean() - half, ratios.mean() + half)
        assert found == pytest.approx((expected["mean"], expected["low"], expected["high"]), abs=1e-6)
