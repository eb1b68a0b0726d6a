"""The capacity figure: what it draws from planted tables, and that its bytes never change."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from capacity.figures.capacity import plot_capacity
from capacity.figures.drawing import COLOURS, LOWEST_R, MARKERS
from capacity.figures.figure1 import plot_figure_one
from capacity.figures.published_points import FIGURE_1A
from capacity.figures.storage import plot_storage
from capacity.figures.studies import plot_study
from capacity.tables.table import COLUMNS, ID_COLUMNS, capacity_table

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
    assert [point[:2] for point in points(ratio, "+")] == [(p.R_max, p.R) for p in FIGURE_1A]


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


# --- the paper's Figure 1 and one figure a study


@pytest.fixture
def panels(monkeypatch, tmp_path):
    """Calls a plotting function and gives the panels that it drew."""

    def plot(function, *words):
        figures = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: figures.append(figure))
        function(*words, tmp_path)
        return figures[0].axes

    return plot


OURS = table(
    variant(1.9, model="gpt2-2-2", variant_id="a"),
    variant(1.9, model="gpt2-2-2", variant_id="a", study="again"),
    variant(1.5, model="gpt2-2-3", variant_id="b", h=3, P=20_000),
    variant(0.9, model="gpt2-2-2", variant_id="c", exposures=100),
    variant(1.8, model="gpt2-2-2", variant_id="d", scheme="int8", bits_per_weight=8),
    variant(1.7, model="llama-2-2", variant_id="e", P=30_000),
)


def test_figure_one_puts_our_models_among_the_papers(panels):
    long, short, ratio = panels(plot_figure_one, OURS)
    assert [point[:2] for point in points(long, "+")] == [(p.P, p.P * p.R) for p in FIGURE_1A]
    assert points(short, "+") == []
    ours = [(10_000, pytest.approx(19_000)), (20_000, pytest.approx(30_000))]
    assert [point[:2] for point in points(long, "o")] == ours
    assert [point[:2] for point in points(short, "^")] == [(10_000, pytest.approx(9_000))]
    assert [point[:2] for point in points(ratio, "o")] == [(2.5, pytest.approx(1.9)), (2.5, pytest.approx(1.5))]
    assert {text.get_text() for text in long.texts} >= {"1-1", "1-3"}


def test_the_papers_points_agree_with_its_own_definitions():
    """R_max = N (log2(N0 / N) + log2 S0) / P, within what was read off the figure."""
    for point in FIGURE_1A:
        bits = point.N * (np.log2(400 * 400 * 1000 / point.N) + 47.592)
        assert point.R_max == pytest.approx(bits / point.P, rel=0.006)
        assert point.R_max > point.R


def test_a_study_has_a_line_a_cell_named_by_what_varies(panels):
    rows = [
        variant(1.9, setting="dataset.N=400 dataset.K=2", model="a"),
        variant(1.8, setting="dataset.N=400 dataset.K=2", model="a", scheme="int8", bits_per_weight=8),
        variant(0.9, setting="dataset.N=800 dataset.K=2", N=800, model="b"),
        variant(-3.0, setting="dataset.N=800 dataset.K=2", N=800, model="b", scheme="int8", bits_per_weight=8),
        variant(2.9, study="other"),
    ]
    cells, ratio = panels(plot_study, table(*rows), "base")
    assert [text.get_text() for text in cells.get_yticklabels()] == ["a, N=400, K=2", "b, N=800, K=2"]
    assert [point[:2] for point in points(cells, "o")] == [(1.9, 0), (0.9, -1)]
    assert [point[:2] for point in points(cells, "s")] == [(1.8, 0), (-0.5, -1)]
    assert {point[0] for point in points(cells, "|")} == {2.5}
    assert [point[:2] for point in points(ratio, "o")] == [(2.5, 1.9), (2.5, 0.9)]


def test_a_study_of_many_schemes_is_drawn_by_what_their_weights_take(panels):
    def scheme(name, bits, R):
        size = {"bits_per_weight": bits, "weight_bits": 10_000 * (bits + 2), "bits_per_weight_bit": R / (bits + 2)}
        return variant(R, scheme=name, **size)

    rows = [scheme(f"int{bits}", bits, 0.25 * bits) for bits in range(2, 9)]
    rows += [scheme("gptq3", 3, 1.0), scheme("gptq2", 2, -7.0) | {"R_calibrated": 0.4}, scheme("none", 32, 2.0)]
    ratio, share = panels(plot_storage, table(*rows), "base")
    assert [point[:2] for point in points(ratio, MARKERS[0])] == [(bits + 2, 0.25 * bits) for bits in range(2, 9)]
    gptq = points(ratio, MARKERS[1])
    assert [point[:2] for point in gptq] == [(4, -0.5), (5, 1.0), (4, -0.5)]  # below the edge: at it, and hollow
    assert gptq[-1][2] == "white"
    assert points(share, MARKERS[1])[1][:2] == (5, pytest.approx(0.2))
    calibrated = {line.get_color(): line.get_data() for line in share.lines if line.get_linestyle() == ":"}
    assert calibrated[COLOURS[1]][0].tolist() == [4, 5]
    assert calibrated[COLOURS[1]][1].tolist() == pytest.approx([0.4 / 4, 1.0 / 5])
    assert len(calibrated) == 3
    old = table(*rows).assign(R_calibrated=np.nan)
    assert not [line for line in panels(plot_storage, old, "base")[1].lines if line.get_linestyle() == ":"]


@pytest.mark.parametrize(
    ("function", "words", "name"),
    [(plot_figure_one, (), "figure1"), (plot_study, ("base",), "study-base")],
)
def test_other_figures_have_equal_bytes_too(tmp_path, function, words, name):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        function(TABLE, *words, tmp_path / folder)
    for file in (f"{name}.png", f"{name}.svg"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_many_schemes_are_lines_and_cells_are_markers(panels):
    rows = [
        variant(1.9 - i / 10, scheme=f"s{i}", bits_per_weight=32 - i, regime=regime)
        for i in range(8)
        for regime in ("long", "short")
    ]
    lines, _ = panels(plot_study, table(*rows), "base")
    assert [text.get_text() for text in lines.get_yticklabels()] == [f"s{i}" for i in range(8)]
    assert [point[:2] for point in points(lines, "o")] == [(pytest.approx(1.9 - i / 10), -i) for i in range(8)]
    assert len(points(lines, "s")) == 8
