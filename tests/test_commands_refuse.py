"""A command that is given nonsense says so in one line, and leaves nothing behind."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from capacity.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "results" / "reference" / "laptop" / "base-law" / "capacity_table.csv"
CASES = {
    "no table": (["table", "none.csv"], "error: none.csv: no such table; `make table` makes one"),
    "a folder": (["table", "scripts"], "error: scripts: no such table"),
    "a picture": (["table", "docs/report-phone.png"], "error: docs/report-phone.png: cannot be read as a table"),
    "another table": (["table", "examples/countries.csv"], "is no capacity table, it has no column study"),
    "a compared one": (["compare", "examples/countries.csv"], "is no capacity table, it has no column study"),
    "a law": (["size", "--facts", "1e6", "--exposures", "100", "--law", "README.md"], "README.md: no fitted law"),
    "another law": (
        ["size", "--facts", "1e6", "--exposures", "100", "--law", "docs/config.schema.json"],
        "no fitted law",
    ),
    "a seed": (["preview", "atomic", "--seed", "-1"], "argument --seed: '-1': give a whole number, 0 or more"),
    "a rate": (["plan", "--rate", "-1"], "argument --rate: '-1': give FLOP/s such as 1e14"),
    "no rate": (["plan", "--rate", "nan"], "argument --rate: 'nan': give FLOP/s such as 1e14"),
    "a picture's ending": (
        ["lineage", "2:R", "--picture", "x.docx"],
        "--picture: x.docx; give a file that ends in .svg",
    ),
    "a task": (
        ["task", "atomic", "--extraction", "lora", "--output", "TMP/task", "--name", "a b/../c"],
        "--name: 'a b/../c'",
    ),
    "a task's seed": (
        ["task", "atomic", "--extraction", "lora", "--output", "TMP/task", "--seed", "-1"],
        "argument --seed",
    ),
    "wordings of another dataset": (
        ["task", "atomic", "--extraction", "openings", "--output", "TMP/task"],
        "extractions.openings.wordings: 'birth_date' is no attribute of atomic; there are: id_1",
    ),
    "a licence": (["hub", "results/datasets/x", "TMP/hub", "--license", "foo bar: x"], "--license: 'foo bar: x'"),
    "no JSON": (["check-models"], "standard input: no JSON"),
}


@pytest.mark.parametrize("case", CASES)
def test_nonsense_is_one_line_and_leaves_nothing(monkeypatch, capsys, tmp_path: Path, case: str):
    words, said = CASES[case]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["capacity", *(word.replace("TMP", str(tmp_path)) for word in words)])
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (1, 2)
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_table_with_a_header_alone_is_refused(monkeypatch, capsys, tmp_path: Path):
    whole = ROOT / "results" / "reference" / "laptop" / "quantization" / "capacity_table.csv"
    path = tmp_path / "table.csv"
    path.write_text(whole.read_text().splitlines()[0] + "\n")
    monkeypatch.setattr(sys, "argv", ["capacity", "table", str(path)])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.splitlines() == [f"error: {path}: has no rows; `make table` makes some"]


def test_help_of_a_command_that_a_run_uses(tmp_path: Path):
    command = [sys.executable, "-m", "capacity.cli", "check-models", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (answer.returncode, "Build models" in answer.stdout) == (0, True)


def test_a_reader_that_has_enough_is_no_fault():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    command = (
        f"{sys.executable} -m capacity.cli table results/reference/laptop/quantization/capacity_table.csv | head -1"
    )
    answer = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert answer.stdout.startswith("gpt2-2-2 ")
    assert answer.stderr == ""


def test_a_table_of_strangers_is_shown_without_what_controls_a_terminal(monkeypatch, capsys, tmp_path: Path):
    lines = TABLE.read_text().splitlines()
    study = lines[1].split(",")[0]
    hostile = [line.replace(f"{study},", f"{study}\x1b]0;x\x07,", 1) for line in lines[1:]]
    (tmp_path / "table.csv").write_text("\n".join([lines[0], *hostile]) + "\n")
    monkeypatch.setattr(sys, "argv", ["capacity", "table", str(tmp_path / "table.csv")])
    main()
    shown = capsys.readouterr().out
    assert f"{study}\\x1b]0;x\\x07" in shown
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


@pytest.mark.parametrize("N", ["abc", "24.5"])
def test_a_table_with_a_number_that_is_none_is_one_line(monkeypatch, capsys, tmp_path: Path, N: str):
    table = pd.read_csv(TABLE, dtype=str, keep_default_na=False)
    table.loc[0, "N"] = N
    table.to_csv(tmp_path / "table.csv", index=False)
    monkeypatch.setattr(sys, "argv", ["capacity", "table", str(tmp_path / "table.csv")])
    with pytest.raises(SystemExit):
        main()
    assert "table.csv: N has a value that is no whole number" in capsys.readouterr().err


def test_facts_of_no_bits_need_no_size(monkeypatch, capsys, tmp_path: Path):
    (tmp_path / "t.csv").write_text("e,v\n" + "".join(f"n{i},{i % 2}\n" for i in range(4)))
    config = {"datasets": {"none": {"kind": "bioD", "N": 1, "K": 1, "D": 1, "T": 1, "names": [1, 1, 1]}}}
    (tmp_path / "my.yaml").write_text(json.dumps(config))
    words = ["--facts", "none", "--exposures", "100", "--configfile", str(tmp_path / "my.yaml")]
    monkeypatch.setattr(sys, "argv", ["capacity", "size", *words])
    with pytest.raises(SystemExit):
        main()
    assert "facts: none offers 0 bits; any model holds them" in capsys.readouterr().err
