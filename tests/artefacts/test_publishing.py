"""Fixed paths hold the figures of the present selection, and nothing that people put there is touched."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from planted import plant, tiny, tiny_grid

from capacity.artefacts.making import Making
from capacity.artefacts.manifest import MANIFEST, read_manifest
from capacity.plan.fixed_paths import published
from capacity.plan.grid import Grid

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "publish_figures.py"


def publish(grid: Grid, results: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Run the command as the rule does; names of the files that lie there then."""
    figures, files, id_file = published(grid)[1]
    words = ["--artefact", str(results / figures.name / MANIFEST), "--identity", str(results / id_file)]
    monkeypatch.setattr(sys, "argv", ["publish_figures.py", *words, *(str(results / file) for file in files.values())])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return {path.name for path in (results / "figures").iterdir() if path.is_file()}


def of_studies(*studies: str) -> set[str]:
    """File names of the figures of a selection, and of their identity."""
    names = ["capacity", "figure1", *(f"study-{study}" for study in studies)]
    return {f"{name}.{kind}" for name in names for kind in ("png", "svg", "csv")} | {"capacity_figures.id"}


def test_figures_of_studies_that_are_not_selected_any_more_leave_and_come_back(results: Path, monkeypatch):
    both, base = tiny_grid(), tiny(study="base")
    for spec in (base.table, base.figures):
        plant(spec, results)
    assert publish(both, results, monkeypatch) == of_studies("base", "prose")
    assert publish(base, results, monkeypatch) == of_studies("base")
    assert (results / "figures" / "capacity.png").read_text() == f"capacity.png of {base.figures.name}\n"
    assert publish(both, results, monkeypatch) == of_studies("base", "prose")


def test_a_folder_beside_the_figures_that_no_job_made_stops_no_publishing(results: Path, monkeypatch):
    for number, said in enumerate(
        ('{"schema": 2}', '{"schema": 2, "outputs": 3}', '{"schema": 2, "outputs": {"x": 3}}')
    ):
        (results / "figures" / f"x-{number}").mkdir()
        (results / "figures" / f"x-{number}" / MANIFEST).write_text(said)
    assert publish(tiny_grid(), results, monkeypatch) == of_studies("base", "prose")


def test_a_table_is_published_as_it_is_whatever_the_locale(results: Path):
    table = tiny_grid().table
    inputs = read_manifest(results / table.name)["inputs"]
    shutil.rmtree(results / table.name)
    with Making(table, results, inputs) as making:
        for name in ("capacity_table.csv", "capacity_summary.csv"):
            (making.folder / name).write_text("é\n", encoding="utf-8")
    place = results / "elsewhere"
    place.mkdir()
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [
        sys.executable,
        str(SCRIPT.with_name("publish_table.py")),
        *("--artefact", str(results / table.name / MANIFEST), "--identity", str(place / "capacity_table.id")),
        *(str(place / name) for name in ("capacity_table.csv", "capacity_summary.csv", "runs.csv")),
    ]
    answer = subprocess.run(command, env=os.environ | ascii_alone, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert (place / "capacity_table.csv").read_text(encoding="utf-8") == "é\n"
    assert (place / "runs.csv").read_text(encoding="utf-8").startswith("study,run,")


def test_what_was_not_published_stays_whatever_its_name(results: Path, monkeypatch):
    both, base = tiny_grid(), tiny(study="base")
    for spec in (base.table, base.figures):
        plant(spec, results)
    publish(both, results, monkeypatch)
    mine = {"study-mine.png": "drawn by hand", "study-prose.png": "published, then drawn over", "notes.txt": "mine"}
    for name, text in mine.items():
        (results / "figures" / name).write_text(text)
    assert publish(base, results, monkeypatch) == of_studies("base") | set(mine)
    assert {name: (results / "figures" / name).read_text() for name in mine} == mine
