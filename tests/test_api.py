"""A notebook imports the library: what a row of a table rests on opens, and is what the row says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT, TINY, Checkout

from capacity import api
from capacity.errors import UserError
from capacity.tables.scores import R_of


def test_a_row_opens_as_model_tokenizer_world_and_scores_that_give_its_R(built: Checkout):
    results = built.path / "results"
    table = api.read_table(results / "capacity_table.csv")
    for _, row in table.iterrows():
        world, model = api.load_world(row, results), api.load_model(row, results)
        assert row["N"] == world.N
        assert sum(parameter.numel() for parameter in model.parameters()) == row["P"]
        assert model.config.vocab_size == row["vocabulary"]
        assert api.load_tokenizer(row, results).get_vocab_size() > 10
        assert R_of(api.load_scores(row, results), world.account, row["P"]) == pytest.approx(row["R"], rel=1e-5)


def test_a_folder_that_is_missing_or_was_edited_is_one_line(checkout: Checkout):
    results = checkout.path / "results"
    row = api.read_table(results / "capacity_table.csv").iloc[0]
    (results / "probes" / row["probe_id"] / "scores.parquet").write_bytes(b"edited")
    with pytest.raises(UserError, match=r"scores\.parquet"):
        api.load_scores(row, results)
    with pytest.raises(UserError, match="no such table"):
        api.read_table(results / "absent.csv")


def test_a_configuration_is_planned_without_torch():
    grid = api.plan(TINY, study=["base"])
    assert len([name for name in grid.specs if name.startswith("checkpoints/")]) == 2
    command = f"import sys; from capacity import api; api.plan({str(TINY)!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", command], check=True)


def test_the_example_makes_a_picture_of_a_table(tmp_path: Path):
    (tmp_path / "results").mkdir()
    shutil.copy(ROOT / "results" / "reference" / "laptop" / "sizes" / "capacity_table.csv", tmp_path / "results")
    command = [sys.executable, str(ROOT / "examples" / "table_to_plot.py")]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "results" / "R.png").stat().st_size > 10_000
