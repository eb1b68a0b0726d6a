"""The capacity figure: what it draws from planted tables, and that its bytes never change."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from capacity.figures import LOWEST_R, PUBLISHED, plot_capacity
from capacity.table import COLUMNS, ID_COLUMNS, capacity_table

TEXTS = dict.fromkeys(("run", "setting", *ID_COLUMNS), "")
TEXTS |= {
    "study": "base",
    "dataset": "d",
    "kind": "bioD",
    "tokenizer": "word",
    "model": "m",
    "regime": "long",
}
NUMBERS = {name: 1 for name in COLUMNS if name not in TEXTS}
NUMBERS |= {"N": 400, "exposures": 1000, "P": 10_000, "bits_per_weight": 32}


def variant(R, **changes):
    return {**TEXTS, **NUMBERS, "scheme": "none", "R": R, "R_max": 2.5, "bits_stored": R * 10_000, **changes}


def table(*rows):
    return capacity_table(rows)


TABLE = table(
    *(variant(R, seed=seed) for seed, R in enumerate((1.9, 2.0, 2.1))),
    variant(1.9, scheme="int8", bits_per_weight=8),
    variant(-3.0, scheme="int4", bits_per_weight=4),
    variant(0.9, regime="short", exposures=100),
    variant(-0.1, regime="junk", exposures=100),  # the second series: squares
)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Plots a table and gives the panels."""

    def plot(rows):
        figures = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: figures.append(figure))
        plot_capacity(rows, tmp_path)
        return figures[0].axes

    return plot


def points(panel: Axes, marker: str):
    """(x, y, face colour) of all points with a marker."""
    lines = [line for line in panel.lines if line.get_marker() == marker]
    return [(x, y, line.get_markerfacecolor()) for line in lines for x, y in zip(*line.get_data(), strict=True)]


def test_equal_tables_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        plot_capacity(TABLE, tmp_path / name, title="Capacity")
    for file in ("capacity.png", "capacity.svg"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert b"<dc:date>" not in (tmp_path / "a" / "capacity.svg").read_bytes()


def test_full_precision_fills_the_first_panels_with_means_over_seeds(drawn):
    bits, ratio, _ = drawn(TABLE)
    assert [point[:2] for point in points(bits, "o")] == [(10_000, pytest.approx(20_000))]
    assert [point[:2] for point in points(ratio, "o")] == [(2.5, pytest.approx(2.0))]
    assert [point[:2] for point in points(ratio, "+")] == list(PUBLISHED)


def test_each_series_has_its_own_marker_line_and_colour(drawn):
    rows = [variant(1 + index / 10, regime=f"r{index}") for index in range(30)]
    panel = drawn(table(*rows))[1]
    lines = [line for line in panel.lines if line.get_marker() not in ("+", "None") and len(line.get_xdata())]
    looks = [(line.get_marker(), line.get_linestyle(), line.get_color()) for line in lines]
    assert len(set(looks)) == 30
    for look, following in pairwise(looks):
        assert all(one != other for one, other in zip(look, following, strict=True))


def test_points_at_or_below_zero_stand_hollow_at_the_edge(drawn):
    _, ratio, schemes = drawn(TABLE)
    assert (2.5, LOWEST_R, "white") in points(ratio, "s")
    assert (2, -0.5, "white") in points(schemes, "o")
    assert schemes.get_ylim()[0] > -1


def test_schemes_stand_from_wide_to_narrow(drawn):
    labels = [text.get_text() for text in drawn(TABLE)[2].get_xticklabels()]
    assert labels == ["none", "int8", "int4"]


@pytest.mark.parametrize(("panel", "slopes"), [(0, {1, 2}), (1, {1})])
def test_guides_stand_where_they_say(drawn, panel, slopes):
    guides = [line for line in drawn(TABLE)[panel].lines if line.get_marker() == "None"]
    found = {round(ratio, 9) for line in guides for ratio in np.divide(*line.get_data()[::-1])}
    assert found == slopes


def test_a_scheme_of_any_name_is_drawn_by_its_bits(drawn):
    renamed = TABLE.replace({"scheme": {"none": "whole", "int8": "a"}})
    bits, _, schemes = drawn(renamed)
    assert len(points(bits, "o")) == 1
    assert [text.get_text() for text in schemes.get_xticklabels()] == ["whole", "a", "int4"]


def test_without_quantised_variants_there_is_no_panel_of_schemes(drawn):
    assert len(drawn(table(variant(1.0)))) == 2
