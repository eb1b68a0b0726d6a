"""A release: packed, checked on its way in, refused where it is no release, and audited as what it came from."""

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT, Checkout
from planted import TINY, tiny_grid
from test_audit import COUNT, checkout, findings, flip_bit  # noqa: F401 - a fixture

from capacity.artefacts.identity import file_digest
from capacity.audit import release as packing
from capacity.audit import run
from capacity.audit.findings import Severity
from capacity.audit.folder import read_folder
from capacity.audit.release import CONFIG, LISTING, pack, unpack
from capacity.audit.report import Report
from capacity.audit.run import Options, published_places, run_audit
from capacity.config.load import load_config
from capacity.errors import UserError
from capacity.plan.grid import resolve

CRATE_PYTHON = Path(os.environ.get("CRATE_PYTHON", ROOT / ".venv-crate" / "bin" / "python"))


def packed(results: Path, target: Path, kept: list[str] | None = None, key: Path | None = None) -> Path:
    scratch = target.parent / f"scratch-{target.name}"
    scratch.mkdir(parents=True)
    folder = read_folder(results, published_places(tiny_grid()))
    pack(folder, load_config([TINY]), kept or [], target, key, scratch)
    return target


@pytest.fixture(scope="module")
def archive(built: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny configuration's release, weights and scores left out."""
    return packed(built.path / "results", tmp_path_factory.mktemp("release") / "release.tar.gz")


def audit_of_archive(
    archive: Path, tmp_path: Path, levels: tuple[int, ...] = (1, 2, 3), signers: Path | None = None
) -> Report:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    release = unpack(archive, folder, signers)
    config = load_config([release.root / CONFIG])
    return run_audit(Options(release.results, config, resolve(config), levels, release=release))


def test_a_release_without_weights_is_audited_elsewhere_without_a_finding(archive: Path, tmp_path: Path):
    report = audit_of_archive(archive, tmp_path)
    assert findings(report) == []
    assert report.verdict().startswith("no finding; no cell of capacity_table.csv was made again, which LEVELS=4 ")
    facts = {key: value for level in report.levels for key, value in level.facts.items()}
    assert facts["cells made again from the table"] > 100
    assert "cells made again from the scores" not in facts
    assert facts["current"] == COUNT
    assert facts["files left out of the archive"] > 50
    assert facts["files hashed"] == 14  # two tables, the figures, and the data of each
    assert facts["left out of the release"] == ["checkpoints", "datasets", "probes", "tokenizers", "variants"]
    assert facts["signature"] == "none"


def test_a_whole_release_has_every_file_and_its_table_is_made_again_from_its_scores(built: Checkout, tmp_path: Path):
    whole = packed(built.path / "results", tmp_path / "whole.tar.gz", ["all"])
    report = audit_of_archive(whole, tmp_path, (1, 2))
    assert findings(report, Severity.NOTE) == []
    facts = {key: value for level in report.levels for key, value in level.facts.items()}
    assert facts["files left out of the archive"] == 0
    assert facts["cells made again from the scores"] > 300
    assert report.verdict() == "no finding"


def test_the_same_results_give_the_same_archive(built: Checkout, archive: Path, tmp_path: Path):
    again = packed(built.path / "results", tmp_path / "again.tar.gz")
    assert again.read_bytes() == archive.read_bytes()


def test_a_damaged_table_is_not_released(checkout: Checkout):  # noqa: F811
    for name in ("Snakefile", "scripts", "rules", "profiles"):
        (checkout.path / name).symlink_to(ROOT / name)
    shutil.copyfile(TINY, checkout.path / "config.yaml")
    flip_bit(checkout)
    answer = checkout.capacity("release")
    assert answer.returncode == 1
    assert "model.safetensors: holds other bytes than were written" in answer.stderr
    assert not (checkout.path / "results" / "release.tar.gz").exists()


# --- a changed archive


def repacked(archive: Path, target: Path, change: Callable[[Path], Any]) -> Path:
    """The archive with its files changed by hand."""
    root = target.parent / f"{target.name}.files"
    with tarfile.open(archive) as tar:
        tar.extractall(root, filter="data")
    change(root / "release")
    with tarfile.open(target, "w:gz") as tar:
        for path in sorted(each for each in root.rglob("*") if each.is_file()):
            tar.add(path, path.relative_to(root).as_posix())
    return target


def edit_json(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "kind", "where"),
    [
        (lambda root: (root / "results" / "capacity_table.csv").write_text("x"), "bytes differ", "capacity_table.csv"),
        (lambda root: (root / "scripts" / "evil.py").write_text("x"), "extra file", "scripts/evil.py"),
        (lambda root: (root / "results" / "runs.csv").unlink(), "missing file", "results/runs.csv"),
    ],
)
def test_a_file_that_the_listing_does_not_vouch_for_is_found(
    archive: Path, tmp_path: Path, change: Callable[[Path], Any], kind: str, where: str
):
    report = audit_of_archive(repacked(archive, tmp_path / "changed.tar.gz", change), tmp_path, (1,))
    assert any(f.kind == kind and f.where.endswith(where) for f in findings(report, Severity.FAULT)), report.as_text()


def relisted(root: Path, change: Callable[[Any], Any] = lambda listing: None) -> None:
    """Put the listing in step with the files, as someone would who hides a change of theirs."""

    def edit(listing: Any) -> None:
        change(listing)
        files = [path for path in root.rglob("*") if path.is_file() and path.name != LISTING]
        listing["files"] = {
            path.relative_to(root).as_posix(): {"bytes": path.stat().st_size, "sha256": file_digest(path)}
            for path in files
        }

    edit_json(root / LISTING, edit)


def forge_copies(root: Path, change: Callable[[Any], Any]) -> None:
    """Other numbers in the copies of the table, and a listing that does not call them copies."""
    for name in ("capacity_table.csv", "capacity_summary.csv"):
        path = root / "results" / name
        path.write_text(path.read_text().replace("0.", "9."))
    relisted(root, change)


def unlist(stage: str, **change: Any) -> Callable[[Any], Any]:
    """A change of what a listing says of a stage's fixed paths."""
    return lambda listing: [each.update(change) for each in listing["published"] if each["stage"] == stage]


HIDDEN: dict[str, Callable[[Any], Any]] = {
    "no files of the table": unlist("tables", files={}),
    "one file of the table": unlist("tables", files={"capacity_summary.csv": "capacity_summary.csv"}),
    "another id": unlist("tables", id_file="other.id"),
    "other names": unlist("tables", files={"capacity_table.csv": "x.csv", "capacity_summary.csv": "y.csv"}),
    "nothing": lambda listing: listing.update(published=[]),
    "no figures": lambda listing: listing["published"].pop(),
}


@pytest.mark.parametrize("readable", [True, False], ids=["its configuration", "no configuration"])
@pytest.mark.parametrize("change", HIDDEN.values(), ids=HIDDEN.keys())
def test_a_release_does_not_choose_what_of_it_is_compared(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any], readable: bool
):
    monkeypatch.setattr(run, "retabulate", lambda *_: True)
    forged = repacked(archive, tmp_path / "x.tar.gz", lambda root: forge_copies(root, change))
    (tmp_path / "unpacked").mkdir()
    release = unpack(forged, tmp_path / "unpacked", None)
    config = load_config([release.root / CONFIG]) if readable else None
    grid = resolve(config) if config else None
    report = run_audit(Options(release.results, config, grid, (1, 2), release=release))
    found = findings(report, Severity.FAULT)
    kinds = {finding.kind for finding in found}
    assert report.exit_code == 4
    assert kinds & {"not published", "extra file"}
    assert any(f.kind == "copy differs" and f.where == "capacity_table.csv" for f in found)


def test_a_release_without_what_it_publishes_is_found(archive: Path, tmp_path: Path):
    def leave_out(root: Path) -> None:
        relisted(root, lambda listing: listing["left_out"].append("tables"))

    report = audit_of_archive(repacked(archive, tmp_path / "x.tar.gz", leave_out), tmp_path, (1,))
    assert [(f.kind, f.where) for f in findings(report, Severity.FAULT)] == [("left out", "tables")]


def test_a_file_beside_the_results_that_no_check_looks_at_is_found(archive: Path, tmp_path: Path):
    names = ("table.csv", "tables/other.csv", "specs/more.csv", "audit/note.txt", "nothing/deep/x")

    def plant(root: Path) -> None:
        for name in names:
            (root / "results" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "results" / name).write_text("R\n2.5\n")
        relisted(root)

    report = audit_of_archive(repacked(archive, tmp_path / "x.tar.gz", plant), tmp_path, (1,))
    assert {f.where for f in findings(report, Severity.FAULT) if f.kind == "extra file"} == set(names)


def test_files_of_a_stage_that_the_listing_says_is_whole_must_be_there(archive: Path, tmp_path: Path):
    claims = repacked(
        archive, tmp_path / "x.tar.gz", lambda root: edit_json(root / LISTING, lambda it: it.update(left_out=[]))
    )
    report = audit_of_archive(claims, tmp_path, (1, 2))
    assert sum(finding.kind == "missing file" for finding in findings(report, Severity.FAULT)) > 50


# --- what is no release


def tar_of(target: Path, *entries: tarfile.TarInfo, content: bytes = b"x") -> Path:
    with tarfile.open(target, "w:gz") as tar:
        for entry in entries:
            entry.size = len(content) if entry.isreg() else 0
            tar.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    return target


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


HOSTILE = {
    "climbs out": entry("release/../../escaped"),
    "absolute": entry("/tmp/escaped"),
    "outside release": entry("escaped"),
    "backslashes": entry("release\\..\\escaped"),
    "link": entry("release/link", tarfile.SYMTYPE, "/etc"),
    "hard link": entry("release/link", tarfile.LNKTYPE, "/etc/hostname"),
    "device": entry("release/device", tarfile.CHRTYPE),
    "pipe": entry("release/pipe", tarfile.FIFOTYPE),
    "2,000 folders": entry("release/" + "d/" * 2000 + "escaped"),
    "a long name": entry("release/" + "n" * 5000),
    "control characters": entry("release/a\x1b[2Jescaped"),
    "two lines": entry("release/a\nescaped"),
    "no text": entry("release/\udce9escaped"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_in_one_line_and_nothing_is_written_outside(name: str, tmp_path: Path):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    hostile = tar_of(tmp_path / "hostile.tar.gz", HOSTILE[name], entry("release/after"))
    with pytest.raises(UserError, match="refused: ") as error:
        unpack(hostile, folder, None)
    assert "\n" not in str(error.value)
    assert [path for path in tmp_path.rglob("*") if path.name in ("escaped", "link", "device", "pipe")] == []


def test_the_filter_of_tarfile_stands_beneath_the_check_of_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packing, "is_inside", lambda name: True)
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match="would be extracted to") as error:
        unpack(tar_of(tmp_path / "hostile.tar.gz", HOSTILE["climbs out"]), tmp_path / "b", None)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("again", ["release/a", "release/./a", "release//a"])
def test_a_name_that_stands_twice_is_refused(tmp_path: Path, again: str):
    twice = tar_of(tmp_path / "twice.tar.gz", entry("release/a"), entry(again))
    with pytest.raises(UserError, match="twice"):
        unpack(twice, tmp_path, None)


def test_an_archive_larger_than_it_may_be_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(packing, "LARGEST", 1000)
    bomb = tar_of(tmp_path / "bomb.tar.gz", entry("release/a"), entry("release/b"), content=bytes(600))
    with pytest.raises(UserError, match="refused: more than"):
        unpack(bomb, tmp_path, None)
    assert not (tmp_path / "release" / "b").exists()


def test_folders_count_among_what_an_archive_may_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packing, "MOST", 10)
    folders = tar_of(tmp_path / "x.tar.gz", *(entry(f"release/{i}", tarfile.DIRTYPE) for i in range(11)))
    with pytest.raises(UserError, match="refused: more than 10 files and folders"):
        unpack(folders, tmp_path, None)


def header(size: int, kind: bytes) -> bytes:
    it = entry("././@LongLink", kind)
    it.size = size
    return it.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, b"X"]
)
def test_a_header_that_would_fill_the_memory_is_refused_before_it_is_read(tmp_path: Path, kind: bytes):
    """A name of a gigabyte in a few bytes: what follows is not there, and would have been read first."""
    with gzip.open(tmp_path / "long.tar.gz", "wb") as file:
        file.write(header(2**30, kind) + b"a" * 1024)
    with pytest.raises(UserError, match="refused: a header has 1,073,741,824 bytes, more than 1,048,576"):
        unpack(tmp_path / "long.tar.gz", tmp_path, None)


def test_a_thousand_headers_of_one_entry_are_one_line(tmp_path: Path):
    with gzip.open(tmp_path / "many.tar.gz", "wb") as file:
        file.write((header(1, tarfile.GNUTYPE_LONGNAME) + b"a".ljust(512, b"\0")) * 1000)
    with pytest.raises(UserError, match="not a release") as error:
        unpack(tmp_path / "many.tar.gz", tmp_path, None)
    assert "\n" not in str(error.value)


NUMBERS = count(10**6)


def attributes(size: int, kind: bytes) -> bytes:
    """A header of further attributes: one of so many bytes, of another name each time."""
    record = b"%d k%d=" % (size, next(NUMBERS))
    return header(size, kind) + (record.ljust(size - 1, b"v") + b"\n").ljust(-(-size // 512) * 512, b"\0")


def test_a_global_header_is_refused_since_its_attributes_are_held_for_all_that_follow(tmp_path: Path):
    with gzip.open(tmp_path / "x.tar.gz", "wb") as file:
        for number in range(3):
            file.write(attributes(1000, tarfile.XGLTYPE) + entry(f"release/{number}").tobuf())
    with pytest.raises(UserError, match=r"refused: a global header, which a release has none of; pack it by `make rel"):
        unpack(tmp_path / "x.tar.gz", tmp_path, None)


def test_headers_of_one_entry_are_bounded_together(tmp_path: Path):
    few, many = ([attributes(2**19 - 512 * number, tarfile.XHDTYPE) for number in range(1, most)] for most in (2, 4))
    with gzip.open(tmp_path / "x.tar.gz", "wb") as file:
        for name in "acde":  # each has few enough
            file.write(b"".join([*few, entry(f"release/{name}").tobuf()]))
        file.write(b"".join([*many, entry("release/b").tobuf()]))
    with pytest.raises(UserError, match=r"refused: the headers of one entry have 1,569,792 bytes, more than 1,048,576"):
        unpack(tmp_path / "x.tar.gz", tmp_path, None)
    assert not (tmp_path / "release" / "b").exists()


@pytest.mark.parametrize("version", ["old", "0.0", "0.1", "1.0"])
def test_a_file_with_holes_is_refused_before_its_map_is_read(tmp_path: Path, version: str):
    hollow = entry("release/hollow")
    if version == "old":
        hollow.type = tarfile.GNUTYPE_SPARSE
    elif version == "0.0":
        hollow.pax_headers = {"GNU.sparse.size": "1"}
    elif version == "0.1":
        hollow.pax_headers = {"GNU.sparse.map": "0,1"}
    else:
        hollow.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    with pytest.raises(UserError, match="refused: 'release/hollow' is no plain file: it has holes"):
        unpack(tar_of(tmp_path / "x.tar.gz", hollow, content=b"1\n0\n1\n" + bytes(506)), tmp_path, None)


@pytest.mark.parametrize("content", [b"", b"rubbish", bytes(range(256)) * 99, b"\x1f\x8b\x08\x00rubbish", b"\x80\x04."])
def test_binary_rubbish_is_refused_in_one_line(content: bytes, tmp_path: Path):
    (tmp_path / "rubbish.tar.gz").write_bytes(content)
    with pytest.raises(UserError, match="not a release") as error:
        unpack(tmp_path / "rubbish.tar.gz", tmp_path, None)
    assert "\n" not in str(error.value)


def test_half_an_archive_is_refused(archive: Path, tmp_path: Path):
    (tmp_path / "half.tar.gz").write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(UserError, match="not a release"):
        unpack(tmp_path / "half.tar.gz", tmp_path, None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda it: it.update(schema_=99), "another schema than 1"),
        (lambda it: it.update(files="x"), "is not one"),
        (lambda it: it.update(files={"../x": {"bytes": 1, "sha256": "0"}}), "outside its folder"),
        (lambda it: it["published"][0].update(id_file="/etc/hostname"), "outside its folder"),
        (lambda it: it["published"][0].update(stage="nothing"), "knows no stage 'nothing'"),
    ],
)
def test_a_listing_that_is_not_one_is_refused(archive: Path, tmp_path: Path, change: Callable[[Any], Any], words: str):
    changed = repacked(archive, tmp_path / "x.tar.gz", lambda root: edit_json(root / LISTING, change))
    with pytest.raises(UserError, match=words):
        unpack(changed, tmp_path, None)


def test_nothing_of_an_archive_is_executed(archive: Path, tmp_path: Path):
    """Code in the archive that would leave a mark where it ran."""
    mark = tmp_path / "executed"
    planted = f"open({str(mark)!r}, 'w')\n"

    def plant(root: Path) -> None:
        for path in [root / "Snakefile", *root.glob("scripts/**/*.py"), root / "sitecustomize.py"]:
            path.write_text(planted)

    hostile = repacked(archive, tmp_path / "hostile.tar.gz", plant)
    command = [sys.executable, "-m", "capacity.cli", "audit", "--archive", str(hostile), "--levels", "1-3"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 4, answer.stderr
    assert "sitecustomize.py" in answer.stdout
    assert (tmp_path / "results" / "audit" / "audit.json").is_file()
    assert not mark.exists()


# --- signatures


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(command, check=True)
        (folder / f"{name}.allowed").write_text(f"{name}@lab {(folder / f'{name}.pub').read_text()}")
    return folder


def test_a_signature_names_its_signer_and_another_key_an_edit_or_none_is_a_fault(
    built: Checkout, archive: Path, keys: Path, tmp_path: Path
):
    signed = packed(built.path / "results", tmp_path / "signed.tar.gz", key=keys / "mine")

    def outcome(name: str, of: Path, signers: Path | None) -> tuple[str, list[str]]:
        (tmp_path / name).mkdir()
        report = audit_of_archive(of, tmp_path / name, (1,), signers)
        return str(report.levels[0].facts.get("signature")), [f.kind for f in findings(report, Severity.FAULT)]

    assert outcome("good", signed, keys / "mine.allowed") == ("by mine@lab", [])
    fingerprint, faults = outcome("unvouched", signed, None)
    assert fingerprint.startswith("by SHA256:")
    assert faults == []
    assert outcome("wrong", signed, keys / "other.allowed")[1] == ["wrong signature"]
    assert outcome("unsigned", archive, keys / "mine.allowed")[1] == ["not signed"]
    edited = repacked(
        signed, tmp_path / "e.tar.gz", lambda root: edit_json(root / LISTING, lambda it: it.update(commit="x"))
    )
    for name, signers in (("edited", keys / "mine.allowed"), ("edited-unvouched", None)):
        assert outcome(name, edited, signers)[1] == ["wrong signature"]


def test_a_key_or_a_list_that_is_not_there_is_one_line(built: Checkout, archive: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"KEY=.*no such file"):
        packed(built.path / "results", tmp_path / "x.tar.gz", key=tmp_path / "nothing")
    (tmp_path / "u").mkdir()
    with pytest.raises(UserError, match="no stage"):
        packed(built.path / "results", tmp_path / "y.tar.gz", ["weights"])


# --- the crate


@pytest.mark.skipif(not CRATE_PYTHON.is_file(), reason="make test sets .venv-crate up; or set CRATE_PYTHON")
def test_the_crate_is_a_valid_workflow_run_crate_without_network(archive: Path, tmp_path: Path):
    unpack(archive, tmp_path, None)
    script = str(Path(__file__).parents[1] / "crate" / "validate_offline.py")
    answer = subprocess.run([CRATE_PYTHON, script, tmp_path / "release", "REQUIRED"], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.splitlines()[-1].endswith(" checks, 0 issues")


def test_the_crate_has_an_action_for_every_job_from_its_parents_to_its_result(archive: Path, tmp_path: Path):
    unpack(archive, tmp_path, None)
    graph = {e["@id"]: e for e in json.loads((tmp_path / "release" / "ro-crate-metadata.json").read_text())["@graph"]}
    actions = [entity for entity in graph.values() if entity["@type"] == "CreateAction" and entity["@id"] != "#run"]
    assert len(actions) == 15
    training = next(entity for entity in actions if "checkpoints" in entity["name"])
    assert training["instrument"] == {"@id": "scripts/train_checkpoint.py"}
    assert [each["@id"].split("/")[1] for each in training["object"]] == ["datasets", "tokenizers"]
    assert float(graph[training["resourceUsage"]["@id"]]["value"]) > 0
    assert graph[training["result"]["@id"]]["identifier"].startswith("sha256:")
    assert {each["@id"] for each in graph["#run"]["result"]} >= {"results/capacity_table.csv"}
