"""What people give to make reaches the commands whole, as words, and never a shell as text."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import Checkout
from snakemake.cli import parse_args

ROOT = Path(__file__).resolve().parents[1]
# Words that end a quotation or a command, and what a shell or make would run.
NASTY = "x; touch {0}/1 \"'$(touch {0}/2)`touch {0}/3`$(shell touch {0}/4)${{touch}} #&|>"
# Target -> what it hands on besides STUDY, SCALE and CONFIG (None: not even these).
GIVEN = {
    "table": ["CORES"],
    "report": ["CORES"],
    "plan": ["AGAINST"],
    "audit": ["LEVELS", "SAMPLE", "SEED", "TARGET", "JOBS", "RESULTS", "ARCHIVE", "SIGNERS"],
    "release": ["RESULTS", "WITH", "KEY", "OUTPUT"],
    "lineage": ["CELL", "RESULTS"],
    "preview": ["DATASET"],
    "runs": [],
    "curves": [],
    "orphans": [],
    "prune": [],
    "task": ["DATASET", "EXTRACTION", "TASK"],
    "size": ["FACTS", "EXPOSURES"],
}
NEEDED = {
    "lineage": {"CELL": "12:R"},
    "preview": {"DATASET": "atomic"},
    "task": {"DATASET": "biographies", "EXTRACTION": "questions", "TASK": "folder"},
    "export": {"VARIANT": "results/variants/x", "OUTPUT": "packed"},
}
OTHERS = {"export": ["VARIANT", "OUTPUT"], "compare": ["SCALE"], "law": [], "reference": []}
RECORD = """#!{python}
import json, os, sys
if sys.argv[1:2] == ["scripts/capacity/cli/with_args.py"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with open("calls", "a") as file:
    print(json.dumps(["{name}", *sys.argv[1:]]), file=file)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the Makefile, and programs that only record how they are called."""
    folder = tmp_path / "a folder"
    (folder / "envs").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    cli = folder / "scripts" / "capacity" / "cli"
    cli.mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "capacity" / "cli" / "with_args.py", cli)
    for name in ("install", "requirements.txt"):
        (folder / "envs" / name).touch()
    programs(folder, RECORD)
    return folder


def programs(folder: Path, text: str) -> None:
    """An environment of make's whose python and snakemake are scripts."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "snakemake", "capacity"):
        program = folder / ".venv" / "bin" / name
        module = "capacity.cli" if name == "capacity" else name
        program.write_text(text.format(python=sys.executable, name=name, module=module))
        program.chmod(0o755)
    (folder / ".venv" / "requirements.txt").touch()  # newer than what it is made from


def make(folder: Path, target: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Run make, from an environment in which nothing is given."""
    left_out = {"MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS", "ARGS", "STUDY", "SCALE", "CONFIG", "CORES"}
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    command = ["make", target, *(f"{name}={value}" for name, value in given.items())]
    return subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )


def put_files(folder: Path, scale: str | None, config: str | None) -> None:
    """Files where SCALE and CONFIG say that they are, for the engine's targets ask for them."""
    for path in (folder / "scales" / f"{scale}.yaml", folder / str(config)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


@pytest.mark.parametrize("target", [*GIVEN, *OTHERS])
def test_no_value_is_run_and_every_value_arrives_whole(place: Path, tmp_path: Path, target: str):
    planted = tmp_path / "planted"
    planted.mkdir()
    names = [*GIVEN[target], "STUDY", "SCALE", "CONFIG"] if target in GIVEN else OTHERS[target]
    values = {name: f"{name} " + NASTY.format(planted) for name in names}
    put_files(place, values.get("SCALE"), values.get("CONFIG"))
    answer = make(place, target, **values, ARGS=f"--first 'a; touch {planted}/5' $(touch {planted}/6)")
    assert answer.returncode == 0, answer.stderr
    assert list(planted.iterdir()) == []
    first = calls(place)[0]
    expected = dict(values)
    if "SCALE" in expected and target in GIVEN:
        expected["SCALE"] = f"scales/{expected['SCALE']}.yaml"
    if "STUDY" in expected and first[0] == "snakemake":
        expected["STUDY"] = f"study={expected['STUDY']}"
    assert set(expected.values()) <= set(first)
    assert first[-4:] == ["--first", f"a; touch {planted}/5", "$(touch", f"{planted}/6)"]


@pytest.mark.parametrize("way", ["command line", "environment"])
def test_a_value_with_a_dollar_is_not_expanded_by_make(place: Path, monkeypatch, way: str):
    if way == "environment":
        monkeypatch.setenv("DATASET", "$(HOME)$$HOME$HOME")
    make(place, "preview", **({"DATASET": "$(HOME)$$HOME$HOME"} if way == "command line" else {}))
    assert calls(place)[0][2] == "$(HOME)$$HOME$HOME"


def test_what_is_not_given_is_not_handed_on(place: Path):
    for target in GIVEN:
        assert make(place, target, **NEEDED.get(target, {})).returncode == 0
    for call in calls(place):
        assert not {"", "--configfile", "--config", "--study", "--damaged", "--yes"} & set(call), call


@pytest.mark.parametrize("target", NEEDED)
def test_a_variable_that_is_missing_is_one_line(place: Path, target: str):
    for name in NEEDED[target]:
        answer = make(place, target, **{key: value for key, value in NEEDED[target].items() if key != name})
        assert answer.returncode == 2
        assert answer.stderr.startswith(f"error: {name}: missing; for example {name}=")
    assert not (place / "calls").exists()


@pytest.mark.parametrize("target", ["table", "report"])
def test_the_engine_takes_for_targets_what_is_meant_as_targets(place: Path, monkeypatch, target: str):
    put_files(place, "paper", "my study.yaml")
    make(place, target, STUDY="base", SCALE="paper", CONFIG="my study.yaml", CORES="2", ARGS="results/runs.csv")
    engine = [call for call in calls(place) if call[0] == "snakemake"]
    assert len(engine) == 1
    monkeypatch.chdir(ROOT)
    for call in engine:
        _, args = parse_args(call[1:])
        assert args.targets == [*(["results/report.html"] if target == "report" else []), "results/runs.csv"]
        assert args.config == ["study=base"]
        assert list(map(str, args.configfile)) == ["scales/paper.yaml", "my study.yaml"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ARGS": "--config a=1", "STUDY": "base"}, "--config stands beside STUDY"),
        ({"ARGS": "--config foo"}, "--config: 'foo' is no KEY=VALUE"),
        ({"ARGS": "-n -C study=base-law results/runs.csv"}, "--config: 'results/runs.csv' is no KEY=VALUE"),
        ({"ARGS": "--config=foo"}, "--config: 'foo' is no KEY=VALUE"),
        ({"ARGS": "--configfile=missing.yaml results/runs.csv"}, "missing.yaml: no such file"),
        ({"ARGS": "--config a.b=1 -n"}, "--config: 'a.b=1' is no KEY=VALUE"),
        ({"ARGS": "--configfile=a.yaml", "SCALE": "paper"}, "--configfile stands beside SCALE or CONFIG"),
        ({"ARGS": "a 'b"}, "no closing quotation"),
    ],
)
def test_args_that_make_or_the_engine_cannot_take_are_refused_in_one_line(
    place: Path, given: dict[str, str], said: str
):
    answer = make(place, "table", **given)
    assert answer.returncode != 0
    lines = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not (place / "calls").exists()


MINE = """\
study: [mine]
studies:
  mine:
    question: Does a file of one's own do?
    paper: It does.
    datasets: [atomic]
    tokenizers: [word]
    models: [small]
    regimes: [short]
    seeds: [1]
"""


@pytest.mark.long
def test_a_study_in_a_file_of_ones_own_is_planned_made_and_listed(checkout: Checkout):
    for name in ("Makefile", "envs"):
        source, target = ROOT / name, checkout.path / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    run = '#!/bin/sh\nexport PYTHONPATH=scripts\n[ {name} = python ] || set -- -m {module} "$@"\nexec {python} "$@"\n'
    programs(checkout.path, run)
    (checkout.path / "my study.yaml").write_text(MINE)
    mine = {"CONFIG": "my study.yaml"}
    assert "publish_table" in make(checkout.path, "plan", **mine).stdout
    dry = make(checkout.path, "table", **mine, ARGS="-n")
    assert dry.returncode == 0, dry.stderr
    table = make(checkout.path, "table", **mine, CORES="2")
    assert table.returncode == 0, table.stdout + table.stderr
    assert checkout.table().decode().splitlines()[1].startswith("mine,")
    rows = json.loads(make(checkout.path, "runs", **mine, ARGS="--format json").stdout)
    assert [(row["study"], row["state"]) for row in rows] == [("mine", "done")]
    assert "study mine" in make(checkout.path, "orphans", **mine).stdout
    assert "nothing to do" in make(checkout.path, "plan", **mine).stdout


@pytest.mark.parametrize("given", [{"SCALE": "nope"}, {"CONFIG": "nope.yaml"}])
def test_a_file_that_is_not_there_is_one_line(place: Path, given: dict[str, str]):
    answer = make(place, "table", **given)
    assert answer.returncode != 0
    assert next(line for line in answer.stderr.splitlines() if "nope" in line).startswith("error: ")
    assert "Traceback" not in answer.stderr
    assert not (place / "calls").exists(), "nothing was started"
