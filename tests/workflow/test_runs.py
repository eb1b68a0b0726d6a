"""What happens around a run: edits while it goes on, a second engine, a shared store, damaged parents, bad input."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import TARGETS, Checkout
from edits import RUNS
from waiting import wait


def start_engine(checkout: Checkout) -> subprocess.Popen[str]:
    """A real run in the background."""
    command = [sys.executable, "-m", "snakemake", *TARGETS, "--cores", "2", "-p"]
    return subprocess.Popen(
        command,
        cwd=checkout.path,
        env=checkout.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.long
def test_neither_an_edit_nor_a_second_engine_disturbs_a_run(built: Checkout, tmp_path: Path):
    checkout = Checkout.new(tmp_path / "checkout")
    engine = start_engine(checkout)
    wait((checkout.path / "results" / "engine.lock").exists)
    checkout.replace("config.yaml", "draws: 1", "draws: 3")
    checkout.edit("config.yaml", lambda text: text.replace("lr: 1e-2", "lr: 5e-3"))
    second = checkout.engine()
    assert second.returncode == 1
    lines = [line for line in second.stdout.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert f"process {engine.pid}" in lines[0]
    output, _ = engine.communicate(timeout=400)
    assert engine.returncode == 0, output
    assert checkout.table() == built.table()


@pytest.mark.parametrize(
    ("stage", "slug", "file"),
    [("datasets", RUNS["long"][0], "facts.parquet"), ("checkpoints", RUNS["long"][2], "model.safetensors")],
)
def test_whoever_reads_a_damaged_artefact_stops_and_names_it(checkout: Checkout, stage: str, slug: str, file: str):
    folder = checkout.artefact(stage, slug)
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(bytes(content))
    child = "tokenizers" if stage == "datasets" else "variants"
    spec = next(
        path
        for path in (checkout.path / "results" / "specs").glob("*.json")
        if (content := json.loads(path.read_text()))["stage"] == child
        and f"{stage}/{folder.name}" in content["parents"].values()
    )
    script = "make_tokenizer.py" if child == "tokenizers" else "quantize_checkpoint.py"
    answer = checkout.script(script, "--spec", str(spec))
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert f"{folder.name}/{file}" in answer.stderr
    runs = checkout.capacity("runs").stdout
    assert "damaged" in runs
    assert folder.name in runs


@pytest.mark.long
def test_two_checkouts_share_artefacts_through_a_store(built: Checkout, tmp_path: Path):
    store = tmp_path / "store"
    first, second = (Checkout.new(tmp_path / name) for name in ("first", "second"))
    for checkout in (first, second):
        checkout.edit("config.yaml", lambda text: text + f"store: {store}\n")
    first.build()
    corrupted = next(iter((store / "datasets").iterdir()))
    facts = corrupted / "facts.parquet"
    facts.chmod(0o644)
    facts.write_bytes(facts.read_bytes()[:-1] + b"?")
    second.build()
    assert first.table() == second.table() == built.table()
    logs = second.logs()
    assert logs.count("taken from the store") >= 6
    assert f"{corrupted.name}/facts.parquet: holds other bytes than were written" in logs
    assert all(not path.stat().st_mode & 0o222 for path in (store / "checkpoints").rglob("*.safetensors"))


def in_mount_namespace(checkout: Checkout, store: Path, options: str) -> str:
    """Build with a store that is a small or a read-only file system, in a mount namespace of its own."""
    store.mkdir()
    script = (
        f"mount -t tmpfs -o {options} none {store} && "
        f"exec {sys.executable} -m snakemake {' '.join(TARGETS)} --cores 2 --config store={store}"
    )
    answer = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=checkout.path,
        env=checkout.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout
    return checkout.logs()


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "words"), [("size=16k", "No space left on device"), ("ro", "Read-only file system")]
)
def test_a_store_that_cannot_be_written_costs_a_line_and_nothing_else(
    checkout: Checkout, built: Checkout, tmp_path: Path, options: str, words: str
):
    shutil.rmtree(checkout.artefact("tokenizers", RUNS["words"][1]))
    checkout.replace("config.yaml", "draws: 1", "draws: 2")
    logs = in_mount_namespace(checkout, tmp_path / "store", options)
    assert words in logs
    assert "it stays in results only" in logs
    assert len(checkout.table().splitlines()) == len(built.table().splitlines())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--config", "study=nothing"), "study: 'nothing' is not in studies"),
        (("--config", "regimes={long: {lr: -1}}"), "regimes.long.lr: -1"),
    ],
)
def test_bad_input_ends_before_any_job_with_one_line_and_exit_code_one(checkout: Checkout, words, line: str):
    answer = checkout.engine(*words)
    assert answer.returncode == 1
    assert sum(line in text for text in answer.stdout.splitlines()) == 1, answer.stdout
    assert "Traceback" not in answer.stdout


def test_results_of_a_newer_schema_are_named_and_left_alone(checkout: Checkout):
    folder = checkout.artefact("datasets", RUNS["long"][0])
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    answer = checkout.engine()
    assert answer.returncode == 1
    assert sum("schema 99" in line for line in answer.stdout.splitlines()) == 1, answer.stdout
    assert json.loads((folder / "manifest.json").read_text())["schema"] == 99


def test_make_runs_shows_every_state(checkout: Checkout):
    log = checkout.path / "results" / "logs" / "train_checkpoint"
    checkout.edit("config.yaml", lambda text: text.replace("lr: 1e-2", "lr: 5e-3", 1))
    spec = next(
        path
        for path in (json.loads(checkout.capacity("plan", "--json").stdout)["jobs"])
        if path["rule"] == "train_checkpoint"
    )
    (log / f"{spec['name'].split('/')[1]}.log").write_text("it broke\n")
    rows = json.loads(checkout.capacity("runs", "--format", "json").stdout)
    states = {row["run"]: (row["state"], row["note"]) for row in rows}
    assert states[RUNS["long"][2]][0] == "failed"
    assert states[RUNS["long"][2]][1].endswith(".log")
    assert states[RUNS["short"][2]][0] == "done"
    for kind, head in (("csv", "name,state,stage,R"), ("markdown", "| study | name")):
        assert checkout.capacity("runs", "--format", kind).stdout.startswith(head)


def test_prune_removes_what_the_configuration_does_not_reach_and_only_when_told(checkout: Checkout):
    checkout.replace("config.yaml", "cut: {exposures: 3", "cut: {exposures: 4")
    orphan = checkout.artefact("checkpoints", RUNS["words"][2])
    listed = checkout.capacity("prune", "--list").stdout
    assert str(orphan.relative_to(checkout.path)) in listed
    assert "nothing removed" in checkout.capacity("prune").stdout
    assert orphan.is_dir()
    assert "removed" in checkout.capacity("prune", "--yes").stdout
    assert not orphan.exists()
    assert checkout.artefact("checkpoints", RUNS["long"][2]).is_dir()


def test_a_job_that_outlived_a_killed_engine_does_not_hide_what_follows(checkout: Checkout):
    """The engine marked a job as begun, died, and the job ended: all that follows is still missing."""
    checkpoint = checkout.artefact("checkpoints", RUNS["long"][2]).relative_to(checkout.path) / "manifest.json"
    mark = checkout.path / ".snakemake" / "incomplete" / base64.urlsafe_b64encode(str(checkpoint).encode()).decode()
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"external_jobid": None}))
    for stage in ("variants", "probes", "tables"):
        shutil.rmtree(checkout.path / "results" / stage)
    (checkout.path / "results" / "capacity_table.csv").unlink()
    planned = checkout.planned()
    assert ("publish_table", "") in planned
    assert ("quantize_checkpoint", RUNS["long"][2]) in planned
    assert not any(rule == "train_checkpoint" for rule, _ in planned)
