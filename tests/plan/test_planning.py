"""What the main process does before any job starts: survey, specs, stamps, and the lock."""

import errno
import fcntl
import json
import multiprocessing
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from planted import of_stage, plant, publish, tiny, tiny_grid

from capacity.artefacts import hash_index, manifest
from capacity.artefacts.hash_index import INDEX, NOTES
from capacity.artefacts.making import Making
from capacity.artefacts.manifest import MANIFEST, content_digest, list_outputs, manifest_digest
from capacity.artefacts.spec import read_spec
from capacity.errors import NotOurs, OtherSchema, Unlisted, UserError
from capacity.plan import survey as planning
from capacity.plan.fixed_paths import is_published, published
from capacity.plan.grid import Grid
from capacity.plan.job_environment import compile_cache, set_job_environment
from capacity.plan.prepare import prepare_run, write_specs
from capacity.plan.run_lock import lock_run
from capacity.plan.survey import (
    State,
    hold_against,
    survey,
)


@pytest.fixture
def grid() -> Grid:
    return tiny_grid()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes are read to verify them."""
    files, file_digest = [], manifest.file_digest
    monkeypatch.setattr(manifest, "file_digest", lambda path: (files.append(path.name), file_digest(path))[1])
    return files


def damage(folder: Path, keep_time: bool = True) -> None:
    """Flip a bit of an artefact's file and put the time back."""
    path = next(path for path in sorted(folder.iterdir()) if path.name != MANIFEST)
    stat, content = path.stat(), path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    if keep_time:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


# --- survey


def test_every_made_artefact_and_member_is_done_and_without_folder_or_in_an_empty_one_it_is_missing(
    results: Path, grid: Grid
):
    states, faults = survey(grid.specs.values(), results)
    assert set(states.values()) == {State.DONE}
    assert states.keys() == {n for o in grid.specs.values() for n in (o.name, *(m.name for m in o.members))}
    first, second = list(states)[:2]
    shutil.rmtree(results / first)
    for path in (results / second).iterdir():
        path.unlink()
    again, faults = survey(grid.specs.values(), results)
    assert {name for name, state in again.items() if state != State.DONE} == {first, second}
    assert again[first] == again[second] == State.MISSING
    assert faults == {}
    assert set(survey(grid.specs.values(), results / "none")[0].values()) == {State.MISSING}


def test_an_artefact_that_cannot_be_looked_at_stops_the_run_in_one_line(results: Path, grid: Grid):
    """A link to itself is neither there nor missing; nor is what another user alone may read."""
    spec = of_stage(grid, "datasets")
    shutil.rmtree(results / spec.name)
    (results / spec.name).symlink_to(results / spec.name)
    with pytest.raises(
        NotOurs, match=r"cannot be read \(Too many levels of symbolic links\); make it readable, or"
    ) as no:
        survey(grid.specs.values(), results)
    assert str(no.value).startswith(f"{results / spec.name}: ")


def test_bytes_are_hashed_once_and_then_recognised_by_their_stat(results: Path, grid: Grid, hashed: list[str]):
    (results / NOTES).unlink()
    survey(grid.specs.values(), results)
    assert len(hashed) >= len(grid.specs)
    hashed.clear()
    states, _ = survey(grid.specs.values(), results)
    assert hashed == []
    assert set(states.values()) == {State.DONE}


@pytest.mark.parametrize("file", ["content.txt", MANIFEST])
def test_a_file_whose_bytes_changed_is_noticed_though_its_size_and_time_are_as_before(
    results: Path, grid: Grid, file: str
):
    spec = of_stage(grid, "checkpoints")
    survey([spec], results)
    path = results / spec.name / file
    stat, text = path.stat(), path.read_text()
    path.write_text(text.replace("checkpoints", "checkpoinds", 1))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    states, faults = survey([spec], results)
    assert states == {spec.name: State.DAMAGED}
    assert str(results / spec.name) in faults[spec.name]


@pytest.mark.parametrize("touch", [os.utime, lambda path: path.chmod(0o600), lambda path: _copy_over(path)])
def test_a_touched_file_is_hashed_again_and_found_right(
    results: Path, grid: Grid, hashed: list[str], touch: Callable[[Path], Any]
):
    spec = of_stage(grid, "checkpoints")
    survey([spec], results)
    hashed.clear()
    touch(results / spec.name / "content.txt")
    assert survey([spec], results)[0] == {spec.name: State.DONE}
    assert hashed == ["content.txt"]
    hashed.clear()
    survey([spec], results)
    assert hashed == []


def _copy_over(path: Path) -> None:
    """Another file with the same bytes and times."""
    other = path.with_name("other")
    shutil.copy2(path, other)
    other.replace(path)


def test_a_file_that_changes_while_it_is_hashed_is_hashed_again_next_time(
    results: Path, grid: Grid, monkeypatch: pytest.MonkeyPatch
):
    spec, verify = of_stage(grid, "checkpoints"), planning.verify

    def verify_and_lose(folder: Path, name: str, **rest: Any) -> Any:
        answer = verify(folder, name, **rest)
        damage(folder)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(planning, "verify", verify_and_lose)
        survey([spec], results)
    assert survey([spec], results)[0] == {spec.name: State.DAMAGED}


def test_what_a_job_made_is_not_hashed_again_before_it_was_touched(tmp_path: Path, grid: Grid, hashed: list[str]):
    results = tmp_path / "made"
    for spec in grid.specs.values():
        plant(spec, results)
    hashed.clear()
    assert set(survey(grid.specs.values(), results)[0].values()) == {State.DONE}
    assert hashed == []
    spec = of_stage(grid, "checkpoints")
    damage(results / spec.name)
    assert survey([spec], results)[0] == {spec.name: State.DAMAGED}
    assert hashed == ["content.txt"]


@pytest.mark.parametrize("change", ["other bytes", "a file beside"])
def test_what_changed_after_the_job_had_hashed_it_is_not_noted(
    tmp_path: Path, grid: Grid, monkeypatch: pytest.MonkeyPatch, change: str
):
    spec, publish_it = of_stage(grid, "datasets"), Making._publish

    def change_and_publish(making: Making) -> None:
        if change == "other bytes":
            damage(making.folder)
        else:
            (making.folder / "beside").write_text("x")
        publish_it(making)

    monkeypatch.setattr(Making, "_publish", change_and_publish)
    plant(spec, tmp_path)
    if change == "other bytes":
        assert survey([spec], tmp_path)[0] == {spec.name: State.DAMAGED}
    else:
        with pytest.raises(Unlisted, match="beside"):
            survey([spec], tmp_path)


def test_what_is_put_beside_what_a_job_made_is_seen_at_the_first_look(results: Path, grid: Grid):
    spec = of_stage(grid, "checkpoints")
    (results / spec.name / "pytorch_model.bin").write_text("x")
    with pytest.raises(Unlisted, match="pytorch_model"):
        survey([spec], results)


def test_notes_that_were_torn_cost_only_hashing(results: Path, grid: Grid, hashed: list[str]):
    """As two machines can leave them that write to one file at once."""
    lines = (results / NOTES).read_text().splitlines()
    (results / NOTES).write_text("\n".join([lines[0][:-9], lines[1][9:], *lines[2:]]))
    assert set(survey(grid.specs.values(), results)[0].values()) == {State.DONE}
    assert hashed


def test_a_damaged_artefact_stays_damaged_until_it_is_made_again(results: Path, grid: Grid):
    spec = of_stage(grid, "checkpoints")
    survey([spec], results)
    damage(results / spec.name)
    for _ in range(2):
        assert survey([spec], results)[0] == {spec.name: State.DAMAGED}
    shutil.rmtree(results / spec.name)
    plant(spec, results)
    assert survey([spec], results)[0] == {spec.name: State.DONE}


@pytest.mark.parametrize("file", [INDEX, NOTES])
@pytest.mark.parametrize(
    "content", ["", "[]", "{", "null", '{"checkpoints/x": 3}', '{"NAME": 3}', '{"NAME": {".": 3}}']
)
def test_a_memory_that_is_garbage_costs_only_hashing(results: Path, grid: Grid, content: str, file: str):
    (results / file).write_text(content.replace("NAME", of_stage(grid, "checkpoints").name))
    assert set(survey(grid.specs.values(), results)[0].values()) == {State.DONE}


def test_an_index_that_lies_about_another_results_folder_is_not_believed(results: Path, grid: Grid, tmp_path: Path):
    """Copied with the results, times kept: inode and ctime tell the copies apart."""
    survey(grid.specs.values(), results)
    copy = shutil.copytree(results, tmp_path / "copy")
    spec = of_stage(grid, "checkpoints")
    damage(copy / spec.name)
    assert survey([spec], copy)[0] == {spec.name: State.DAMAGED}


def test_a_folder_that_cannot_take_the_index_is_only_slower(results: Path, grid: Grid, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(hash_index, "write_atomically", refuse)
    assert set(survey(grid.specs.values(), results)[0].values()) == {State.DONE}
    assert not (results / INDEX).exists()


def test_looking_changes_nothing_but_the_index(results: Path, grid: Grid):
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()}
    hold_against(grid, results)
    after = {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()}
    assert after.pop(results / INDEX)
    assert before.pop(results / NOTES), "folded into the index"
    assert after == before


def test_an_artefact_of_another_version_of_the_project_stops_the_run_and_is_left_alone(results: Path, grid: Grid):
    path = results / of_stage(grid, "checkpoints").name / MANIFEST
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 99'))
    with pytest.raises(OtherSchema, match="schema 99"):
        prepare_run(grid, results)
    assert path.exists()
    assert not (results / "specs").exists()


# --- what is made again


def remade(grid: Grid, results: Path) -> dict[str, str]:
    """What is to be made again, with the reason."""
    return hold_against(grid, results).remake


def stages_of(grid: Grid, run: str, letters: str) -> set[str]:
    """Artefacts of a run by the first letters of their stages, `a` for table and figures."""
    named = {"d": "datasets", "t": "tokenizers", "c": "checkpoints", "v": "variants", "p": "probes"}
    names = {of_stage(grid, named[letter], run).name for letter in letters if letter in named}
    return names | ({grid.table.name, grid.figures.name} if "a" in letters else set())


@pytest.mark.parametrize(
    ("stage", "run", "follow"),
    [
        ("checkpoints", "e2", "cvpa"),
        ("variants", "e2", "vpa"),
        ("probes", "e2", "pa"),
        ("tokenizers", "bpe", "tcvpa"),
        ("datasets", "bioS", "dtcvpa"),
    ],
)
def test_a_damaged_artefact_and_all_that_followed_from_it_and_nothing_else_is_made_again(
    results: Path, grid: Grid, stage: str, run: str, follow: str
):
    spec = of_stage(grid, stage, run)
    (results / spec.name / MANIFEST).unlink()
    again = remade(grid, results)
    assert again.keys() == stages_of(grid, "bioS" if run == "bpe" else run, follow)
    assert again[spec.name].startswith("damaged: ")
    assert str(results / spec.name) in again[spec.name]
    for name, reason in again.items():
        assert name == spec.name or reason.startswith("follows from ")


def test_a_damaged_table_is_made_again_with_the_figures_only(results: Path, grid: Grid):
    damage(results / grid.table.name)
    assert remade(grid, results).keys() == {grid.table.name, grid.figures.name}


def test_a_damaged_member_makes_its_set_again(results: Path, grid: Grid):
    spec = of_stage(grid, "variants", "e2")
    damage(results / spec.members[1].name)
    again = remade(grid, results)
    assert again.keys() == stages_of(grid, "e2", "vpa")
    assert spec.members[1].name in again[spec.name]


def test_damage_is_followed_through_what_is_missing(results: Path, grid: Grid):
    """Missing ones are made anyway; what lies behind them still has to be made again."""
    damage(results / of_stage(grid, "checkpoints", "e2").name)
    for stage in ("variants", "probes"):
        shutil.rmtree(results / of_stage(grid, stage, "e2").name)
    assert remade(grid, results).keys() == stages_of(grid, "e2", "ca")


def test_nothing_is_made_again_because_something_is_missing(results: Path, grid: Grid):
    for stage in ("datasets", "checkpoints", "probes", "tables"):
        shutil.rmtree(results / stage)
        assert remade(grid, results) == {}


def test_a_set_whose_member_was_removed_is_made_again_when_its_members_are_needed(results: Path, grid: Grid):
    variants, probes = of_stage(grid, "variants", "e2"), of_stage(grid, "probes", "e2")
    shutil.rmtree(results / variants.members[0].name)
    assert remade(grid, results) == {}, "nothing needs it: its scores exist"
    shutil.rmtree(results / probes.name)
    again = remade(grid, results)
    assert again[variants.name] == f"damaged: its member {variants.members[0].name} is missing"
    assert again.keys() == stages_of(grid, "e2", "va")


def anew(folder: Path) -> None:
    """An artefact as an honest execution of its spec leaves it that gave other bits."""
    name = next(path for path in sorted(folder.iterdir()) if path.name != MANIFEST)
    name.write_text("other bits")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest |= {"outputs": (outputs := list_outputs(folder)), "content": content_digest(outputs)}
    manifest["digest"] = manifest_digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_what_followed_from_an_artefact_that_was_made_again_is_not_forgotten_with_the_run(results: Path, grid: Grid):
    checkpoint = of_stage(grid, "checkpoints", "e2")
    damage(results / checkpoint.name)
    prepared(grid, results)
    time.sleep(0.01)
    anew(results / checkpoint.name)  # and then the run was killed
    again = remade(grid, results)
    assert again.keys() == stages_of(grid, "e2", "vpa")
    assert again[of_stage(grid, "variants", "e2").name] == (
        f"follows from {checkpoint.name}, which was made again by an earlier run"
    )
    prepared(grid, results)
    assert remade(grid, results) == again, "not the second time either"


def test_what_was_to_be_made_again_and_is_as_before_is_not_made_again(results: Path, grid: Grid):
    folder = results / of_stage(grid, "checkpoints", "e2").name
    shutil.copytree(folder, results.parent / "kept")
    damage(folder)
    prepared(grid, results)
    shutil.rmtree(folder)
    shutil.copytree(results.parent / "kept", folder)  # a user put it back
    assert remade(grid, results) == {}


# --- specs for the engine


def prepared(grid: Grid, results: Path) -> dict[str, os.stat_result]:
    """Prepare and begin a run; the stat of each spec's file."""
    write_specs(prepare_run(grid, results), results)
    return {name: (results / "specs" / f"{spec.id}.json").stat() for name, spec in grid.specs.items()}


@pytest.mark.parametrize("what", ["built", "nothing built"])
def test_every_spec_is_written_with_the_oldest_time_there_is(results: Path, grid: Grid, what: str):
    if what == "nothing built":
        shutil.rmtree(results)
    stats = prepared(grid, results)
    assert {stat.st_mtime for stat in stats.values()} == {0}
    for spec in grid.specs.values():
        assert read_spec(results / "specs" / f"{spec.id}.json") == spec
    assert [path for path in (results / "specs").iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("what", ["built", "nothing built"])
def test_a_spec_that_stands_is_not_written_again(results: Path, grid: Grid, what: str):
    if what == "nothing built":
        shutil.rmtree(results)
    first = prepared(grid, results)
    second = prepared(grid, results)
    assert {name: stat.st_ino for name, stat in second.items()} == {name: stat.st_ino for name, stat in first.items()}


@pytest.mark.parametrize("time_put_back", [False, True])
@pytest.mark.parametrize("garbage", [False, True])
def test_a_spec_that_was_edited_is_written_anew_before_anything_is_made_from_it(
    results: Path, grid: Grid, time_put_back: bool, garbage: bool
):
    spec = of_stage(grid, "checkpoints")
    shutil.rmtree(results / spec.name)
    prepared(grid, results)
    path = results / "specs" / f"{spec.id}.json"
    path.write_text(path.read_text().replace('"lr":0.01', '"lr":0.02'))
    if garbage:
        path.write_bytes(b"\xff\x00")
    if time_put_back:
        os.utime(path, (0, 0))
    prepared(grid, results)
    assert read_spec(path) == spec
    assert path.stat().st_mtime == 0


def test_an_artefact_to_make_again_has_a_spec_that_is_newer_than_itself_and_names_the_reason(results: Path, grid: Grid):
    spec = of_stage(grid, "checkpoints", "e2")
    prepared(grid, results)
    damage(results / spec.name)
    now = time.time()
    stats = prepared(grid, results)
    again = stages_of(grid, "e2", "cvpa")
    for name, stat in stats.items():
        assert (stat.st_mtime >= now - 1) == (name in again)
        read = read_spec(results / "specs" / f"{grid.specs[name].id}.json")
        assert (read.remake is not None) == (name in again)
        assert replace(read, remake=None) == grid.specs[name]
    assert "holds other bytes" in str(read_spec(results / "specs" / f"{spec.id}.json").remake)


@pytest.mark.parametrize("ahead", [0.0, 3600.0])
def test_an_artefact_is_made_again_though_its_time_is_ahead_of_the_clock(results: Path, grid: Grid, ahead: float):
    damage(results / grid.table.name)
    for spec in (grid.table, grid.figures):
        os.utime(results / spec.name / MANIFEST, (time.time() + ahead,) * 2)
    stats = prepared(grid, results)
    for spec in (grid.table, grid.figures):
        assert stats[spec.name].st_mtime > (results / spec.name / MANIFEST).stat().st_mtime > 0, "0 is no time"


def test_once_it_is_made_again_its_spec_is_old_again(results: Path, grid: Grid):
    damage(results / grid.table.name)
    prepared(grid, results)
    for spec in (grid.table, grid.figures):
        plant(read_spec(results / "specs" / f"{spec.id}.json"), results)
    stats = prepared(grid, results)
    assert {stat.st_mtime for stat in stats.values()} == {0}
    assert read_spec(results / "specs" / f"{grid.table.id}.json").remake is None


def test_spec_that_lost_their_times_in_a_copy_are_given_them_back(results: Path, grid: Grid):
    prepared(grid, results)
    for path in (results / "specs").iterdir():
        os.utime(path)
    assert {stat.st_mtime for stat in prepared(grid, results).values()} == {0}


def test_spec_of_other_configurations_are_left_alone(results: Path, grid: Grid):
    prepared(grid, results)
    other = tiny(probe={"draws": 2})
    prepared(other, results)
    assert {stat.st_mtime for stat in prepared(grid, results).values()} == {0}
    assert len(list((results / "specs").glob("*.json"))) > len(grid.specs)


# --- fixed paths


def stamps(grid: Grid, results: Path) -> dict[str, float]:
    """Prepare a run; mtime of each stamp by the name of the fixed path's identity."""
    prepare_run(grid, results)
    return {
        id_file: (results / "specs" / f"{Path(id_file).stem}.stamp").stat().st_mtime
        for _, _, id_file in published(grid)
    }


TABLE, FIGURES = "capacity_table.id", "figures/capacity_figures.id"


def test_a_stamp_is_old_while_its_copies_are_current(results: Path, grid: Grid):
    assert stamps(grid, results) == {TABLE: 0, FIGURES: 0}
    assert stamps(grid, results) == {TABLE: 0, FIGURES: 0}


CHANGES = {
    "no identity": lambda results: (results / TABLE).unlink(),
    "another identity": lambda results: (results / TABLE).write_text("capacity-000000000000\n"),
    "an identity that is no text": lambda results: (results / TABLE).write_bytes(b"\xff\xfe"),
    "a copy is gone": lambda results: (results / "capacity_summary.csv").unlink(),
    "a copy was edited": lambda results: (results / "capacity_table.csv").write_text("R\n2.0\n"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("when", [1, time.time(), 4e9], ids=["long ago", "now", "in the future"])
def test_a_stamp_is_newer_than_its_copies_whatever_their_time_when_they_are_not_current(
    results: Path, grid: Grid, change: Callable[[Path], Any], when: float
):
    change(results)
    copies = [results / name for name in ("capacity_table.csv", "capacity_summary.csv", TABLE)]
    for path in filter(Path.exists, copies):
        os.utime(path, (when, when))
    found = stamps(grid, results)
    assert found[FIGURES] == 0
    assert found[TABLE] > max(path.stat().st_mtime for path in copies if path.exists())


def test_what_is_published_after_a_stamp_is_newer_though_the_last_time_was_just_now(results: Path, grid: Grid):
    """Otherwise the engine takes the copy for older than its input, and fails the job."""
    (results / TABLE).write_text("other\n")
    found = stamps(grid, results)
    assert (results / TABLE).stat().st_mtime < found[TABLE] <= time.time()


def test_a_stamp_says_something_new_each_time_there_is_something_to_publish(results: Path, grid: Grid):
    stamps(grid, results)
    stamp = results / "specs" / "capacity_table.stamp"
    texts = [stamp.read_text()]
    for _ in range(2):
        (results / TABLE).write_text("other\n")
        stamps(grid, results)
        texts.append(stamp.read_text())
    assert len(set(texts)) == 3
    publish(grid, results)
    assert stamps(grid, results)[TABLE] == 0
    assert stamp.read_text() == texts[-1]


def test_a_stamp_is_new_before_anything_was_ever_published(tmp_path: Path, grid: Grid):
    assert min(stamps(grid, tmp_path / "results").values()) > 0


def test_another_configuration_and_back_again_are_published_in_turn(results: Path, grid: Grid):
    other = tiny(display={"title": "Other"})
    copied = (results / "figures" / "capacity.png").stat().st_mtime
    found = stamps(other, results)
    assert found[TABLE] == 0
    assert found[FIGURES] > copied
    plant(other.figures, results)
    publish(other, results)
    assert stamps(other, results)[FIGURES] == 0
    assert stamps(grid, results)[FIGURES] > 0


def test_copies_of_an_artefact_that_was_removed_are_current_while_they_are_all_there(results: Path, grid: Grid):
    artefact, files, id_file = published(grid)[0]
    shutil.rmtree(results / artefact.name)
    assert is_published(artefact, files, id_file, results)
    (results / "capacity_summary.csv").unlink()
    assert not is_published(artefact, files, id_file, results)


# --- the whole


def test_a_run_that_is_prepared_says_what_is_made_again_and_why(
    results: Path, grid: Grid, capsys: pytest.CaptureFixture[str]
):
    prepare_run(grid, results)
    assert capsys.readouterr().err == ""
    damage(results / grid.table.name)
    prepare_run(grid, results)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" is made again: ")[0] for line in lines] == [grid.table.name, grid.figures.name]


def test_jobs_find_this_interpreter_first_and_use_one_thread():
    variables = {"PATH": "/usr/bin", "OMP_NUM_THREADS": "8", "HF_HUB_OFFLINE": "0"}
    set_job_environment(variables, Path("results"))
    assert variables["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}/usr/bin"
    assert {variables[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"1"}
    assert variables["HF_HUB_OFFLINE"] == "0", "a choice of the user that changes no number is left alone"


@pytest.mark.parametrize("folder", ["a b/c", "it's", "tab\there"])
def test_the_compile_cache_lies_where_a_compiler_reads_its_path_as_one_word(folder: str, tmp_path: Path):
    caches = [compile_cache(tmp_path / name / "results") for name in ("plain", folder, f"another {folder}")]
    assert caches[0] == str(tmp_path / "plain" / "results" / "cache" / "inductor")
    assert len(set(caches)) == 3
    assert all(shlex.split(cache) == [cache] for cache in caches)
    variables: dict[str, str] = {}
    set_job_environment(variables, tmp_path / folder / "results")
    assert variables["TORCHINDUCTOR_CACHE_DIR"] == caches[1]


def test_two_runs_never_hold_one_results_folder_and_a_dead_one_lets_go(
    results: Path, capsys: pytest.CaptureFixture[str]
):
    context = multiprocessing.get_context("fork")
    held, end = context.Event(), context.Event()

    def run() -> None:
        _lock = lock_run(results)
        held.set()
        end.wait(30)
        os._exit(9)  # no clean-up of any kind

    other = context.Process(target=run)
    other.start()
    assert held.wait(30)
    with pytest.raises(SystemExit) as caught:
        lock_run(results)
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert f"process {other.pid} on " in said
    assert f" since {date.today():%Y-%m-%d} " in said
    assert Path(sys.argv[0]).name in said, "what it does"
    assert "second checkout (docs/start.md)" in said, "the remedy"
    end.set()
    other.join(30)
    lock_run(results).close()
    lock_run(results).close()


def test_a_file_system_without_locks_is_not_taken_for_another_run(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(SystemExit):
        lock_run(results)
    assert "cannot be locked (Function not implemented); put results on" in capsys.readouterr().err


def test_models_are_checked_before_any_spec_is_written(tmp_path, monkeypatch):
    seen = []

    def refuse(specs, done):
        seen.append((specs, done))
        raise UserError("no such model")

    monkeypatch.setattr("capacity.plan.prepare.check_models", refuse)
    grid = tiny_grid()
    plant(of_stage(grid, "datasets"), tmp_path)
    with pytest.raises(UserError, match="no such model"):
        prepare_run(grid, tmp_path)
    assert seen == [(grid.specs, {of_stage(grid, "datasets").name})]
    assert not (tmp_path / "specs").exists()
