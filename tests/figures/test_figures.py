"""The capacity figure: what it draws from planted tables, and that its bytes never change."""

import itertools
from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from capacity.figures.capacity import plot_capacity
from capacity.figures.drawing import LOWEST_R
from capacity.figures.figure1 import plain_models, plot_figure_one
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
    bits, ratio = panels(plot_figure_one, OURS)
    assert [point[:2] for point in points(bits, "+")] == [(p.P, p.P * p.R) for p in FIGURE_1A]
    assert [point[:2] for point in points(bits, "o")] == [
        (10_000, pytest.approx(19_000)),
        (20_000, pytest.approx(30_000)),
    ]
    assert [point[:2] for point in points(bits, "^")] == [(10_000, pytest.approx(9_000))]
    assert [point[:2] for point in points(ratio, "o")] == [(2.5, pytest.approx(1.9)), (2.5, pytest.approx(1.5))]


def test_figure_one_has_one_point_of_all_seeds_of_studies_that_share_them(panels, tmp_path):
    shared = [variant(2.0 + seed / 10, model="gpt2-2-2", variant_id=f"s{seed}", seed=seed) for seed in (1, 2, 3, 4)]
    rows = [*shared[:2], *({**row, "study": "more"} for row in shared)]
    bits, _ = panels(plot_figure_one, table(*rows))
    assert [point[:2] for point in points(bits, "o")] == [(10_000, pytest.approx(22_500))]
    again = {**shared[0], "variant_id": "of another scale", "study": "other", "R": 1.0}
    assert len(plain_models(table(*rows, again))["study"].unique()) == 3 - 1


def test_figure_one_leaves_out_rates_that_were_tried_and_not_chosen(panels):
    rejected = variant(1.2, model="gpt2-2-2", variant_id="f", lr=0.5, chosen=False)
    rows = table(*OURS.to_dict("records"), rejected)
    rows["chosen"] = rows["lr"] != 0.5
    bits, _ = panels(plot_figure_one, rows)
    assert 12_000 not in [round(y) for _, y, _ in points(bits, "o")]


def test_figure_one_shows_the_world_of_which_a_model_holds_most_and_the_others_small(panels):
    less = variant(1.2, model="gpt2-2-2", variant_id="f", dataset="other", R_max=4.0)
    bits, ratio = panels(plot_figure_one, table(*OURS.to_dict("records"), less))
    sizes = {
        (round(y), line.get_markersize()) for line in bits.lines if line.get_marker() == "o" for y in line.get_ydata()
    }
    assert {(19_000, 6), (15_000 * 2, 6), (12_000, 2.5)} == sizes
    large = [line for line in ratio.lines if line.get_marker() == "o" and line.get_markersize() == 6]
    assert 4.0 in [x for line in large for x in line.get_xdata()]  # none that offers as much holds more


def test_the_papers_points_agree_with_its_own_definitions():
    """R_max = N (log2(N0 / N) + log2 S0) / P, within what was read off the figure."""
    for point in FIGURE_1A:
        bits = point.N * (np.log2(400 * 400 * 1000 / point.N) + 47.592)
        assert point.R_max == pytest.approx(bits / point.P, rel=0.006)
        assert point.R_max > point.R


def swept(R, N, K, **changes):
    return variant(R, setting=f"dataset.N={N} dataset.K={K}", N=N, **changes)


SWEPT = [
    *(swept(1.0 + N / 1000 + K, N, K) for N in (400, 800) for K in (1, 2)),
    *(swept(N / 1000 - K, N, K, scheme="int8", bits_per_weight=8) for N in (400, 800) for K in (1, 2)),
]


def curves(panel: Axes):
    """x and y of all curves."""
    return [tuple(map(tuple, line.get_data())) for line in panel.lines if line.get_linestyle() not in ("None", "none")]


def test_a_study_joins_only_what_differs_in_x_alone(panels):
    (panel,) = panels(plot_study, table(*SWEPT, variant(9.0, study="other")), "base")
    found = [(x, y) for x, y in curves(panel) if len(x) == 2 and x[0] == 400]
    assert found == [
        ((400, 800), (pytest.approx(2.4), pytest.approx(2.8))),
        ((400, 800), (pytest.approx(3.4), pytest.approx(3.8))),
        ((400, 800), (-0.5, pytest.approx(-0.2))),
        ((400, 800), (-0.5, -0.5)),
    ]
    assert (400, -0.5, "white") in points(panel, "^")
    labels = [text.get_text() for text in panel.figure.legends[0].get_texts()]
    assert labels[:2] == ["K 1, not quantised", "K 2, not quantised"]
    assert panel.get_xlabel() == "people, N"


def test_rows_that_do_not_vary_what_others_vary_stand_at_their_own_value(panels, tmp_path):
    rows = [variant(1 + N / 1000, setting=f"dataset.N={N}", N=N, variant_id=f"v{N}") for N in (400, 800)]
    plot_study(table(*rows, variant(1.1, N=600, model="other", variant_id="o")), "base", tmp_path)
    data = pd.read_csv(tmp_path / "study-base.csv")
    assert sorted(data["x"]) == ["N 400", "N 600", "N 800"]


def test_a_users_own_settings_of_matplotlib_change_no_figure(tmp_path):
    drawn = []
    for settings in ({}, {"axes.facecolor": "black", "font.size": 30, "text.usetex": True}):
        with matplotlib.rc_context(settings):
            plot_study(table(variant(1.0), variant(1.5, N=900, variant_id="o")), "base", tmp_path)
        drawn.append((tmp_path / "study-base.svg").read_bytes())
    assert drawn[0] == drawn[1]


def test_a_figure_of_schemes_has_room_for_any_number_of_exposures_and_for_one_method(panels):
    sizes = [{"bits_per_weight": bits, "weight_bits": 10_000 * bits, "scheme": f"int{bits}"} for bits in range(2, 12)]
    rows = [
        variant(1.0, exposures=exposures, variant_id=f"{exposures} {size['scheme']}", **size)
        for size in sizes
        for exposures in range(100, 1000, 100)
    ]
    (panel,) = panels(plot_storage, table(*rows), "base")
    least, most = panel.get_xlim()
    assert least < 2
    assert most >= 24
    assert panel.get_xlabel() == "bits of weights a parameter"
    labels = [text.get_text() for text in panel.figure.legends[0].get_texts()]
    assert {f"{exposures} exposures" for exposures in range(100, 1000, 100)} <= set(labels)


def test_a_study_says_what_goes_on_x_and_what_makes_lines_and_panels(panels):
    said = {"x": "quantizer", "line": "dataset.K", "panel": "dataset.N"}
    one, two = panels(plot_study_as(said), table(*SWEPT), "base")
    assert [one.get_title(), two.get_title()] == ["N 400", "N 800"]
    assert [text.get_text() for text in one.get_yticklabels()] == ["not quantised", "int8"]
    assert [x for x, _, _ in points(one, "o")] == [pytest.approx(2.4), -0.5, -0.5]  # the last is the hollow mark
    assert [text.get_text() for text in one.figure.legends[0].get_texts()][:2] == ["K 1", "K 2"]
    assert not [x for x, _ in curves(one) if len(x) > 2]


def plot_study_as(said):
    return lambda rows, study, folder: plot_study(rows, study, folder, "Does it?", said)


def test_the_title_is_the_question_and_the_data_lie_beside(tmp_path):
    plot_study(table(*SWEPT), "base", tmp_path, "Does it matter how many?")
    assert "Does it matter how many?" in (tmp_path / "study-base.svg").read_text()
    data = pd.read_csv(tmp_path / "study-base.csv")
    assert sorted(data["R"]) == pytest.approx(sorted(row["R"] for row in SWEPT))
    assert set(data["line"]) == {f"K {K}, {name}" for K in (1, 2) for name in ("not quantised", "int8")}


def test_exposures_that_are_crossed_with_regimes_are_kept_apart(tmp_path):
    """Of two that go together one is left out; here neither says what the other does."""
    rows = [
        variant(R, regime=regime, exposures=exposures, N=N, setting=f"dataset.N={N} regime.exposures={exposures}")
        for R, (regime, exposures, N) in enumerate(itertools.product(("adamw", "muon"), (100, 1000), (400, 800)))
    ]
    plot_study(table(*rows), "base", tmp_path)
    data = pd.read_csv(tmp_path / "study-base.csv").set_index(["panel", "line", "x"])["R"]
    assert len(data) == len(rows)
    assert data.index.is_unique
    assert data["1000 exposures", "adamw", "N 800"] == 3


def test_what_is_not_set_is_said_in_words_and_regimes_go_by_their_exposures(panels):
    rows = [
        variant(1.0, setting=f"dataset.paragraphs={value}", regime=regime, exposures=exposures)
        for value in ("None", 1)
        for regime, exposures in (("short", 100), ("long", 1000))
    ]
    (panel,) = panels(plot_study, table(*rows), "base")
    assert [text.get_text() for text in panel.get_yticklabels()] == ["paragraphs not set", "paragraphs 1"]
    assert [text.get_text() for text in panel.figure.legends[0].get_texts()][:2] == ["1000 exposures", "100 exposures"]


def test_a_study_of_many_schemes_has_a_panel_a_method_against_what_weights_take(panels):
    def scheme(name, bits, R):
        size = {"bits_per_weight": bits, "weight_bits": 10_000 * (bits + 2), "bits_per_weight_bit": R / (bits + 2)}
        return variant(R, scheme=name, **size)

    rows = [scheme(f"int{bits}", bits, 0.25 * bits) for bits in range(2, 9)]
    rows += [scheme("gptq3", 3, 1.0), scheme("gptq2", 2, -7.0) | {"R_calibrated": 0.4}, scheme("none", 32, 2.0)]
    rounded, gptq = panels(plot_storage, table(*rows), "base")
    assert [rounded.get_title(), gptq.get_title()] == ["int8 … int2", "gptq3 … gptq2"]
    assert [point[:2] for point in points(rounded, "o")] == [(bits + 2, 0.25 * bits) for bits in range(2, 9)]
    found = points(gptq, "o")
    assert [point[:2] for point in found] == [(4, -0.5), (5, 1.0), (4, -0.5)]  # below the edge: at it, and hollow
    assert found[-1][2] == "white"
    (calibrated,) = [line for line in gptq.lines if line.get_linestyle() == ":"]
    assert calibrated.get_ydata().tolist() == pytest.approx([0.4, 1.0])
    old = table(*rows).assign(R_calibrated=np.nan)
    labels = [text.get_text() for text in panels(plot_storage, old, "base")[0].figure.legends[0].get_texts()]
    assert "calibrated" not in labels


def test_models_of_as_many_exposures_have_a_line_each_among_many_schemes(panels, tmp_path):
    rows = [
        variant(R + bits / 10, model=model, R_calibrated=None, **scheme)
        for model, R in (("small", 0.2), ("large", 1.2))
        for bits in range(2, 12)
        for scheme in [{"scheme": f"int{bits}", "bits_per_weight": bits, "weight_bits": 10_000 * bits}]
    ]
    (panel,) = panels(plot_storage, table(*rows), "base")
    drawn = [tuple(y) for x, y in curves(panel) if list(x) == list(range(2, 12)) and y[0] == y[0]]
    assert drawn == [pytest.approx([R + bits / 10 for bits in range(2, 12)]) for R in (0.2, 1.2)]
    labels = [text.get_text() for text in panel.figure.legends[0].get_texts()]
    assert labels[:2] == ["1000 exposures, small", "1000 exposures, large"]
    plot_storage(table(*rows), "base", tmp_path)
    assert set(pd.read_csv(tmp_path / "storage-base.csv")["model"]) == {"small", "large"}


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


@pytest.mark.parametrize("question", ["Does $R_{max$ hold?", "Does a_$b_ cost $5?"])
def test_a_dollar_in_a_question_or_a_value_is_drawn_as_it_is(tmp_path, question):
    rows = [variant(1.0, setting=f"dataset.file={value}", model=value) for value in ("$a_$", "b")]
    plot_study(table(*rows), "base", tmp_path, question)
    drawn = (tmp_path / "study-base.svg").read_text()  # each text stands in a comment
    assert f"<!-- {question} -->" in drawn
    assert "<!-- file $a_$ -->" in drawn
