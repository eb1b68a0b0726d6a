"""Every figure of the committed tables can be read; each fault is found where it is planted."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from legibility import faults
from matplotlib.figure import Figure

from capacity.cli.collect_reference import draw_study
from capacity.config.load import load_config
from capacity.figures.capacity import plot_capacity
from capacity.figures.drawing import COLOURS
from capacity.figures.figure1 import plot_figure_one
from capacity.figures.law_figure import plot_law
from capacity.tables.reference import read_tables, scales_of
from capacity.tables.scaling_law import FittedLaw

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference"
STUDIES = load_config([ROOT / "config.yaml"]).studies
TABLES = {folder.name: read_tables(folder) for folder in scales_of(REFERENCE)}
DRAWN = [(scale, study) for scale, table in TABLES.items() for study in table["study"].unique()]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Each figure that is saved from now on, once."""
    saved: list[Figure] = []

    def keep(figure: Figure, path: Path, **_: object) -> None:
        if figure not in saved:
            saved.append(figure)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


@pytest.mark.parametrize(("scale", "study"), DRAWN)
def test_a_studys_figures_can_be_read(scale: str, study: str, figures: list[Figure], tmp_path: Path):
    draw_study(TABLES[scale], study, tmp_path, STUDIES.get(study))
    assert figures
    for figure in figures:
        figure.set_dpi(150)
        assert faults(figure) == []
    assert (tmp_path / f"study-{study}.csv").is_file()


def test_figure_one_can_be_read(figures: list[Figure], tmp_path: Path):
    plot_figure_one(pd.concat(TABLES.values(), ignore_index=True), tmp_path)
    plot_law(pd.concat(TABLES.values(), ignore_index=True), FittedLaw.read(REFERENCE / "law.json"), tmp_path)
    plot_capacity(TABLES["laptop"][TABLES["laptop"]["study"].isin(["base-law", "biographies"])], tmp_path)
    assert [fault for figure in figures for fault in faults(figure)] == []


def planted_overlap(figure: Figure) -> None:
    for shift in (0, 0.002):
        figure.text(0.5 + shift, 0.5, "planted")


def planted_off_canvas(figure: Figure) -> None:
    figure.text(0.98, 0.5, "planted far to the right")


def planted_point(figure: Figure) -> None:
    axes = figure.axes[0]
    limits = axes.get_xlim()
    axes.plot(9, 0.5, "o", color=COLOURS[0])
    axes.set_xlim(limits)


def planted_colour(figure: Figure) -> None:
    axes = figure.axes[0]
    axes.plot(0.5, 0.5, "o", color="#00A070")
    axes.plot(0.5, 0.5, "o", color="#A08F70")  # a red-green pair


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (planted_overlap, "'planted' overlaps 'planted'"),
        (planted_off_canvas, "'planted far to the right' leaves the canvas"),
        (planted_point, "1 points marked o are outside"),
        (planted_colour, "are alike to one who sees no"),
    ],
)
def test_a_planted_fault_is_found(plant: Callable[[Figure], None], says: str, figures: list[Figure], tmp_path: Path):
    draw_study(TABLES["laptop"], "junk-tag", tmp_path, STUDIES["junk-tag"])
    assert faults(figures[0]) == []
    plant(figures[0])
    assert any(says in fault for fault in faults(figures[0]))
