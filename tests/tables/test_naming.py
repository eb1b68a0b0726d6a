"""Where people read of runs, no two runs look alike: names, the terminal table, the plan, the report."""

import copy
from pathlib import Path
from typing import Any

import pytest
from planted import TINY
from test_table import noisy, row

from capacity.cli import show_plan as plan
from capacity.config.experiment import Config
from capacity.config.load import check, merge, read_yaml
from capacity.errors import UserError
from capacity.figures.report_page import findings, write_report
from capacity.plan.forecast import forecast
from capacity.plan.grid import Grid, resolve
from capacity.plan.run_states import run_states
from capacity.plan.survey import hold_against
from capacity.tables.naming import cell_names, run_names
from capacity.tables.table import capacity_table, readable

TEMPLATES = Path(__file__).resolve().parents[2] / "report"
FAMILIES = {"a": "gpt2-1-2", "b": "llama-1-2", "c": "mistral-1-2"}


def grid_of(study: dict[str, Any], **sections: Any) -> Grid:
    """The tiny configuration with its first study changed, alone."""
    raw = merge(copy.deepcopy(read_yaml(TINY)), {**sections, "studies": {"base": study}, "study": ["base"]})
    return resolve(check(Config, raw, "planted"))


def fifteen() -> Grid:
    """Three families, each at five widths within their sections' own keys."""
    models = {name: {"architecture": family, "head_dim": 4} for name, family in FAMILIES.items()}
    study = {"models": list(FAMILIES), "regimes": ["long"], "vary": {"model.head_dim": [4, 6, 8, 10, 12]}}
    return grid_of(study, models=models)


def test_a_run_is_named_by_the_configuration_and_by_what_is_varied():
    grid = grid_of({"regimes": ["short"], "vary": {"dataset.N": [5, 6]}})
    names = run_names(grid.table.settings["rows"])
    assert list(dict.fromkeys(names)) == ["small atomic short dataset.N=5 s1", "small atomic short dataset.N=6 s1"]


STUDIES: list[dict[str, Any]] = [
    {"vary": {"dataset.N": [5, 6], "regime.batch": [3, 4]}, "seeds": [1, 2]},
    {"tokenizers": ["word", "bpe"], "seeds": [1, 2]},
    {"regimes": ["tuned"], "seeds": [1, 2]},
    {"grids": [{"vary": {"model.bias": [True, False]}}, {"datasets": ["people"]}]},
]


@pytest.mark.parametrize("study", STUDIES)
def test_two_rows_share_a_name_exactly_when_they_are_of_one_training(study: dict[str, Any]):
    tuned = {"exposures": 1, "packing": "rows", "batch": 4, "lr": [0.01, 0.02], "warmup_steps": 1}
    rows = grid_of(study, regimes={"tuned": tuned}).table.settings["rows"]
    pairs = set(zip(run_names(rows), (row["checkpoint_id"] for row in rows), strict=True))
    assert len(pairs) == len({name for name, _ in pairs}) == len({checkpoint for _, checkpoint in pairs})
    assert len(set(cell_names(rows))) * len(study.get("seeds", [1])) == len(pairs)


def test_the_plan_lists_fifteen_models_of_three_families_as_fifteen_runs(tmp_path: Path):
    grid = fifteen()
    runs = plan.new_runs(grid, forecast(hold_against(grid, tmp_path), tmp_path))
    assert len(set(runs)) == 15
    assert runs[0] == "a atomic long model.head_dim=4 s1 (study base)"


def test_runs_have_names_that_tell_them_apart(tmp_path: Path):
    grid = fifteen()
    runs = run_states(hold_against(grid, tmp_path), tmp_path)
    assert len({run["name"] for run in runs}) == len(runs) == 15


def lines(*changes: dict[str, Any]) -> list[str]:
    """The lines of the terminal table below its head, blanks and numbers that were measured left out."""
    text = readable(capacity_table([row(noisy(), change) for change in changes]))
    return [line.split(" 900 ")[0] for line in text.splitlines()[1:]]


@pytest.mark.parametrize(
    "changes",
    [
        ({"setting": "regime.batch=3"}, {"setting": "regime.batch=4"}),
        ({"setting": "model.head_dim=4 dataset.N=64"}, {"setting": "model.head_dim=8 dataset.N=64"}),
        ({"tokenizer": "word"}, {"tokenizer": "bpe"}),
    ],
)
def test_lines_of_the_terminal_table_differ_where_runs_do(changes: tuple[dict[str, Any], ...]):
    assert len(set(lines(*changes))) == len(changes)


def test_the_terminal_table_repeats_nothing_that_a_column_says():
    text = readable(capacity_table([row(noisy(), {"setting": "dataset.N=64 regime.exposures=1000"})]))
    assert "dataset.N" not in text
    assert "varied" not in text
    varied = readable(capacity_table([row(noisy(), {"setting": "dataset.N=64 model.names=[4, 4] model.h=2"})]))
    assert "model.names=[4, 4] model.h=2" in varied
    assert "dataset.N" not in varied


def test_rows_of_the_report_differ_where_runs_do(tmp_path: Path):
    changes = [{"lr": 0.01}, {"lr": 0.02}, {"tokenizer": "bpe"}, {"setting": "regime.batch=3"}]
    table = capacity_table([row(noisy(), change) for change in changes])
    (tmp_path / "figures").mkdir()
    for name in ("capacity", "figure1", "study-base"):
        (tmp_path / "figures" / f"{name}.png").write_bytes(b"an image")
    write_report(table, None, {}, tmp_path, TEMPLATES, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    rows = [part.split("</tr>")[0] for part in text.split('<tr class="variant"')[1:]]
    assert len(set(rows)) == len(changes)


def test_a_finding_names_the_run_that_it_is_of():
    rows = [row(noisy(), {"setting": "model.h=1"}), row(noisy(), {"setting": "model.h=2"}) | {"R": 9.0}]
    (finding,) = findings(capacity_table(rows))
    assert (finding["R"], finding["run"], finding["N"]) == ("9.00", "tiny small full model.h=2", 64)


# --- keys within keys


NESTED: list[tuple[str, Any, str, dict[str, Any]]] = [
    ("dataset.junk.share", 0.5, "datasets", {"atomic": {"junk": {"people": 10, "share": 0.5}}}),
    ("model.settings.width", 8, "models", {"small": {"settings": {"width": 8}}}),
    ("model.hf.hidden_size", 8, "models", {"small": {"hf": {"hidden_size": 8}}}),
]
HF = {"model_type": "gpt2", "hidden_size": 4, "n_layer": 1, "n_head": 2, "resid_pdrop": 0, "embd_pdrop": 0}
BASES = {
    "dataset.junk.share": {"datasets": {"atomic": {"junk": {"people": 10}}}},
    "model.settings.width": {"models": {"small": {"python": "own_models:make", "settings": {"width": 4, "l": 1}}}},
    "model.hf.hidden_size": {"models": {"small": {"hf": HF}}},
}


@pytest.mark.parametrize(("key", "value", "section", "written"), NESTED, ids=[key for key, *_ in NESTED])
def test_a_key_within_a_key_can_be_varied_and_is_the_run_that_has_it_written_out(
    key: str, value: Any, section: str, written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("capacity.plan.training_specs.source_digests", lambda python: {})
    monkeypatch.setattr("capacity.plan.training_specs.imported_packages", lambda python: ())
    raw = read_yaml(TINY)
    if section == "models":
        del raw["models"]["small"]
    raw = merge(raw, {**BASES[key], "study": ["base"]})
    swept = resolve(check(Config, merge(raw, {"studies": {"base": {"vary": {key: [value]}}}}), "planted"))
    plain = resolve(check(Config, merge(raw, {section: written}), "planted"))
    assert swept.specs.keys() - {swept.table.name, swept.figures.name} < plain.specs.keys()
    assert {row["setting"] for row in swept.table.settings["rows"]} == {f"{key}={value}"}
    other = resolve(check(Config, raw, "planted"))
    assert not {row["checkpoint_id"] for row in swept.table.settings["rows"]} & {
        row["checkpoint_id"] for row in other.table.settings["rows"]
    }


@pytest.mark.parametrize(
    ("vary", "words"),
    [
        ({"dataset.junk.shade": [0.5]}, "'shade'; did you mean share"),
        ({"dataset.N.x": [1]}, "N: .*integer"),
        ({"dataset.junk": [{"people": 9}], "dataset.junk.share": [0.5]}, "dataset.junk.share lies within dataset.junk"),
        ({"dataset.junk.": [0.5]}, "name a key below dataset, tokenizer"),
    ],
)
def test_a_key_within_a_key_that_cannot_be_is_refused_with_its_study(vary: dict[str, Any], words: str):
    with pytest.raises(UserError, match=rf"studies\.base\.vary.*{words}"):
        grid_of({"vary": vary}, datasets={"atomic": {"junk": {"people": 10}}})
