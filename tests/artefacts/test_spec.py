"""What moves a spec's id, how specs are kept, and what a job refuses to make."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.artefacts import spec as specs
from capacity.artefacts.identity import file_digest
from capacity.artefacts.spec import Spec, check_present, make_spec, read_spec, spec_text
from capacity.artefacts.stages import STAGES
from capacity.environment import REPOSITORY
from capacity.errors import UserError

SPEC = {
    "model": {"family": "gpt2", "l": 2, "h": 4, "head_dim": 8},
    "regime": {"lr": 0.01, "exposures": 100, "betas": [0.9, 0.98], "clip": None, "nesterov": False},
    "hardware": {"accelerator": "cpu", "compile": False},
    "seed": 1,
}
PARENTS: dict[str, str | list[str]] = {
    "dataset": "datasets/world-0123456789ab",
    "tokenizer": "tokenizers/word-0123456789ab",
}


def training(settings: dict[str, Any] = SPEC, parents: dict[str, str | list[str]] = PARENTS) -> Spec:
    return make_spec("checkpoints", "gpt2-2-4", settings, parents)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The spec with one value replaced, or added."""
    settings = copy.deepcopy(SPEC)
    *sections, key = path.split(".")
    section = settings
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = value
    return settings


def variants(*bits: int) -> Spec:
    """A set with a variant for each number of bits."""
    parents: dict[str, str | list[str]] = {"checkpoint": training().name}
    members = [make_spec("variants", f"int{b}", {"method": "rtn", "bits": b}, parents) for b in bits]
    return make_spec("variants", "set", {}, parents, members)


# --- what moves an id


def test_an_id_is_the_readable_slug_and_twelve_hex_digits():
    spec = training()
    assert spec.name == f"checkpoints/{spec.id}"
    slug, digest = spec.id.rsplit("-", 1)
    assert (slug, len(digest)) == ("gpt2-2-4", 12)
    int(digest, 16)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 2),
        ("regime.lr", 0.0100001),
        ("regime.exposures", 100.0),
        ("regime.clip", 0),
        ("regime.betas", [0.98, 0.9]),
        ("hardware.compile", True),
        ("hardware.accelerator", "gpu"),
        ("regime.new", None),
    ],
)
def test_any_other_value_moves_the_id(path: str, value: Any):
    assert training(changed(path, value)).id != training().id


def test_swapping_two_values_moves_the_id():
    swapped = {**SPEC, "model": {**SPEC["model"], "l": 4, "h": 2}}
    assert training(swapped).id != training().id


def test_key_order_does_not_move_the_id():
    backwards = {
        key: dict(reversed(value.items())) if isinstance(value, dict) else value for key, value in SPEC.items()
    }
    assert training(dict(reversed(backwards.items())), dict(reversed(PARENTS.items()))).id == training().id


@pytest.mark.parametrize("role", ["dataset", "tokenizer"])
def test_the_identity_of_a_parent_moves_the_id(role: str):
    assert training(parents={**PARENTS, role: f"{PARENTS[role]}f"}).id != training().id


def test_two_parents_that_change_places_move_the_id():
    assert training(parents={"dataset": PARENTS["tokenizer"], "tokenizer": PARENTS["dataset"]}).id != training().id


def test_code_packages_and_stage_move_the_id(monkeypatch: pytest.MonkeyPatch):
    ids = {training().id, make_spec("probes", "gpt2-2-4", SPEC, PARENTS).id}
    with monkeypatch.context() as patch:
        patch.setattr(specs, "code_digest", lambda *_, **__: "other code")
        ids.add(training().id)
    with monkeypatch.context() as patch:
        patch.setattr(specs, "package_versions", lambda names: dict.fromkeys(names, "99.0"))
        ids.add(training().id)
    assert len(ids) == 4


def test_two_stages_with_the_same_code_and_packages_have_different_ids(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(specs, "code_digest", lambda *_, **__: "code")
    monkeypatch.setattr(specs, "package_versions", lambda names: {})
    ids = {make_spec(stage, "slug", {}, {}).id for stage in STAGES}
    assert len(ids) == len(STAGES)


def test_members_move_the_id_of_their_set_and_their_order_and_repetition_do_not():
    assert variants(8, 4).id == variants(4, 8).id == variants(4, 8, 8).id
    assert len(variants(4, 8, 8).members) == 2
    assert len({variants().id, variants(8).id, variants(4).id, variants(4, 8).id}) == 4


def test_a_reason_to_make_an_artefact_again_is_not_part_of_its_identity():
    spec = training()
    again = replace(spec, remake="damaged")
    assert again.name == spec.name
    assert specs.spec_digest(again) == specs.spec_digest(spec)


# --- specs on disk


def test_a_spec_that_is_written_and_read_back_is_equal(tmp_path: Path):
    for spec in (
        training(),
        variants(4, 8),
        replace(training(changed("note", "µ \n ü")), remake='damaged: "x"'),
    ):
        path = tmp_path / f"{spec.id}.json"
        path.write_text(spec_text(spec), encoding="utf-8")
        assert read_spec(path) == spec
        check_present(read_spec(path))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_any_spec_survives_its_file_with_its_id(settings: dict[str, Any]):
    spec = make_spec("datasets", "world", settings, {})
    content = json.loads(spec_text(spec))
    assert content.pop("schema") == specs.SCHEMA
    again = specs._from_json(content)
    assert again == spec
    assert again.id.endswith(specs.spec_digest(again))


def test_the_text_of_a_spec_does_not_depend_on_the_order_of_keys():
    assert spec_text(training(dict(reversed(SPEC.items())))) == spec_text(training())


TEXT = spec_text(variants(8))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        TEXT[: len(TEXT) // 2].encode(),
        TEXT.replace('"schema": 2', '"schema": 1').encode(),
        TEXT.replace('"schema": 2', '"scheme": 1').encode(),
        TEXT.replace('"schema": 2,\n', "").encode(),
        TEXT.replace('"settings"', '"setting"', 1).encode(),
        TEXT.replace('"stage": "variants",\n', "", 1).encode(),
        TEXT.replace('"members": [', '"members": [3, ', 1).encode(),
        TEXT.replace('"stage": "variants"', '"stage": ["variants"]', 1).encode(),
        re.sub('"settings": {.*}', '"settings": [1]', TEXT, count=1).encode(),
        re.sub('"settings": {.*}', '"settings": {"x": NaN}', TEXT, count=1).encode(),
        b"[" * 100_000,
        b"[1, 2]",
        b"null",
        b"\x00\xff\xfe",
        b"not json at all",
    ],
)
def test_a_file_that_is_no_spec_is_one_line_with_its_path(tmp_path: Path, content: bytes):
    assert content != TEXT.encode()
    path = tmp_path / "spec.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"spec\.json: .*run the workflow again") as caught:
        read_spec(path)
    assert "\n" not in str(caught.value)


def test_a_missing_spec_or_a_folder_in_its_place_is_one_line(tmp_path: Path):
    with pytest.raises(UserError, match=r"none\.json: no such spec"):
        read_spec(tmp_path / "none.json")
    with pytest.raises(UserError, match="not a spec"):
        read_spec(tmp_path)


# --- what a job refuses


def test_a_job_refuses_code_that_changed_since_the_run_began(monkeypatch: pytest.MonkeyPatch):
    spec = training()
    check_present(spec)
    monkeypatch.setattr(specs, "code_digest", lambda *_, **__: "other code")
    with pytest.raises(UserError, match=r"the code of train_checkpoint\.py changed"):
        check_present(spec)


def test_a_job_refuses_a_users_file_that_changed_since_the_run_began_also_of_a_member():
    member = training(changed("files", {"envs/requirements.txt": "0" * 64}))
    for spec in (member, make_spec("finetunes", "set", {}, PARENTS, [member])):
        with pytest.raises(UserError, match=r"envs/requirements\.txt changed or vanished"):
            check_present(spec)


def test_a_job_reads_the_code_anew_each_time_it_checks(monkeypatch: pytest.MonkeyPatch):
    spec, calls = training(), []
    monkeypatch.setattr(specs, "forget_sources", lambda: calls.append(1))
    check_present(spec)
    check_present(spec)
    assert len(calls) == 2


def test_a_job_refuses_another_version_of_a_package(monkeypatch: pytest.MonkeyPatch):
    spec = training()
    monkeypatch.setattr(specs, "package_versions", lambda names: {**spec.packages, "torch": "99.0"})
    with pytest.raises(UserError, match=rf"torch 99\.0 is installed here, the run began with {spec.packages['torch']}"):
        check_present(spec)


@pytest.mark.parametrize("change", [lambda path: path.write_text("Basel\n"), lambda path: path.unlink()])
def test_a_job_refuses_a_file_that_changed_or_vanished(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: Callable[[Path], Any]
):
    monkeypatch.setattr(specs, "REPOSITORY", tmp_path)
    pool = tmp_path / "cities.txt"
    pool.write_text("Paris\n")
    spec = make_spec("datasets", "world", {"files": {"cities.txt": file_digest(pool)}}, {})
    check_present(spec)
    change(pool)
    with pytest.raises(UserError, match=r"cities\.txt changed or vanished"):
        check_present(spec)


def test_files_of_a_spec_are_found_from_the_repository():
    assert (REPOSITORY / "config.yaml").is_file()


@pytest.mark.parametrize(
    "edit",
    [
        lambda spec: replace(spec, settings={**spec.settings, "seed": 9}),
        lambda spec: replace(spec, parents={**spec.parents, "dataset": "datasets/other-000000000000"}),
        lambda spec: replace(spec, packages={}),
        lambda spec: replace(spec, id=f"{spec.id[:-1]}{'0' if spec.id[-1] != '0' else '1'}"),
        lambda spec: replace(spec, stage="tables"),
    ],
)
def test_a_job_refuses_a_spec_that_was_edited_by_hand(edit: Callable[[Spec], Spec]):
    with pytest.raises(UserError, match="edited by hand"):
        check_present(edit(training()))


def test_a_job_refuses_a_set_whose_member_was_edited_by_hand():
    spec = variants(4, 8)
    check_present(spec)
    member = replace(spec.members[0], settings={"method": "rtn", "bits": 2})
    with pytest.raises(UserError, match="edited by hand"):
        check_present(replace(spec, members=[member, spec.members[1]]))


def test_every_part_of_a_spec_but_its_reason_is_in_its_identity():
    """A field that is added to specs must be hashed, or said here not to be."""
    assert {field.name for field in fields(Spec)} == {
        "stage",
        "id",
        "settings",
        "parents",
        "code",
        "packages",
        "members",
        "for_model",  # what `code` is the digest of
        "remake",
    }


def test_parents_are_listed_in_an_order_that_does_not_depend_on_how_they_were_given():
    parents: dict[str, str | list[str]] = {"variants": "v/1", "dataset": "d/1", "probes": ["p/2", "p/1"]}
    names = ["d/1", "p/2", "p/1", "v/1"]
    assert make_spec("tables", "t", {}, parents).parent_names() == names
    assert make_spec("tables", "t", {}, dict(reversed(parents.items()))).parent_names() == names
