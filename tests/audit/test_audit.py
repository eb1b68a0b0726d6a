"""The audit tested by planting faults: each is found, named and located, and a folder without one gives no finding."""

import base64
import csv
import fcntl
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from checkout import Checkout
from edits import RUNS
from planted import TINY, keeping_times, tiny_grid

from capacity.artefacts.identity import file_digest, package_version
from capacity.artefacts.manifest import DIGEST, MANIFEST, content_digest, manifest_digest
from capacity.artefacts.stages import STAGES
from capacity.audit import currency, run
from capacity.audit.execution import Choice
from capacity.audit.findings import Finding, Level, Severity
from capacity.audit.folder import read_folder
from capacity.audit.rebuilt_table import retabulate
from capacity.audit.report import Report
from capacity.audit.run import Options, published_places, run_audit
from capacity.config.load import load_config
from capacity.environment import usable_cores
from capacity.errors import UserError
from capacity.jobs.resume import STATE, save_state
from capacity.plan.fixed_paths import published
from capacity.plan.grid import resolve
from capacity.plan.run_lock import lock_run

COUNT = sum(1 + len(spec.members) for spec in tiny_grid().specs.values())
LONG, SHORT = RUNS["long"][2], RUNS["short"][2]
WORLD = RUNS["long"][0]
FAULT, WARNING = Severity.FAULT, Severity.WARNING


@pytest.fixture
def checkout(built: Checkout, tmp_path: Path) -> Checkout:
    """The results of the tiny configuration, to do with as a test likes; sources are this repository's."""
    shutil.copytree(built.path / "results", tmp_path / "checkout" / "results")
    return Checkout(tmp_path / "checkout")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started: neither the engine nor a table made again."""
    monkeypatch.setattr(run, "retabulate", lambda *_: None)
    monkeypatch.setattr(run, "check_engine", lambda *_: None)


def audit(checkout: Checkout, levels: tuple[int, ...] = (1, 2, 3)) -> Report:
    return audit_of(checkout, load_config([TINY]), tiny_grid(), levels)


def audit_of(
    checkout: Checkout, config: Any, grid: Any, levels: tuple[int, ...], choice: Choice | None = None
) -> Report:
    return run_audit(Options(checkout.path / "results", config, grid, levels, choice=choice or Choice()))


def findings(report: Report, least: Severity = WARNING) -> list[Finding]:
    return [finding for level in report.levels for finding in level.findings if finding.severity >= least]


def edit_manifest(folder: Path, **changes: Any) -> None:
    """Change a manifest as someone would who knows of its digest of itself."""
    path = folder / MANIFEST
    manifest = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({**manifest, DIGEST: manifest_digest(manifest)}))


def seal(folder: Path, **changes: Any) -> str:
    """Make a manifest fit the files again, as someone would who knows how; the new content digest."""
    manifest = {**json.loads((folder / MANIFEST).read_text()), **changes}
    for name in manifest["outputs"]:
        path = folder / name
        manifest["outputs"][name] = {"bytes": path.stat().st_size, "sha256": file_digest(path)}
    manifest["content"] = content_digest(manifest["outputs"])
    edit_manifest(folder, **manifest)
    return manifest["content"]


def publish_again(checkout: Checkout) -> None:
    """Put the fixed paths in step with their artefacts."""
    for artefact, files, _ in published(tiny_grid()):
        for name, path in files.items():
            shutil.copyfile(checkout.path / "results" / artefact.name / name, checkout.path / "results" / path)


def forge_table(checkout: Checkout, change: Callable[[str], str]) -> None:
    """Change the table as someone would who hides it: artefact, copies, and the chain to the figures, all sealed."""
    table, figures = checkout.artefact("tables", "capacity"), checkout.artefact("figures", "capacity")
    file = table / "capacity_table.csv"
    file.write_text(change(file.read_text()))
    edit_manifest(figures, inputs={f"tables/{table.name}": {"content": seal(table)}})
    publish_again(checkout)


def test_a_clean_folder_gives_no_finding_and_the_audit_changes_nothing_in_it(checkout: Checkout):
    before = {path: path.stat().st_mtime_ns for path in (checkout.path / "results").rglob("*")}
    report = audit(checkout)
    assert findings(report, Severity.NOTE) == []
    assert report.exit_code == 0
    assert report.verdict() == "no finding"
    facts = {key: value for level in report.levels for key, value in level.facts.items()}
    assert facts["artefacts"] == facts["behind what is published"] == facts["current"] == COUNT
    assert facts["cells made again from the scores"] > 300
    assert facts["jobs that the engine would run"] == 0
    assert {path: path.stat().st_mtime_ns for path in (checkout.path / "results").rglob("*")} == before


# --- planted faults: name, what is done to the folder, the finding's kind and the text of its place


def flip_bit(c: Checkout) -> None:
    keeping_times(c.artefact("checkpoints", LONG) / "model.safetensors", lambda old: old[:-1] + bytes([old[-1] ^ 1]))


def truncate(c: Checkout) -> None:
    keeping_times(c.artefact("probes", f"{LONG}-rtn8") / "scores.parquet", lambda old: old[:-9])


def swap_specs(c: Checkout) -> None:
    first, second = (c.path / "results" / "specs" / f"{c.artefact('checkpoints', s).name}.json" for s in (LONG, SHORT))
    texts = first.read_text(), second.read_text()
    second.write_text(texts[0])
    first.write_text(texts[1])


def swap_settings(c: Checkout) -> None:
    first, second = c.artefact("checkpoints", LONG), c.artefact("checkpoints", SHORT)
    specs = [json.loads((folder / MANIFEST).read_text())["settings"] for folder in (first, second)]
    edit_manifest(first, settings=specs[1])
    edit_manifest(second, settings=specs[0])


def swap_two_values(c: Checkout) -> None:
    folder = c.artefact("checkpoints", LONG)
    settings = json.loads((folder / MANIFEST).read_text())["settings"]
    settings["model"] |= {"l": settings["model"]["h"], "h": settings["model"]["l"]}
    edit_manifest(folder, settings=settings)


def swap_checkpoints(c: Checkout) -> None:
    first, second = c.artefact("checkpoints", LONG), c.artefact("checkpoints", SHORT)
    aside = first.rename(first.with_name("aside"))
    second.rename(first)
    aside.rename(second)


def take_manifest(c: Checkout) -> None:
    shutil.copyfile(c.artefact("checkpoints", SHORT) / MANIFEST, c.artefact("checkpoints", LONG) / MANIFEST)


def take_manifest_and_rename_it(c: Checkout) -> None:
    folder = c.artefact("checkpoints", LONG)
    take_manifest(c)
    edit_manifest(folder, name=f"checkpoints/{folder.name}")


def alter_dataset(c: Checkout) -> None:
    """An input edited after it was used, its manifest sealed again: only the chain shows it."""
    folder = c.artefact("datasets", WORLD)
    (folder / "grammar.json").write_text((folder / "grammar.json").read_text() + "\n")
    seal(folder)


def other_modules(c: Checkout) -> None:
    folder = c.artefact("checkpoints", LONG)
    code = json.loads((folder / MANIFEST).read_text())["code"]
    code["modules"]["capacity.training.batches"] = "0" * 64
    edit_manifest(folder, code=code)


def forget_an_input(c: Checkout) -> None:
    edit_manifest(c.artefact("tokenizers", RUNS["long"][1]), inputs={})


def foreign_state(c: Checkout, **change: Any) -> None:
    identity = c.artefact("checkpoints", LONG).name
    settings = json.loads((c.artefact("checkpoints", LONG) / MANIFEST).read_text())["settings"]
    conditions = {"checkpoint": identity, "settings": settings, **change}
    save_state(c.path / "results" / "resume" / identity, {"vector": torch.ones(2)}, {"step": 1}, conditions)


def damaged_state(c: Checkout) -> None:
    foreign_state(c)
    state = next((c.path / "results" / "resume").glob(f"*/{STATE}"))
    state.write_bytes(state.read_bytes()[:-1])


def link_to_a_pipe(c: Checkout) -> None:
    folder = c.path / "results" / "resume" / "gpt2-other"
    folder.mkdir(parents=True)
    os.mkfifo(c.path / "pipe")
    (folder / STATE).symlink_to(c.path / "pipe")


def add_a_row(c: Checkout) -> None:
    identity = c.artefact("checkpoints", RUNS["words"][2]).name
    forge_table(c, lambda text: text + text.splitlines()[-1].replace(identity, "gpt2-none-000000000000") + "\n")


def row_of_an_orphan(c: Checkout) -> None:
    """A row whose run exists, but is not among those that the table was made from."""
    copy = shutil.copytree(
        c.artefact("checkpoints", SHORT), c.artefact("checkpoints", SHORT).with_name("gpt2-x-000000000000")
    )
    forge_table(c, lambda text: text.replace(c.artefact("checkpoints", SHORT).name, copy.name, 1))


def other_label(c: Checkout) -> None:
    forge_table(c, lambda text: text.replace(",int8,", ",int4,", 1))


def edit_the_copy(c: Checkout) -> None:
    keeping_times(c.path / "results" / "capacity_table.csv", last_digit)


def last_digit(content: bytes) -> bytes:
    """The table with the last digit of the R of its second row changed."""
    rows = list(csv.reader(content.decode().splitlines()))
    column = rows[0].index("R")
    rows[2][column] = rows[2][column][:-1] + str((int(rows[2][column][-1]) + 1) % 10)
    return ("\n".join(",".join(row) for row in rows) + "\n").encode()


def other_host(c: Checkout) -> None:
    keeping_times(c.path / "results" / "runs.csv", lambda old: old.replace(b",1,", b",2,", 1))


def plant_pickle(c: Checkout) -> None:
    (c.artefact("checkpoints", LONG) / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def link_outside(c: Checkout) -> None:
    path = c.artefact("datasets", WORLD) / "facts.parquet"
    path.unlink()
    path.symlink_to("/etc/hostname")


def link_folder(c: Checkout) -> None:
    folder = c.artefact("datasets", WORLD)
    elsewhere = folder.rename(c.path / "elsewhere")
    folder.symlink_to(elsewhere)


def escape(c: Checkout) -> None:
    folder = c.artefact("datasets", WORLD)
    outputs = json.loads((folder / MANIFEST).read_text())["outputs"]
    edit_manifest(folder, outputs={**outputs, "../../../../etc/hostname": {"bytes": 1, "sha256": "0" * 64}})


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


PLANTED: list[tuple[str, Callable[[Checkout], Any], str, str]] = [
    ("edited output, mtime restored", flip_bit, "bytes differ", f"checkpoints/{LONG}-*/model.safetensors"),
    ("truncated file", truncate, "truncated", f"probes/{LONG}-rtn8-*/scores.parquet"),
    ("swapped specs", swap_specs, "foreign spec", f"specs/{LONG}-*.json"),
    ("swapped settings", swap_settings, "edited manifest", f"checkpoints/{LONG}-*/manifest.json"),
    ("two values of a spec swapped", swap_two_values, "edited manifest", f"checkpoints/{LONG}-*/manifest.json"),
    ("swapped folders", swap_checkpoints, "foreign manifest", f"checkpoints/{LONG}-*/manifest.json"),
    (
        "missing manifest",
        lambda c: (c.artefact("tokenizers", RUNS["words"][1]) / MANIFEST).unlink(),
        "no usable manifest",
        f"tokenizers/{RUNS['words'][1]}-*/manifest.json",
    ),
    ("missing artefact", lambda c: shutil.rmtree(c.artefact("datasets", WORLD)), "missing", f"datasets/{WORLD}-*"),
    (
        "missing file",
        lambda c: (c.artefact("checkpoints", LONG) / "training.json").unlink(),
        "missing file",
        f"checkpoints/{LONG}-*/training.json",
    ),
    ("manifest of another run", take_manifest, "foreign manifest", f"checkpoints/{LONG}-*/manifest.json"),
    ("the same, renamed", take_manifest_and_rename_it, "edited manifest", f"checkpoints/{LONG}-*/manifest.json"),
    ("altered input dataset", alter_dataset, "broken chain", f"checkpoints/{LONG}-*/manifest.json"),
    ("input that is not told", forget_an_input, "broken chain", f"tokenizers/{RUNS['long'][1]}-*/manifest.json"),
    ("code digest of other modules", other_modules, "edited manifest", f"checkpoints/{LONG}-*/manifest.json"),
    (
        "state of another checkpoint",
        lambda c: foreign_state(c, checkpoint="gpt2-other-000000000000"),
        "foreign state",
        f"resume/{LONG}-*/state",
    ),
    ("state under another spec", lambda c: foreign_state(c, settings={}), "foreign state", f"resume/{LONG}-*/state"),
    ("damaged state", damaged_state, "damaged state", f"resume/{LONG}-*/state"),
    ("table row without a run", add_a_row, "row without a run", "tables/*.csv line 8, column checkpoint_id"),
    ("table row of an orphan", row_of_an_orphan, "row without a run", "tables/*.csv line ?, column checkpoint_id"),
    ("label of another variant", other_label, "cell differs", "tables/*.csv line ?, column scheme"),
    ("edited runs.csv", other_host, "copy differs", "runs.csv line 2, column *"),
    ("edited copy of the table", edit_the_copy, "copy differs", "capacity_table.csv"),
    (
        "members of a picture",
        lambda c: edit_manifest(c.artefact("figures", "capacity"), members=["datasets/any-000000000000"]),
        "set",
        "figures/capacity-*",
    ),
    ("extra file", plant_pickle, "extra file", f"checkpoints/{LONG}-*/pytorch_model.bin"),
    ("link to a file outside", link_outside, "link", f"datasets/{WORLD}-*/facts.parquet"),
    ("link to a folder outside", link_folder, "no usable manifest", f"datasets/{WORLD}-*/manifest.json"),
    ("output outside the folder", escape, "no usable manifest", f"datasets/{WORLD}-*/manifest.json"),
    (
        "manifest of an unknown schema",
        lambda c: edit_manifest(c.artefact("datasets", WORLD), schema=99),
        "no usable manifest",
        f"datasets/{WORLD}-*/manifest.json",
    ),
    (
        "rubbish for a manifest",
        lambda c: (c.artefact("datasets", WORLD) / MANIFEST).write_bytes(bytes(range(256)) * 9),
        "no usable manifest",
        f"datasets/{WORLD}-*/manifest.json",
    ),
    (
        "a deeply nested manifest",
        lambda c: (c.artefact("datasets", WORLD) / MANIFEST).write_text("[" * 100_000),
        "no usable manifest",
        f"datasets/{WORLD}-*/manifest.json",
    ),
    (
        "a deeply nested manifest of a training",
        lambda c: (c.artefact("checkpoints", LONG) / MANIFEST).write_text("[" * 200_000),
        "no usable manifest",
        f"checkpoints/{LONG}-*/manifest.json",
    ),
    (
        "a manifest nested as deeply as JSON goes",
        lambda c: edit_manifest(c.artefact("checkpoints", LONG), git={"commit": nested(300)}),
        "no usable manifest",
        f"checkpoints/{LONG}-*/manifest.json",
    ),
    (
        "a setting that is no number",
        lambda c: edit_manifest(c.artefact("checkpoints", LONG), settings={"seed": float("nan")}),
        "no usable manifest",
        f"checkpoints/{LONG}-*/manifest.json",
    ),
    (
        "half a character",
        lambda c: edit_manifest(c.artefact("checkpoints", LONG), packages={"torch": "\ud800"}),
        "no usable manifest",
        f"checkpoints/{LONG}-*/manifest.json",
    ),
    (
        "rubbish for a table",
        lambda c: (c.artefact("tables", "capacity") / "capacity_table.csv").write_bytes(bytes(range(256)) * 19),
        "bytes differ",
        "tables/capacity-*/capacity_table.csv",
    ),
    (
        "rubbish for a spec",
        lambda c: next((c.path / "results" / "specs").glob(f"{LONG}-*.json")).write_bytes(b"\xff\x00"),
        "unreadable spec",
        f"specs/{LONG}-*.json",
    ),
    (
        "a pipe for a spec",
        lambda c: os.mkfifo(c.path / "results" / "specs" / "a.json"),
        "unreadable spec",
        "specs/a.json",
    ),
    ("link to a pipe for a state", link_to_a_pipe, "damaged state", "resume/gpt2-other/state"),
    ("missing copy", lambda c: (c.path / "results" / "capacity_table.csv").unlink(), "missing", "capacity_table.csv"),
]


@pytest.mark.parametrize(("name", "plant", "kind", "place"), PLANTED, ids=[fault[0] for fault in PLANTED])
def test_a_planted_fault_is_found_named_and_located(
    checkout: Checkout, quick: None, name: str, plant: Callable[[Checkout], Any], kind: str, place: str
):
    plant(checkout)
    report = audit(checkout, (1, 2))
    found = [finding for finding in findings(report, FAULT) if finding.kind == kind]
    assert any(fnmatch(finding.where, place) for finding in found), report.as_text()
    assert report.exit_code == 4
    assert place.partition("-*")[0].rpartition("/")[2].partition("*")[0] in report.as_text()


def test_what_is_here_is_compared_whatever_an_archive_says_that_it_left_out(checkout: Checkout, tmp_path: Path):
    forge_table(checkout, lambda text: last_digit(text.encode()).decode())
    folder, level = read_folder(checkout.path / "results", published_places(tiny_grid()), left_out=STAGES), Level(2)
    table = next(each for each in folder.published_artefacts() if each.stage == "tables")
    assert retabulate(folder, table, load_config([TINY]), tmp_path, level)
    assert [finding.kind for finding in level.findings] == ["cell differs"]


@pytest.mark.parametrize("change", [last_digit], ids=["last digit of R"])
def test_a_number_that_does_not_follow_from_its_scores_is_found_though_every_digest_fits(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]
):
    monkeypatch.setattr(run, "check_engine", lambda *_: None)
    forge_table(checkout, lambda text: change(text.encode()).decode())
    found = findings(audit(checkout, (1, 2)))
    assert {finding.kind for finding in found} == {"cell differs"}
    assert all(finding.where.startswith("figures/") for finding in found[1:]), "what was drawn is of the true table"
    assert found[0].where.endswith("capacity_table.csv line 3, column R")
    assert found[0].severity == FAULT


def test_a_picture_of_something_else_is_found_though_every_digest_fits(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run, "check_engine", lambda *_: None)
    figures = checkout.artefact("figures", "capacity")
    shutil.copyfile(next(figures.glob("study-*.png")), figures / "capacity.png")
    seal(figures)
    publish_again(checkout)
    found = findings(audit(checkout, (1, 2)))
    assert [(finding.kind, finding.where.rpartition("/")[2]) for finding in found] == [
        ("picture differs", "capacity.png")
    ]


# --- currency


def test_what_another_package_version_would_change_is_named_once_and_its_followers_are_counted(
    checkout: Checkout, quick: None, monkeypatch: pytest.MonkeyPatch
):
    version = currency.package_version
    monkeypatch.setattr(currency, "package_version", lambda name: "99.0" if name == "torch" else version(name))
    report = audit(checkout)
    stale = [finding for finding in findings(report) if finding.kind == "stale"]
    assert {finding.where.partition("/")[0] for finding in stale} == {"checkpoints", "variants", "probes"}
    assert all(finding.what.startswith("package torch ") and "-> 99.0" in finding.what for finding in stale)
    assert report.levels[-1].facts["stale"] == COUNT - 4
    assert report.exit_code == 3


def test_an_outside_file_that_changed_is_named_with_both_digests(
    checkout: Checkout, quick: None, monkeypatch: pytest.MonkeyPatch
):
    digest = currency.input_digest
    monkeypatch.setattr(currency, "input_digest", lambda path: "f" * 64 if path.name == "majors.txt" else digest(path))
    stale = findings(audit(checkout))
    assert [fnmatch(finding.where, f"datasets/{RUNS['words'][0]}-*") for finding in stale] == [True]
    assert "majors.txt" in stale[0].what
    assert stale[0].what.endswith(f"-> {'f' * 12}")


@pytest.mark.parametrize("place", ["data/x.csv", "../outside/x.csv", "absolute"])
def test_an_outside_file_is_read_where_the_plan_reads_it_but_for_an_archive_inside_the_project_alone(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    """By a link, or elsewhere: one's own is current, and an archive learns nothing of it."""
    project, outside = tmp_path / "project", tmp_path / "outside"
    project.mkdir()
    outside.mkdir()
    (outside / "x.csv").write_text("entity,city\n")
    (project / "data").symlink_to(outside)
    monkeypatch.setattr(currency, "REPOSITORY", project)
    place = str(outside / "x.csv") if place == "absolute" else place
    artefact = read_folder(checkout.path / "results", []).artefacts[
        f"datasets/{checkout.artefact('datasets', WORLD).name}"
    ]
    settings = {**artefact.manifest.settings, "files": {place: file_digest(outside / "x.csv")}}
    made = replace(artefact, manifest=artefact.manifest.model_copy(update={"settings": settings}))
    assert currency.own_changes(made) == []
    assert currency.own_changes(made, archived=True) == [f"file {place[:80]} is not in this tree"]  # a long one is cut


def test_a_published_table_of_another_configuration_is_told_field_by_field(checkout: Checkout, quick: None):
    from planted import tiny

    grid = tiny(regimes={"long": {"lr": 5e-3}}, display={"title": "Other"})
    report = run_audit(Options(checkout.path / "results", load_config([TINY]), grid, (3,)))
    told = {finding.where: finding.what for finding in findings(report) if finding.kind == "other configuration"}
    assert told[f"checkpoints/{LONG}"] == "regime.lr 0.01 -> 0.005"
    assert told["figures/capacity"] == "display.title  -> Other"
    assert f"checkpoints/{SHORT}" not in told


def test_an_artefact_of_older_code_is_stale_and_the_engine_agrees(built: Checkout, tmp_path: Path):
    """As a user sees it: the command, in a checkout whose training code was edited after the build."""
    edited = built.copy(tmp_path / "edited")
    edited.edit("scripts/train_checkpoint.py", lambda text: text + "\n\n_PLANTED = 1\n")
    answer = edited.capacity("audit", "--levels", "1-3")
    assert answer.returncode == 3, answer.stdout + answer.stderr
    report = json.loads((edited.path / "results" / "audit" / "audit.json").read_text())
    found = [f for level in report["levels"] for f in level["findings"] if f["severity"] != "note"]
    stale = [finding for finding in found if finding["kind"] == "stale"]
    assert {finding["where"].rpartition("-")[0] for finding in stale} == {
        f"checkpoints/{run[2]}" for run in RUNS.values()
    }
    assert all("train_checkpoint.py" in finding["what"] for finding in stale)
    assert {finding["kind"] for finding in found} == {"stale", "not made"}
    assert report["levels"][2]["facts"]["jobs that the engine would run"] == 13


@pytest.mark.parametrize(
    ("package", "version", "reasons"),
    [
        ("schedulefree", package_version("schedulefree"), []),  # which one optimizer needs, and no other
        ("schedulefree", "0.1", [f"package schedulefree 0.1 -> {package_version('schedulefree')}"]),
        ("peft", "0.1", ["package peft 0.1 -> None"]),  # of another stage
        ("pillow", "0.1", [f"package pillow 0.1 -> {package_version('pillow')}"]),  # of a model of one's own
    ],
)
def test_packages_that_some_settings_need_besides_are_compared_too(
    checkout: Checkout, package: str, version: str, reasons: list[str]
):
    name = f"checkpoints/{checkout.artefact('checkpoints', LONG).name}"
    artefact = read_folder(checkout.path / "results", []).artefacts[name]
    packages = {**artefact.manifest.packages, package: version}
    settings = artefact.manifest.settings
    if package == "pillow":
        settings = {**settings, "model": {"python": "net:make"}}
    update = {"packages": packages, "settings": settings}
    made = replace(artefact, manifest=artefact.manifest.model_copy(update=update))
    assert currency.own_changes(made) == reasons


def test_damage_that_the_engine_would_use_is_a_finding_of_its_own(checkout: Checkout, monkeypatch: pytest.MonkeyPatch):
    """The index that spares the engine hashing is forged to call a damaged file known."""
    monkeypatch.setattr(run, "retabulate", lambda *_: None)
    flip_bit(checkout)
    file = checkout.artefact("checkpoints", LONG) / "model.safetensors"
    name, stat = f"checkpoints/{file.parent.name}", file.stat()
    index = checkout.path / "results" / "integrity.json"
    known = json.loads(index.read_text()) if index.is_file() else {}
    files = {".": file.parent.stat(), **{path.name: path.stat() for path in file.parent.iterdir()}}
    known[name] = {f: [s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for f, s in files.items()}
    index.write_text(json.dumps(known))
    assert stat.st_size
    found = [finding for finding in findings(audit(checkout), FAULT) if finding.kind == "engine differs"]
    assert [(finding.where, finding.what) for finding in found] == [
        (name, "is damaged, and the engine would use it as it is")
    ]


# --- what is not a fault


def test_damage_to_what_nothing_published_rests_on_is_a_warning(checkout: Checkout, quick: None):
    folder = checkout.artefact("checkpoints", LONG)
    orphan = shutil.copytree(folder, folder.with_name("gpt2-old-000000000000"))
    edit_manifest(orphan, name=f"checkpoints/{orphan.name}")
    report = audit(checkout)
    assert report.exit_code == 3
    assert any(f.kind == "orphans" and orphan.name in f.where for f in findings(report, Severity.NOTE))


def test_a_table_alone_as_the_engine_makes_it_is_not_made_whole_and_no_fault(checkout: Checkout, quick: None):
    figures, results = checkout.artefact("figures", "capacity"), checkout.path / "results"
    for artefact, files, id_file in published(tiny_grid()):
        if artefact.stage == "figures":
            for path in (*files.values(), id_file):
                (results / path).unlink()
    shutil.rmtree(figures)
    found = findings(audit(checkout, (1, 2)))
    assert {(finding.severity, finding.kind) for finding in found} == {(WARNING, "not made")}
    assert any("no figures are published; `make table` makes them" in finding.what for finding in found)


def test_engine_records_are_counted_and_their_absence_is_no_finding(checkout: Checkout, quick: None, tmp_path: Path):
    records = tmp_path / "metadata"
    records.mkdir()
    manifest = f"results/checkpoints/{checkout.artefact('checkpoints', LONG).name}/{MANIFEST}"
    (records / base64.urlsafe_b64encode(manifest.encode()).decode()).touch()
    options = Options(checkout.path / "results", load_config([TINY]), tiny_grid(), (1,), records=records)
    level = run_audit(options).levels[0]
    assert level.facts["artefacts in the engine's records"] == 1
    assert level.findings == []


def test_copies_that_this_configuration_does_not_publish_are_told(checkout: Checkout, quick: None):
    (checkout.path / "results" / "claims.id").write_text("capacity-000000000000\n")
    options = Options(checkout.path / "results", load_config([TINY]), tiny_grid(), (1,))
    (finding,) = run_audit(options).levels[0].findings
    assert (finding.kind, finding.where, finding.severity) == ("left behind", "claims.id", Severity.WARNING)


def test_a_folder_in_which_a_run_is_under_way_is_audited_and_the_run_is_named(
    checkout: Checkout, quick: None, capsys: pytest.CaptureFixture[str]
):
    with open(checkout.path / "results" / "engine.lock", "w") as lock:
        lock.write("process 1 on host\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert findings(audit(checkout)) == []
    assert "(process 1 on host)" in capsys.readouterr().err


def test_an_audit_keeps_no_run_from_beginning(checkout: Checkout, quick: None, monkeypatch: pytest.MonkeyPatch):
    def look(*given: object) -> object:
        lock_run(checkout.path / "results").close()
        return read_folder(*given)

    monkeypatch.setattr("capacity.audit.run.read_folder", look)
    audit(checkout)


def test_the_number_of_processes_needs_nothing_that_one_system_alone_has(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == os.cpu_count()


def test_a_job_on_another_host_is_told(checkout: Checkout, quick: None):
    (checkout.path / "results" / "scratch" / "gpt2-x-000000000000.elsewhere.12").mkdir(parents=True)
    assert [finding.kind for finding in findings(audit(checkout))] == ["job under way"]


def test_a_folder_that_is_not_there_is_one_line(checkout: Checkout):
    with pytest.raises(UserError, match="no such folder"):
        run_audit(Options(checkout.path / "nothing", load_config([TINY]), tiny_grid(), (1,)))


def test_a_table_of_other_studies_than_are_asked_for_is_one_line_and_no_list_of_faults(checkout: Checkout):
    other = load_config(
        [TINY], {"study": ["mine"], "studies": {"mine": load_config([TINY]).model_dump()["studies"]["base"]}}
    )
    with pytest.raises(UserError, match=r"table is of base, prose, .* asks for mine; give the CONFIG, STUDY and SCALE"):
        audit_of(checkout, other, resolve(other), (1,))
