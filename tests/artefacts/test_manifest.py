"""A file appears whole or not at all; an artefact with other bytes than were made is named and refused."""

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted import keeping_times, plant, tiny_grid

from capacity.artefacts import manifest
from capacity.artefacts.identity import file_digest
from capacity.artefacts.manifest import MANIFEST, content_digest, list_outputs, read_manifest, verify, write_atomically
from capacity.artefacts.spec import Spec, make_spec
from capacity.errors import UserError

# --- files


def test_a_written_file_holds_the_text_and_leaves_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "order.json"
    for text in ("first", "second µ", ""):
        write_atomically(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_given_its_time_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []
    rename = os.replace
    monkeypatch.setattr(manifest.os, "replace", lambda a, b: (seen.append(os.stat(a).st_mtime), rename(a, b)))
    write_atomically(tmp_path / "old", "text", time=0)
    assert seen == [0]
    assert (tmp_path / "old").stat().st_mtime == 0


@pytest.mark.parametrize("call", ["fsync", "utime", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    path = tmp_path / "order.json"
    write_atomically(path, "old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest.os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new", time=0)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_a_durable_file_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced = []
    monkeypatch.setattr(manifest.os, "fsync", synced.append)
    write_atomically(tmp_path / "order", "text", durable=False)
    assert synced == []
    write_atomically(tmp_path / "order", "text")
    assert len(synced) == 1


# --- content


def test_outputs_are_every_file_but_the_manifest(tmp_path: Path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.bin", "a.txt", MANIFEST, "deep/er/c", f"deep/{MANIFEST}", ".hidden"):
        (tmp_path / name).write_text(name)
    outputs = list_outputs(tmp_path)
    assert sorted(outputs) == [".hidden", "a.txt", "b.bin", "deep/er/c", f"deep/{MANIFEST}"]
    assert outputs["a.txt"] == {"bytes": 5, "sha256": file_digest(tmp_path / "a.txt")}


def test_content_is_bytes_and_names_and_members_and_nothing_else():
    files = {"a": {"bytes": 1, "sha256": "0"}, "b": {"bytes": 2, "sha256": "1"}}
    content = content_digest(files)
    assert content_digest(dict(reversed(files.items()))) == content
    assert content_digest({name: {**entry, "bytes": 9, "when": "now"} for name, entry in files.items()}) == content
    others = [
        content_digest({"a": files["b"], "b": files["a"]}),
        content_digest({"a": files["a"]}),
        content_digest({"c": files["a"], "b": files["b"]}),
        content_digest(files, {"variants/x": "0"}),
        content_digest(files, {"variants/x": "1"}),
        content_digest(files, {"variants/y": "0"}),
    ]
    assert len({content, *others}) == 7


# --- faults


@pytest.fixture
def spec() -> Spec:
    return make_spec("datasets", "world", {"seed": 1}, {})


@pytest.fixture
def folder(spec: Spec, tmp_path: Path) -> Path:
    """A planted artefact with one file, content.txt."""
    return plant(spec, tmp_path)


def in_manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / MANIFEST).read_text())
        change(content)
        (folder / MANIFEST).write_text(json.dumps(content))

    return edit


def test_an_artefact_as_it_was_made_is_verified_and_its_manifest_returned(folder: Path, spec: Spec):
    assert verify(folder, spec.name) == verify(folder) == read_manifest(folder)
    assert read_manifest(folder)["name"] == spec.name


def flip(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def in_content(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: keeping_times(folder / "content.txt", change)


def lie(folder: Path) -> None:
    """Damage, and a list of files that agrees with it."""
    keeping_times(folder / "content.txt", flip)
    in_manifest(lambda m: m.update(outputs=list_outputs(folder)))(folder)


def put_folder(folder: Path) -> None:
    (folder / "content.txt").unlink()
    (folder / "content.txt").mkdir()


NO_MANIFEST, OTHER_FILES = "not a manifest of this project", "lists other files than were written"
FAULTS = {
    "flipped byte": (in_content(flip), "content.txt: holds other bytes"),
    "truncated": (in_content(lambda b: b[:-3]), "content.txt: has .* bytes, .* were written"),
    "longer": (in_content(lambda b: b + b" "), "content.txt: has .* bytes"),
    "emptied": (in_content(lambda b: b""), "content.txt: has 0 bytes"),
    "file gone": (lambda f: (f / "content.txt").unlink(), "content.txt: is missing"),
    "folder for a file": (put_folder, "content.txt: "),
    "folder gone": (shutil.rmtree, 'is missing; `make table ARGS="--force '),
    "manifest gone": (lambda f: (f / MANIFEST).unlink(), "no manifest.json, so the artefact is incomplete"),
    "manifest truncated": (lambda f: keeping_times(f / MANIFEST, lambda b: b[:50]), "json: unreadable"),
    "manifest is bytes": (lambda f: (f / MANIFEST).write_bytes(b"\xff\x00"), "json: unreadable"),
    "manifest is a list": (lambda f: (f / MANIFEST).write_text("[]"), NO_MANIFEST),
    "manifest is a word": (lambda f: (f / MANIFEST).write_text('"schema"'), NO_MANIFEST),
    "manifest without schema": (in_manifest(lambda m: m.pop("schema")), NO_MANIFEST),
    "manifest of another schema": (in_manifest(lambda m: m.update(schema=99)), "schema 99, .* schema 2"),
    "manifest of another": (in_manifest(lambda m: m.update(name="d/x")), "holds the artefact d/x, not"),
    "manifest without name": (in_manifest(lambda m: m.pop("name")), "holds the artefact None, not"),
    "manifest lists nothing": (in_manifest(lambda m: m.update(outputs={})), OTHER_FILES),
    "manifest agrees with damage": (lie, OTHER_FILES),
    "manifest without outputs": (in_manifest(lambda m: m.pop("outputs")), NO_MANIFEST),
    "manifest with odd outputs": (in_manifest(lambda m: m.update(outputs=[1])), NO_MANIFEST),
    "manifest nested too deeply": (lambda f: (f / MANIFEST).write_text("[" * 200_000), "json: unreadable"),
    "manifest with no number": (
        in_manifest(lambda m: m["outputs"].update(x={"sha256": math.nan})),
        NO_MANIFEST,
    ),
    "manifest with odd members": (in_manifest(lambda m: m.update(members=["v/x"])), NO_MANIFEST),
}


@pytest.mark.parametrize(("damage", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_a_damaged_artefact_is_refused_by_one_line_that_names_folder_and_fault(
    folder: Path, spec: Spec, damage: Callable[[Path], Any], words: str
):
    damage(folder)
    with pytest.raises(UserError, match=words) as caught:
        verify(folder, spec.name)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_an_artefact_that_is_read_in_part_the_files_that_are_read_are_compared(folder: Path, spec: Spec):
    names = sorted(read_manifest(folder)["outputs"])
    content = (folder / names[0]).read_bytes()
    (folder / names[0]).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(UserError, match="holds other bytes than were written"):
        verify(folder, spec.name, names[:1])
    verify(folder, spec.name, names[1:])  # its bytes were not asked for
    (folder / names[0]).write_bytes(content + b"x")
    with pytest.raises(UserError, match="were written"):
        verify(folder, spec.name, names[1:])


def test_an_artefact_under_another_name_is_refused(folder: Path, spec: Spec):
    other = folder.with_name("world-000000000000")
    folder.rename(other)
    with pytest.raises(UserError, match=f"holds the artefact {spec.name}, not datasets/world-000000000000"):
        verify(other, "datasets/world-000000000000")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"is missing; `make table"):
        verify(tmp_path / "none", "datasets/none")


def test_a_set_is_verified_with_the_content_of_its_members(tmp_path: Path):
    grid = tiny_grid()
    for spec in grid.specs.values():
        plant(spec, tmp_path)
    spec = next(spec for spec in grid.specs.values() if spec.members)
    folder = tmp_path / spec.name
    assert verify(folder, spec.name)["members"] == [member.name for member in spec.members]
    in_manifest(lambda m: m["inputs"][spec.members[0].name].update(content="0"))(folder)
    with pytest.raises(UserError, match="lists other files"):
        verify(folder, spec.name)
