"""Determinism, environment, disclosure: what counts as a finding there, on planted trainings and manifests."""

import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout
from edits import RUNS
from planted import TINY, tiny, tiny_grid
from test_audit import edit_manifest, forge_table, last_digit, seal
from test_audit_release import archive  # noqa: F401 - a fixture

from capacity.audit import determinism, execution, machine, run
from capacity.audit.counterparts import without_ids
from capacity.audit.currency import _changed_files, check_currency
from capacity.audit.determinism import Failed, check_determinism
from capacity.audit.disclosure import PARTLY, PERSON, YES, check_disclosure, seeds_a_point
from capacity.audit.engine import CleanCheckout
from capacity.audit.execution import TABLE_MADE_AGAIN, Choice, check_execution, units, with_tables
from capacity.audit.findings import Level, Severity
from capacity.audit.folder import Artefact, Folder, read_folder
from capacity.audit.machine import check_machine, machine_differences
from capacity.audit.pinned import names_endpoint
from capacity.audit.published_tables import check_rows
from capacity.audit.release import unpack
from capacity.audit.report import UNTOUCHED
from capacity.audit.row_chain import check_chain
from capacity.audit.run import Options, published_places, run_audit
from capacity.config.load import load_config
from capacity.config.study import Audit
from capacity.environment import environment

CONFIG = load_config([TINY])


@pytest.fixture(scope="module")
def folder(built: Checkout) -> Folder:
    return read_folder(built.path / "results", published_places(tiny_grid()))


def with_manifests(folder: Folder, change: Callable[[Artefact], dict[str, Any]]) -> Folder:
    """The folder with manifests changed in memory."""
    artefacts = {
        name: dataclasses.replace(a, manifest=a.manifest.model_copy(update=change(a)))
        for name, a in folder.artefacts.items()
    }
    return Folder(folder.results, artefacts, {}, folder.published)


# --- rows


def with_rows(folder: Folder, change: Callable[[list[dict[str, Any]]], Any]) -> Folder:
    """The folder with other rows in the specification of its table."""

    def edited(artefact: Artefact) -> dict[str, Any]:
        if artefact.stage != "tables":
            return {}
        rows = [dict(row) for row in artefact.manifest.settings["rows"]]
        change(rows)
        return {"settings": {**artefact.manifest.settings, "rows": rows}}

    return with_manifests(folder, edited)


def exchange(*columns: str, scheme: str = "none") -> Callable[[list[dict[str, Any]]], Any]:
    """The first row gets what another run's row of the scheme has in columns, and that one the first's."""

    def change(rows: list[dict[str, Any]]) -> None:
        one = next(row for row in rows if row["scheme"] == "none")
        other = next(row for row in rows if row["scheme"] == scheme and row["probe_id"] != one["probe_id"])
        for column in columns:
            one[column], other[column] = other[column], one[column]

    return change


def another_seed(rows: list[dict[str, Any]]) -> None:
    """A further row that says to be a seed of the first row's point, and names a scheme of other bits."""
    int8 = next(row for row in rows if row["scheme"] != "none")
    none = next(row for row in rows if row["scheme"] == "none" and row["run"] == int8["run"])
    rows.append({**int8, "variant_id": none["variant_id"], "probe_id": none["probe_id"]})


IDS = ("dataset_id", "tokenizer_id", "checkpoint_id", "variant_id", "probe_id")


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (lambda rows: None, set()),
        (exchange("probe_id"), {"row of several runs"}),
        (exchange("variant_id", "probe_id"), {"row of several runs"}),
        (exchange(*IDS), {"row of several runs"}),  # exposures are those of another run
        (exchange("variant_id", "probe_id", scheme="int8"), {"wrong label"}),  # one run, other schemes
        (another_seed, {"wrong label"}),
    ],
)
def test_rows_that_name_the_scores_of_another_run_are_found_though_every_number_follows_from_them(
    folder: Folder, change: Callable[[list[dict[str, Any]]], Any], kinds: set[str]
):
    forged, level = with_rows(folder, change), Level(2)
    table = next(each for each in forged.published_artefacts() if each.stage == "tables")
    check_chain(table, forged, level)
    assert {finding.kind for finding in level.findings} == kinds
    told = [f.what for f in check_currency(forged, tiny_grid()).findings if f.where == "tables/capacity"]
    changed = table.manifest.settings != folder.artefacts[table.name].manifest.settings
    assert told == (["rows changed"] if changed else [])


def test_a_file_of_several_rows_a_variant_is_no_list_of_variants(folder: Folder, tmp_path: Path):
    """As bands of people are, where some are seen more often."""
    table = next(each for each in folder.published_artefacts() if each.stage == "tables")
    identity, level = table.manifest.settings["rows"][0]["probe_id"], Level(2)
    (tmp_path / "capacity_bands.csv").write_text(f"probe_id,exposures\n{identity},3\n{identity},40\n")
    outputs = {"capacity_bands.csv": table.manifest.outputs["capacity_table.csv"]}
    manifest = table.manifest.model_copy(update={"outputs": outputs})
    here = Folder(tmp_path, folder.artefacts, {}, [])
    check_rows(dataclasses.replace(table, folder=tmp_path, manifest=manifest), here, level)
    assert level.findings == []


# --- determinism


class Planted:
    """Trainings that end as a test says: what each label gives, in place of the straight one."""

    def __init__(self, straight: Artefact, **given: Any):
        self.one, self.given = straight, given
        other = {n: o.model_copy(update={"sha256": "0" * 64}) for n, o in straight.manifest.outputs.items()}
        self.other = dataclasses.replace(
            straight, manifest=straight.manifest.model_copy(update={"content": "0" * 64, "outputs": other})
        )

    def __call__(self, spec: Any, config: Any, scratch: Path, *_: Any) -> "Planted":
        self.spec = spec
        return self

    def straight(self, jobs: int) -> Artefact:
        return self.one

    def once_more(self, label: str, *_: Any, **__: Any) -> Artefact:
        default = "other" if label in ("other-seed", "compile") else "same"
        answer = self.given.get(label.replace("-", "_"), default)
        if isinstance(answer, Exception):
            raise answer
        it = self.one if answer == "same" else self.other
        sessions = {**it.manifest.metrics, "num_sessions": 1 if answer == "uninterrupted" or label != "resumed" else 2}
        return dataclasses.replace(it, manifest=it.manifest.model_copy(update={"metrics": sessions}))

    def changed(self, **settings: Any) -> Any:
        return self.spec


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ({}, []),
        ({"again": "other"}, ["not deterministic"]),
        ({"resumed": "other"}, ["not deterministic"]),
        ({"other_seed": "same"}, ["seed without effect"]),
        ({"threads": "other", "compile": "same"}, []),  # reported, not required
        ({"compile": Failed("No working C++ compiler")}, []),
        ({"resumed": Failed("told to stop, it ended with code 0")}, ["not made again"]),
    ],
)
def test_what_a_training_must_repeat_and_what_is_only_reported(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], kinds: list[str]
):
    # The cheapest of all takes one step, and cannot be stopped: the audit passes it over.
    folder = with_manifests(folder, lambda a: {"cpu_seconds": 0.0} if a.manifest.metrics.get("steps") == 1 else {})
    name = min(
        (n for n, a in folder.artefacts.items() if a.stage == "checkpoints" and a.manifest.metrics["steps"] > 1),
        key=lambda n: folder.artefacts[n].manifest.cpu_seconds,
    )
    assert any(a.stage == "checkpoints" and a.manifest.metrics["steps"] == 1 for a in folder.artefacts.values())
    monkeypatch.setattr(determinism, "Trainings", Planted(folder.artefacts[name], **given))
    level = check_determinism(folder, tiny_grid(), CONFIG, 1, tmp_path)
    assert [finding.kind for finding in level.findings if finding.severity == Severity.FAULT] == kinds
    assert all(finding.where == name for finding in level.findings)
    if not kinds:
        assert level.facts["two threads in the environment"].startswith("differ" if "threads" in given else "equal")
        failed = isinstance(given.get("compile"), Failed)
        assert level.facts["compile False -> True"].startswith("not done: No working") == failed


def test_a_table_of_another_configuration_has_no_training_to_repeat(folder: Folder, tmp_path: Path):
    grid = tiny(regimes={name: {"lr": 5e-3} for name in ("long", "short", "cut")})
    level = check_determinism(folder, grid, CONFIG, 1, tmp_path)
    assert level.grade == "not done: the present configuration has none of the trainings behind the table"


# --- environment


def test_the_machine_that_made_it_is_expected_to_give_equal_bits(folder: Folder):
    assert machine_differences(folder) == []
    assert check_machine(folder).facts["expected of re-execution"] == "equal bits"


def test_another_processor_or_package_lowers_what_is_expected_and_is_no_fault(folder: Folder):
    def elsewhere(artefact: Artefact) -> dict[str, Any]:
        metrics = (
            {**artefact.manifest.metrics, "device": "NVIDIA H100"} if "device" in artefact.manifest.metrics else {}
        )
        return {"metrics": metrics}

    level = check_machine(with_manifests(folder, elsewhere))
    assert level.facts["expected of re-execution"] == "within tolerance"
    assert any("made on NVIDIA H100, audited on " in finding.what for finding in level.findings)
    assert level.worst == Severity.NOTE
    older = with_manifests(
        folder, lambda a: {"environment": {**a.manifest.environment, "packages": {"torch": "1.0", "numpy": "1.0"}}}
    )
    assert any("made with torch 1.0, audited with " in words for words in machine_differences(older))
    here = environment()["packages"]
    older = with_manifests(
        folder, lambda a: {"environment": {**a.manifest.environment, "packages": {**here, "pyarrow": "1.0"}}}
    )
    assert [words.partition(",")[0] for words in machine_differences(older)] == ["made with pyarrow 1.0"]


def test_a_package_that_is_not_the_locked_one_is_named_with_both_versions(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lock = tmp_path / "requirements.txt"
    lock.write_text("# pins\nnumpy==0.0.1\nno-such-package==1.0\n")
    monkeypatch.setattr(machine, "LOCK", lock)
    level = check_machine(folder)
    assert [(f.kind, f.where) for f in level.findings] == [("not the lock", "numpy==0.0.1")]
    assert level.facts["packages of the lock"] == "1 of 2 installed"


def test_a_tree_without_a_lock_is_told(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "LOCK", tmp_path / "nothing")
    assert [finding.what for finding in check_machine(folder).findings] == [
        "is not in this tree, so nothing was compared with it"
    ]


# --- what re-execution expects on another machine


@pytest.mark.parametrize(
    ("allowed", "differs", "severity"),
    [
        (Audit(tensors=0.5, metrics=0.0), ["made on another"], Severity.NOTE),
        (Audit(tensors=0.0, metrics=0.5), ["made on another"], Severity.NOTE),
        (Audit(tensors=0.0, metrics=0.0), ["made on another"], Severity.FAULT),
        (Audit(tensors=0.5, metrics=0.5), [], Severity.FAULT),
    ],
)
def test_other_bits_are_weighed_by_the_tolerances_that_were_declared_only_where_bits_are_not_expected(
    built: Checkout,
    folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    allowed: Audit,
    differs: list[str],
    severity: Severity,
):
    """The engine is replaced by a copy of what is there, one number of one file of which is changed."""
    name = next(n for n in folder.artefacts if n.startswith(f"checkpoints/{RUNS['long'][2]}"))

    def engine(checkout: CleanCheckout, *words: str) -> subprocess.CompletedProcess[str]:
        made = shutil.copytree(folder.artefacts[name].folder, checkout.results / name)
        text = (made / "training.json").read_text()
        loss = folder.artefacts[name].manifest.metrics["final_loss"]
        (made / "training.json").write_text(text.replace(repr(loss), repr(loss + 0.01)))
        seal(made)
        metrics = {**folder.artefacts[name].manifest.metrics, "final_loss": loss + 0.01}
        edit_manifest(made, metrics=metrics)
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(CleanCheckout, "engine", engine)
    config = CONFIG.model_copy(update={"audit": allowed})
    monkeypatch.setattr(execution, "own_differences", lambda manifest: differs)
    level = check_execution(folder, tiny_grid(), config, Choice(target=name), 1, tmp_path)
    other = [finding for finding in level.findings if finding.kind == "other bits"]
    assert [(finding.where, finding.severity) for finding in other] == [(name, severity)]
    assert "training.json" in other[0].what


# --- the table among what is made again


def engine_that_copies(folder: Folder) -> Callable[..., subprocess.CompletedProcess[str]]:
    """An engine that makes what it is asked for, and all that this follows from, as it lies in a folder."""

    def engine(checkout: CleanCheckout, *words: str) -> subprocess.CompletedProcess[str]:
        asked = [word.removeprefix("results/").removesuffix("/manifest.json") for word in words if "/" in word]
        for name in folder.lineage(asked):
            shutil.copytree(folder.artefacts[name].folder, checkout.results / name)
        return subprocess.CompletedProcess(words, 0, "", "")

    return engine


def test_a_table_is_made_again_where_all_runs_behind_it_are(folder: Folder):
    runs = units(folder)
    table = [name for name in folder.artefacts if name.startswith("tables/")]
    assert with_tables(folder, runs) == [*runs, *table]
    assert with_tables(folder, runs[1:]) == runs[1:]
    assert with_tables(folder, table) == table
    assert with_tables(folder, []) == []


@pytest.mark.parametrize("sample", ["all", "100%", "3"])
def test_forged_cells_whose_every_digest_fits_are_found_where_all_runs_are_made_again(
    built: Checkout, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: str
):
    shutil.copytree(built.path / "results", tmp_path / "forged" / "results")
    forged = Checkout(tmp_path / "forged")
    forge_table(forged, lambda text: last_digit(text.encode()).decode())
    monkeypatch.setattr(CleanCheckout, "engine", engine_that_copies(folder))
    results = read_folder(forged.path / "results", published_places(tiny_grid()))
    level = check_execution(results, tiny_grid(), CONFIG, Choice(sample), 1, tmp_path)
    found = [(f.severity, f.kind, f.where) for f in level.findings]
    assert found == [(Severity.FAULT, "other bits", f"tables/{forged.artefact('tables', 'capacity').name}")]
    assert level.facts["made again"]["different"] == 1
    assert level.facts[TABLE_MADE_AGAIN] == "yes"


def exchange_lines(text: str) -> str:
    """A table in which the first two rows have each other's numbers, under labels that stay."""
    head, *rows = (line.split(",") for line in text.splitlines())
    measured = [place for place, column in enumerate(head) if column.startswith(("R", "bits_")) and column != "R_max"]
    for place in measured:
        rows[0][place], rows[1][place] = rows[1][place], rows[0][place]
    rows[0][head.index("R")] = str(float(rows[0][head.index("R")]) + 0.3)  # untrained variants differ by less
    rows[1][head.index("R")] = str(float(rows[1][head.index("R")]) - 0.3)
    return "\n".join(map(",".join, [head, *rows])) + "\n"


def test_rows_that_were_exchanged_are_found_though_every_manifest_names_another_processor(
    built: Checkout, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The means of all columns stay, and equal bits cannot be expected."""
    shutil.copytree(built.path / "results", tmp_path / "forged" / "results")
    forged = Checkout(tmp_path / "forged")
    forge_table(forged, exchange_lines)
    monkeypatch.setattr(CleanCheckout, "engine", engine_that_copies(folder))
    results = read_folder(forged.path / "results", published_places(tiny_grid()))
    elsewhere = with_manifests(
        results, lambda a: {"hardware": {"cpu": "Other"}, "metrics": {**a.manifest.metrics, "device": "Other"}}
    )
    level = check_execution(elsewhere, tiny_grid(), CONFIG, Choice("all"), 1, tmp_path)
    found = [(f.severity, f.kind) for f in level.findings if f.severity > Severity.NOTE]
    assert found == [(Severity.FAULT, "other bits"), (Severity.WARNING, "tolerance on its word")]


@pytest.mark.parametrize(("sample", "answer"), [("1", PARTLY), ("all", YES)])
def test_an_honest_release_passes_and_says_whether_its_table_was_made_again(
    archive: Path,  # noqa: F811
    folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sample: str,
    answer: str,
):
    """Without its scores, as releases are: only the whole sample reaches the table."""
    monkeypatch.setattr(CleanCheckout, "engine", engine_that_copies(folder))
    monkeypatch.setattr(run, "retabulate", lambda *_: False)
    release = unpack(archive, tmp_path, None)
    options = Options(release.results, CONFIG, tiny_grid(), (4, 7), choice=Choice(sample), release=release)
    report = run_audit(options)
    assert report.exit_code == 0
    assert report.verdict() == ("no finding" if sample == "all" else f"no finding; {UNTOUCHED}")
    badges = [line for line in report.levels[-1].facts["checklist"] if line.startswith("ACM results reproduced")]
    assert len(badges) == 1
    assert f": {answer} (pass" in badges[0]
    assert (UNTOUCHED in badges[0]) == (answer == PARTLY)


def test_other_bits_are_no_reproduction(folder: Folder):
    level = Level(4)
    level.fault("other bits", "checkpoints/x", "made again it differs")
    answers = check_disclosure(folder, CONFIG, level).facts["checklist"]
    assert any(": made again with the authors' artefacts: no (fail)" in line for line in answers)


# --- disclosure


def test_a_manifest_that_tells_nothing_of_machine_or_cost_is_a_warning(folder: Folder):
    assert check_disclosure(folder, CONFIG, None).worst == Severity.NOTE
    silent = with_manifests(folder, lambda a: {"hardware": {}, "seconds": 0.0} if a.stage == "probes" else {})
    warned = [f for f in check_disclosure(silent, CONFIG, None).findings if f.severity == Severity.WARNING]
    assert {finding.what.partition(":")[0] for finding in warned} == {"machine", "time and cost"}


def test_the_time_of_members_is_in_that_of_their_set(folder: Folder):
    slow = with_manifests(folder, lambda a: {"cpu_seconds": 10.0})
    members = {member for artefact in slow.artefacts.values() for member in artefact.manifest.members}
    assert members
    answers = check_disclosure(slow, CONFIG, None).facts["checklist"]
    told = next(line for line in answers if "average run time and cost" in line)
    assert f"{10 * (len(slow.artefacts) - len(members)):,} CPU seconds in all" in told


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"file": "datasets/a.csv", "dataset_id": "x"}, {"file": "datasets/a.csv"}),
        ({"made_from": f"datasets/bioS-N4-s1-{'0a' * 6}", "N": 4}, {"N": 4}),
        ([{"files": {"a": "b"}, "phrases": {"url": ["x"]}}], [{"phrases": {"url": ["x"]}}]),
    ],
)
def test_what_a_specification_says_is_kept_but_for_names_of_artefacts(settings: Any, left: Any):
    assert without_ids(settings) == left


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "../" * 2000])
def test_a_name_that_no_file_can_have_is_a_file_that_is_not_there(name: str):
    assert _changed_files({name: "0" * 64}, archived=True)[0].endswith("is not in this tree")


def test_only_a_rewriter_is_an_endpoint():
    assert names_endpoint({"kind": "bioR", "rewriter": {"kind": "endpoint", "url": "http://x"}})
    assert not names_endpoint({"kind": "records", "phrases": {"url": ["its page is"]}, "rewriter": {"kind": "grammar"}})


def test_seeds_are_counted_a_point_of_the_table():
    rows = [{"study": "s", "N": n, "seed": seed, "probe_id": f"{n}{seed}"} for n in (1, 2) for seed in range(n + 1)]
    assert seeds_a_point(rows) == {2: 1, 3: 1}


def test_results_of_a_changed_tree_are_noted(folder: Folder):
    dirty = with_manifests(folder, lambda a: {"git": {"commit": "c" * 40, "dirty": True}})
    noted = [finding.kind for finding in check_disclosure(dirty, CONFIG, None).findings]
    assert noted == ["uncommitted code"]


def test_data_that_a_person_or_an_endpoint_gave_and_people_in_groups_are_said(folder: Folder):
    def answer(question: str, settings: dict[str, Any]) -> str:
        told = with_manifests(folder, lambda a: {"settings": settings} if a.stage == "datasets" else {})
        return next(line for line in check_disclosure(told, CONFIG, None).facts["checklist"] if question in line)

    collection = "data collection"
    assert f": {YES} (worlds are generated)" in answer(collection, {"kind": "bioS"})
    assert f": {PERSON} (from where mine.csv is" in answer(collection, {"kind": "records", "file": "mine.csv"})
    assert f": {PARTLY} (texts of an endpoint" in answer(collection, {"rewriter": {"kind": "endpoint"}})
    assert f": {YES} (none: what is stored" in answer("splits", {})
    asked = with_manifests(folder, lambda a: {"name": f"answers/{a.name}"} if a.stage == "probes" else {})
    assert any("of people, by seed" in line for line in check_disclosure(asked, CONFIG, None).facts["checklist"])
