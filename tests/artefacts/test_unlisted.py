"""An artefact holds what its manifest lists and nothing else; a manifest is bound by itself and by what followed."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout
from edits import RUNS
from planted import of_stage, plant, tiny_grid
from test_audit import audit, checkout, edit_manifest, findings, other_host, quick, swap_specs  # noqa: F401 - fixtures

from capacity.artefacts.manifest import DIGEST, MANIFEST, content_digest, list_outputs, verify
from capacity.artefacts.store import Store
from capacity.audit.findings import Severity
from capacity.errors import NotOurs, Unlisted, UserError
from capacity.plan.survey import State, Survey, hold_against

LONG = RUNS["long"][2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A planted dataset with one file, content.txt."""
    return plant(of_stage(tiny_grid(), "datasets"), tmp_path / "results")


# --- what is beside


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")


UNLISTED: dict[str, Callable[[Path], Any]] = {
    "file": lambda f: write(f / "adapter_config.json"),
    "hidden file": lambda f: write(f / ".locks"),
    "file in a folder": lambda f: write(f / "__pycache__" / "deep" / "x.pyc"),
    "empty folder": lambda f: (f / "empty").mkdir(),
    "link to a file": lambda f: (f / "link").symlink_to("/etc/hostname"),
    "link to nothing": lambda f: (f / "link").symlink_to("nowhere"),
    "link to a folder": lambda f: (f / "link").symlink_to("/etc"),
    "pipe": lambda f: os.mkfifo(f / "pipe"),
    "another manifest": lambda f: write(f / "more" / MANIFEST),
    "blank and quote": lambda f: write(f / "it's a file"),
    "control characters": lambda f: write(f / "a\x1b[31m\nred'\\"),
    "no text": lambda f: write(f / os.fsdecode(b"caf\xe9")),
    "hard link": lambda f: os.link(f / "content.txt", f.parent / "other name"),
}


@pytest.mark.parametrize("put", UNLISTED.values(), ids=UNLISTED.keys())
def test_what_a_manifest_does_not_list_is_refused_in_one_line_whose_remedy_works(
    folder: Path, put: Callable[[Path], Any]
):
    watch = Survey(folder.parents[1])
    name = f"datasets/{folder.name}"
    assert watch.state(name) == State.DONE
    put(folder)
    with pytest.raises(Unlisted) as caught:
        verify(folder)
    line = str(caught.value)
    assert str(folder) in line
    assert line.isprintable()
    with pytest.raises(Unlisted):  # though every listed file is known by its stat
        watch.state(name)
    command = line.rpartition(", then ")[2].rpartition(" its own: ")[2]
    subprocess.run(["bash", "-c", command], check=True)
    assert verify(folder)["name"] == name
    assert watch.state(name) == State.DONE


def test_an_artefact_behind_a_link_is_refused(folder: Path):
    elsewhere = folder.rename(folder.parents[1] / "elsewhere")
    folder.symlink_to(elsewhere)
    with pytest.raises(Unlisted, match="is a link"):
        verify(folder)


@pytest.mark.parametrize("name", ["content.txt", MANIFEST])
def test_a_link_in_place_of_a_listed_file_is_damage_though_its_target_has_the_bytes(folder: Path, name: str):
    (folder / name).rename(folder.parent / "aside")
    (folder / name).symlink_to(folder.parent / "aside")
    with pytest.raises(UserError, match=r"is no plain file|is a link") as caught:
        verify(folder)
    assert not isinstance(caught.value, NotOurs)


def test_a_listed_name_outside_the_folder_is_missing_and_never_read(folder: Path):
    os.mkfifo(folder.parent / "pipe")  # reading it would hang
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    outputs = {**manifest["outputs"], "../pipe": {"bytes": 0, "sha256": "0"}}
    edit_manifest(folder, outputs=outputs, content=content_digest(outputs))
    with pytest.raises(UserError, match=r"\.\./pipe: is missing"):
        verify(folder)


def test_a_job_that_leaves_a_link_makes_no_artefact(tmp_path: Path):
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="plain files alone"):
        list_outputs(tmp_path)


def test_all_artefacts_with_something_beside_are_told_at_once_and_nothing_is_planned(results: Path):
    specs = [spec for spec in tiny_grid().specs.values() if spec.stage == "datasets"]
    for spec in specs:
        write(results / spec.name / ".DS_Store")
    with pytest.raises(Unlisted, match=rf"\.DS_Store.*and the like in {len(specs) - 1} other artefacts"):
        hold_against(tiny_grid(), results)


@pytest.mark.parametrize("put", [UNLISTED["file"], UNLISTED["link to a file"], UNLISTED["link to a folder"]])
def test_a_store_never_gives_what_a_manifest_does_not_list(
    folder: Path, tmp_path: Path, put: Callable[[Path], Any], capsys: pytest.CaptureFixture[str]
):
    store, name = Store(tmp_path / "store"), f"datasets/{folder.name}"
    store.add(name, folder)
    put(store.root / name)
    assert not store.fetch(name, {}, tmp_path / "fetched")
    assert list((tmp_path / "fetched").iterdir()) == []
    assert f"{store.root / name}/" in capsys.readouterr().out


def test_a_store_that_cannot_be_looked_at_costs_a_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store, name = Store(tmp_path / ("long" * 100)), f"datasets/{folder.name}"
    assert not store.fetch(name, {}, tmp_path / "fetched")
    assert "the artefact is made here instead" in capsys.readouterr().out
    store.add(name, folder)
    assert "it stays in results only" in capsys.readouterr().out


def test_a_store_is_for_all_who_may_write_its_root(folder: Path, tmp_path: Path):
    """Else it is the first user's alone, who made the folders in it."""
    store, name = Store(tmp_path / "store"), f"datasets/{folder.name}"
    store.root.mkdir()
    store.root.chmod(0o2775)
    before = os.umask(0o077)
    try:
        store.add(name, folder)
    finally:
        os.umask(before)
    for place in ("incoming", "datasets"):
        assert (store.root / place).stat().st_mode & 0o7777 == 0o2775
    assert {path.stat().st_mode & 0o777 for path in (store.root / name).rglob("*")} <= {0o444, 0o755}
    assert (store.root / name).stat().st_mode & 0o777 == 0o755


def test_what_a_store_keeps_from_writing_can_be_written_here(folder: Path, tmp_path: Path):
    """As root the tests see the bits alone: another user could not move a folder that is read-only."""
    store, name = Store(tmp_path / "store"), f"datasets/{folder.name}"
    store.add(name, folder)
    (store.root / name).chmod(0o555)
    assert store.fetch(name, {}, tmp_path / "fetched")
    assert (tmp_path / "fetched").stat().st_mode & 0o777 == 0o755


def test_a_link_in_a_store_is_never_followed(folder: Path, tmp_path: Path):
    """Bytes that fit, but lie elsewhere: who owns that place could change them after the check."""
    store, name = Store(tmp_path / "store"), f"datasets/{folder.name}"
    store.add(name, folder)
    file = store.root / name / "content.txt"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert not store.fetch(name, {}, tmp_path / "fetched")


OTHER_NAME = "its settings, code and parents make "
FOREIGN = {
    "other settings": ({"settings": {"kind": "bioD", "N": 1}}, OTHER_NAME),
    "other code": ({"code": {"digest": "0" * 64, "script": "x", "modules": {}}}, OTHER_NAME),
    "other parents": ({"parents": {"dataset": "datasets/x-000000000000"}}, OTHER_NAME),
    "settings that are no numbers": ({"settings": {"seed": float("nan")}}, "not a manifest of this project"),
    "inputs in a list": ({"inputs": []}, "not a manifest of this project"),
    "no code": ({"code": "x"}, "not a manifest of this project"),
}


@pytest.mark.parametrize(("change", "words"), FOREIGN.values(), ids=FOREIGN.keys())
@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "stripped"])
def test_a_store_never_gives_what_was_made_from_another_spec(
    tmp_path: Path, change: dict[str, Any], words: str, sealed: bool, capsys: pytest.CaptureFixture[str]
):
    """A manifest whose bytes, name and digest of itself all fit."""
    for spec in (of_stage(tiny_grid(), "datasets"), tokenizer := of_stage(tiny_grid(), "tokenizers")):
        plant(spec, tmp_path / "results")
    store, name = Store(tmp_path / "store"), tokenizer.name
    inputs = json.loads((tmp_path / "results" / name / MANIFEST).read_text())["inputs"]
    store.add(name, tmp_path / "results" / name)
    assert store.fetch(name, inputs, tmp_path / "before")
    path = store.root / name / MANIFEST
    path.chmod(0o644)
    edit_manifest(path.parent, **change)
    if not sealed:
        manifest = json.loads(path.read_text())
        manifest.pop(DIGEST)
        path.write_text(json.dumps(manifest))
    assert not store.fetch(name, inputs, tmp_path / "fetched")
    assert list((tmp_path / "fetched").iterdir()) == []
    assert words in capsys.readouterr().out


def test_an_adapter_beside_a_variants_weights_stops_the_probe_and_every_plan(checkout: Checkout):  # noqa: F811
    """It moved R silently: transformers takes up an adapter_config.json that it finds beside weights."""
    variant, probes = checkout.artefact("variants", f"{LONG}-none"), checkout.path / "results" / "probes"
    for made in [path for path in probes.iterdir() if path.name.startswith(LONG)]:
        if made.name.rpartition("-")[0] == LONG:
            settings = f"results/specs/{made.name}.json"
        shutil.rmtree(made)
    shutil.copytree(Path(__file__).parents[2] / "scripts", checkout.path / "scripts")
    write(variant / "adapter_config.json")
    job = checkout.script("probe_checkpoint.py", "--spec", settings)
    assert job.returncode == 1
    assert job.stderr.count("\n") == 1
    assert "adapter_config.json: is not in the artefact's manifest" in job.stderr
    assert f"rm -r {variant}/adapter_config.json" in job.stderr
    assert not any(path.name.startswith(LONG) for path in probes.iterdir())
    with pytest.raises(Unlisted, match=r"adapter_config\.json"):
        hold_against(tiny_grid(), checkout.path / "results")
    (variant / "adapter_config.json").unlink()
    assert checkout.script("probe_checkpoint.py", "--spec", settings).returncode == 0


# --- what a manifest says


EDITS: dict[str, dict[str, Any]] = {
    "commit": {"git": {"commit": "0" * 40, "dirty": False}},
    "environment": {"environment": {"python": "2.7"}},
    "metrics": {"metrics": {"final_loss": 0.0}},
    "time": {"seconds": 1e9},
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS.keys())
def test_an_edit_of_anything_in_a_manifest_is_refused(folder: Path, change: dict[str, Any]):
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=r"manifest\.json: was edited after it was written"):
        verify(folder)


def test_formatting_and_numbers_that_are_none_do_not_break_a_manifest(folder: Path):
    edit_manifest(folder, metrics={"loss": float("nan"), "other": -0.0, "big": 2**70, "text": "\ud800µ"})
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()), indent=3))
    verify(folder)


def test_a_manifest_of_older_code_has_no_digest_and_is_read(folder: Path):
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    manifest.pop(DIGEST)
    path.write_text(json.dumps(manifest))
    assert verify(folder) == manifest


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS.keys())
def test_the_audit_finds_an_edit_of_a_manifest(checkout: Checkout, quick: None, change: dict[str, Any]):  # noqa: F811
    path = checkout.artefact("checkpoints", LONG) / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    found = [each for each in findings(audit(checkout, (2,)), Severity.FAULT) if each.kind == "edited manifest"]
    assert [(each.where, each.what) for each in found] == [
        (f"checkpoints/{path.parent.name}/{MANIFEST}", "its digest of itself is not that of what it says")
    ]


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS.keys())
@pytest.mark.parametrize("seal", [True, False], ids=["sealed", "stripped"])
def test_the_audit_finds_an_edit_whose_digest_was_made_to_fit_or_taken_out(
    checkout: Checkout,  # noqa: F811
    quick: None,  # noqa: F811
    change: dict[str, Any],
    seal: bool,
):
    folder = checkout.artefact("checkpoints", LONG)
    edit_manifest(folder, **change)
    if not seal:
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest.pop(DIGEST)
        (folder / MANIFEST).write_text(json.dumps(manifest))
    found = findings(audit(checkout, (2,)), Severity.WARNING)
    told = {each.kind: each for each in found if each.kind != "copy differs"}
    assert set(told) == {"other execution"} | (set() if seal else {"unbound manifest"})
    assert told["other execution"].where == f"checkpoints/{folder.name}/{MANIFEST}"
    assert "nothing vouches for its commit" in told["other execution"].what


# --- remedies that messages name


@pytest.mark.long
def test_an_edited_order_or_runs_csv_is_repaired_by_the_remedy_that_its_finding_names(built: Checkout, tmp_path: Path):
    whole = built.copy(tmp_path / "whole")
    results = whole.path / "results"
    swap_specs(whole)
    other_host(whole)
    next((results / "specs").glob("word-*.json")).write_bytes(b"\xff")
    found = findings(audit(whole, (1, 2)), Severity.FAULT)
    assert {each.kind for each in found} == {"foreign spec", "unreadable spec", "copy differs"}
    for finding in found:
        if finding.kind == "copy differs":
            assert (
                '/results/capacity_table.csv"` (and the CONFIG, STUDY and SCALE that you ran) writes it' in finding.what
            )
        else:
            assert "remove the file, and" in finding.what
            (results / finding.where).unlink()
    assert {rule for rule, _ in whole.build()} == {"publish_table"}
    assert (results / "runs.csv").read_bytes() == (built.path / "results" / "runs.csv").read_bytes()
    assert findings(audit(whole, (1, 2)), Severity.WARNING) == []
