"""`prune` takes nothing that any study reaches, at any scale, and says what it keeps and why."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from forked import run_module
from planted import TINY, plant, tiny

from capacity.artefacts.manifest import MANIFEST
from capacity.cli import prune_results
from capacity.config.load import load_config, read_yaml
from capacity.plan.failures import PARTIAL_ID
from capacity.plan.grid import Grid, resolve
from capacity.plan.reachable import reached_by

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def place(results: Path) -> Path:
    """A folder with the tiny configuration, its default study `base` alone, and the results of `base` and `prose`."""
    write(results.parent / "config.yaml", {**read_yaml(TINY), "study": ["base"]})
    return results.parent


def write(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def add(grid: Grid, place: Path) -> set[str]:
    """Plant what a grid has more than there is; names of that."""
    names = set()
    for spec in grid.specs.values():
        if not (place / "results" / spec.name).exists():
            plant(spec, place / "results")
            names.add(spec.name)
    return names


def prune(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_module("capacity.cli", ("prune", *words), place, dict(os.environ))


def all_there(place: Path, names: set[str]) -> bool:
    return all((place / "results" / name / MANIFEST).is_file() for name in names)


@pytest.mark.parametrize("words", [(), ("--study", "base"), ("--study", "prose")])
def test_what_a_study_that_is_not_asked_for_reaches_is_kept_and_its_study_named(place: Path, words: tuple[str, ...]):
    before = {path.relative_to(place).as_posix() for path in (place / "results").glob("*/*")}
    answer = prune(place, "--yes", *words)
    assert "no orphans" in answer.stdout, answer.stdout + answer.stderr
    assert {path.relative_to(place).as_posix() for path in (place / "results").glob("*/*")} == before
    kept = [line.partition("kept: ")[2] for line in answer.stdout.splitlines() if "kept: " in line]
    assert [line.partition(" of ")[2] for line in kept] == [
        "study base, scale laptop",
        "study prose, scale laptop",
        "several studies together",
    ]


@pytest.mark.parametrize("folder", ["measures", "mixes"])
def test_what_a_measure_or_a_mix_rests_on_is_kept(place: Path, folder: str):
    other = {"regimes": {"long": {"lr": 0.25}}, "study": ["base"]}
    names = add(tiny(**other), place)
    own = place / "results" / folder / "mine"
    own.parent.mkdir()
    write(own / "config.yaml", other)
    answer = prune(place, "--yes")
    assert "no orphans" in answer.stdout, answer.stdout + answer.stderr
    assert f"results/{folder}/mine" in answer.stdout
    assert all_there(place, names)
    write(own / "config.yaml", {**other, "nonsense": 1})
    answer = prune(place, "--list")
    assert f"left out, since it is no configuration: results/{folder}/mine/config.yaml (" in answer.stderr
    assert all(name in answer.stdout for name in names)


def test_what_any_scale_reaches_is_kept_whether_the_configuration_or_a_scale_file_has_it(place: Path):
    gpu = {"scales": {"gpu": {"accelerator": "gpu", "precision": "bf16", "compile": False}}}
    config = place / "config.yaml"
    write(config, {**read_yaml(config), "scales": {**read_yaml(config)["scales"], **gpu["scales"]}})
    scale = write(place / "scales" / "large.yaml", {"scale": "gpu", "datasets": {"atomic": {"N": 7}}})
    names = add(resolve(load_config([config], {"scale": "gpu"})), place)
    names |= add(resolve(load_config([config, scale], {"study": "base"})), place)
    answer = prune(place, "--yes")
    assert "no orphans" in answer.stdout, answer.stdout + answer.stderr
    assert all_there(place, names)
    assert "study base, scale gpu, scales/large.yaml" in answer.stdout
    scale.unlink()
    assert "removed" in prune(place, "--yes").stdout, "nothing reaches it any more"
    assert not all_there(place, names)


def test_what_a_file_of_ones_own_reaches_is_kept_where_it_is_given(place: Path):
    mine = write(place / "my study.yaml", {"studies": {"mine": {**read_yaml(TINY)["studies"]["base"], "seeds": [5]}}})
    names = add(resolve(load_config([place / "config.yaml", mine], {"study": "mine"})), place)
    assert "no orphans" in prune(place, "--yes", "--configfile", "my study.yaml").stdout
    assert all_there(place, names)
    prune(place, "--yes")
    assert not all_there(place, names)


def test_the_table_of_any_selection_of_studies_is_kept_and_one_that_no_selection_gives_is_not(place: Path):
    config = place / "config.yaml"
    selection = add(resolve(load_config([config], {"study": "prose,base"})), place)
    other = add(resolve(load_config([config], {"study": "prose,base", "table": {"resamples": 150}})), place)
    assert {name.split("/")[0] for name in selection | other} == {"tables", "figures"}
    prune(place, "--yes")
    assert all_there(place, selection)
    assert not any((place / "results" / name).exists() for name in other)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("scale: [", "not valid YAML"),
        ("sclae: laptop\n", "sclae"),
        ("regimes: {long: {batch: 3}}\nscales: {two: {accelerator: cpu, precision: fp32, devices: 2}}\n", "study base"),
    ],
)
def test_a_scale_file_with_a_mistake_stops_it_with_one_line(place: Path, content: str, said: str):
    (place / "scales").mkdir()
    (place / "scales" / "large.yaml").write_text(content)
    stray = place / "results" / "checkpoints" / "other-000000000000"
    stray.mkdir()
    answer = prune(place, "--yes")
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert said in answer.stderr
    assert "nothing is removed" in answer.stderr
    assert stray.exists()


def test_a_scale_file_over_which_ones_own_file_makes_no_sense_is_left_out_with_a_line(place: Path):
    write(place / "scales" / "large.yaml", {"datasets": {"atomic": {"N": 60}}})
    mine = write(place / "mine.yaml", {"datasets": {"atomic": {"names": [3, 3, 3]}}})
    names = add(resolve(load_config([place / "config.yaml", mine], {"study": "base"})), place)
    stray = place / "results" / "checkpoints" / "other-000000000000"
    stray.mkdir()
    answer = prune(place, "--yes", "--configfile", "mine.yaml")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.startswith("left out, since it is no configuration: scales/large.yaml, mine.yaml (")
    assert "60 people" in answer.stderr
    assert all_there(place, names)
    assert not stray.exists()


def test_the_state_of_a_training_of_another_scale_is_kept(place: Path):
    """Nothing of that scale is finished, so all that lies there is accounted for without it."""
    config = place / "config.yaml"
    scale = write(place / "scales" / "large.yaml", {"datasets": {"atomic": {"N": 7}}})
    grid = resolve(load_config([config, scale]))
    checkpoint = next(spec for spec in grid.specs.values() if spec.stage == "checkpoints")
    state = place / "results" / "resume" / checkpoint.id
    state.mkdir(parents=True)
    assert "no orphans" in prune(place, "--yes").stdout
    assert state.exists()
    shutil.rmtree(place / "scales")
    prune(place, "--yes")
    assert not state.exists()


def test_a_folder_of_results_where_nothing_is_has_no_orphans(tmp_path: Path):
    shutil.copy(TINY, tmp_path / "config.yaml")
    assert "no orphans" in prune(tmp_path, "--yes").stdout


def test_the_table_of_a_failed_runs_finished_rows_is_kept_while_its_copy_is_there(place: Path):
    partial = place / "results" / "tables" / "capacity-0123456789ab"
    write(partial / MANIFEST, {})
    name = write(place / "results" / PARTIAL_ID, {})
    name.write_text(f"{partial.name}\n")
    assert "of the finished rows of a failed run" in prune(place, "--yes").stdout
    assert partial.is_dir()
    name.unlink()
    prune(place, "--yes")
    assert not partial.is_dir()


def test_what_was_made_again_while_the_question_stood_is_kept(place: Path, monkeypatch: pytest.MonkeyPatch):
    """Another run may end before the answer: what was damaged when it was listed is sound then."""
    grid = resolve(load_config([place / "config.yaml"], {"study": "base"}))
    checkpoint = next(place / "results" / name for name in grid.specs if name.startswith("checkpoints/"))
    model = next(path for path in checkpoint.iterdir() if path.name != MANIFEST)
    whole = model.read_bytes()
    model.write_bytes(whole + b"x")

    def answer() -> bool:
        model.write_bytes(whole)
        return True

    monkeypatch.chdir(place)
    monkeypatch.setattr(prune_results, "confirmed", answer)
    monkeypatch.setattr(sys, "argv", ["capacity", "--study", "base", "--damaged"])
    before = sorted(place.rglob(MANIFEST))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        prune_results.main()
    assert f"damaged              results/{checkpoint.parent.name}/{checkpoint.name}" in printed.getvalue()
    assert "removed 0 folders and files" in printed.getvalue()
    assert "are kept: they were made or used since they were listed" in printed.getvalue()
    assert sorted(place.rglob(MANIFEST)) == before


def test_the_published_table_and_its_figures_are_kept_under_a_configuration_that_does_not_make_them(place: Path):
    config = place / "config.yaml"
    write(config, {**read_yaml(config), "table": {"resamples": 150}})
    answer = prune(place, "--list")
    assert " of what is published" in answer.stdout
    assert "unreached            results/figures" not in answer.stdout, answer.stdout
    assert "unreached            results/tables" not in answer.stdout, answer.stdout


def test_a_look_that_takes_more_than_a_second_says_how_far_it_has_come(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (place / "results" / "checkpoints" / "other-000000000000").mkdir()
    monkeypatch.setattr("capacity.plan.reachable.PATIENCE", 0.0)
    monkeypatch.chdir(place)
    configs = [("", load_config([place / "config.yaml"]))]
    assert reached_by(iter(configs), place / "results").why
    assert "looked at 1 of " in capsys.readouterr().err
