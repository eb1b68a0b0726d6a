"""An audit of somebody else's things: no secret reaches its jobs, nothing of a faulty archive is made again."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from planted import TINY
from test_audit import findings
from test_audit_release import archive, edit_json, relisted, repacked  # noqa: F401 - a fixture

from capacity.artefacts.identity import file_digest
from capacity.audit.engine import CleanCheckout, config_text
from capacity.audit.findings import Level, Severity
from capacity.audit.release import CONFIG, LISTING, unpack
from capacity.audit.report import Report
from capacity.audit.run import Options, run_audit
from capacity.cli import audit_results
from capacity.config.load import load_config, merge
from capacity.plan.grid import resolve

SECRETS = (
    *("REWRITER_API_KEY", "OPENAI_API_KEY", "NVIDIA_API_KEY", "HF_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY"),
    *("HTTPS_PROXY", "SLURM_JWT", "SSH_AUTH_SOCK", "SNAKEMAKE_PROFILE", "CAPACITY_STORE", "CAPACITY_FORK_SERVER"),
)


def test_no_secret_and_nothing_made_before_reaches_the_jobs_of_an_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each process that an audit starts writes down its environment; what the engine starts inherits it."""
    told = tmp_path / "told"
    (tmp_path / "sitecustomize.py").write_text(
        f"import json, os\nwith open({str(told)!r}, 'a') as file:\n"
        "    file.write(json.dumps(dict(os.environ)) + '\\n')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    checkout = CleanCheckout.new(tmp_path / "clean", load_config([TINY]))
    checkout.script("make_dataset.py")
    checkout.engine("--version")
    environments = [json.loads(line) for line in told.read_text().splitlines()]
    assert len(environments) >= 2
    for environment in environments:
        assert "secret" not in environment.values()
        assert environment["HF_HUB_OFFLINE"] == "1"
        assert "PATH" in environment


TEXTS = ["\U0001f9e0", "\ufeff\ufffe\uffff", "\ue000\U000f0000\U0010ffff", '"\\ud83d\\ude00']


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_any_character_of_a_configuration_survives_the_file_that_an_audit_or_a_release_writes(
    tmp_path: Path, text: str
):
    config = load_config([TINY])
    display = config.display.model_copy(update={"title": f"a{text}b"})
    config = config.model_copy(update={"display": display})
    (tmp_path / "config.json").write_text(config_text(config), encoding="utf-8")
    assert load_config([tmp_path / "config.json"]).display.title == f"a{text}b"


def test_jobs_of_an_audit_report_to_no_logger_and_share_no_store(tmp_path: Path):
    """An archive's would need their packages here, and could send something out."""
    config = load_config([TINY], {"loggers": ["wandb"], "store": "/shared"})
    checkout = CleanCheckout.new(tmp_path / "clean", config)
    written = load_config([checkout.path / "config.yaml"])
    assert (written.loggers, written.store) == ([], None)
    assert written.studies == config.studies


def audited(archive: Path, tmp_path: Path, trusted: tuple[str, ...] = ()) -> Report:  # noqa: F811
    """Level 4 of an archive."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    release = unpack(archive, folder, None)
    config = load_config([release.root / CONFIG])
    return run_audit(Options(release.results, config, resolve(config), (4,), release=release, trusted=trusted))


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("something was run")


def edit_a_table(root: Path) -> None:
    """A fault that the archive's own listing hides."""
    path = root / "results" / "capacity_table.csv"
    path.write_text(path.read_text().replace("none", "nune"))
    edit_json(
        root / LISTING,
        lambda it: it["files"]["results/capacity_table.csv"].update(
            bytes=path.stat().st_size, sha256=file_digest(path)
        ),
    )


@pytest.mark.parametrize(
    ("change", "failed"), [(lambda root: (root / "extra").touch(), 1), (edit_a_table, 2)], ids=["extra file", "table"]
)
def test_nothing_is_made_again_of_an_archive_with_faults_whatever_levels_are_asked_for(
    archive: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Any,
    failed: int,
):
    monkeypatch.setattr(CleanCheckout, "engine", never)
    report = audited(repacked(archive, tmp_path / "x.tar.gz", change), tmp_path)
    assert [level.number for level in report.levels] == [1, 2, 4]
    assert report.levels[-1].grade.startswith(f"not done: level {failed} found faults")
    assert report.exit_code == 4


def name_a_function(root: Path) -> None:
    """A model that calls a function of the auditor's checkout with settings of the archive's."""
    model = {"python": "tests.own_models:averages", "settings": {"width": 1}}
    edit_json(root / CONFIG, lambda it: it["models"].update(small=model))
    edit_json(
        root / LISTING,
        lambda it: it["files"][CONFIG].update(bytes=(root / CONFIG).stat().st_size, sha256=file_digest(root / CONFIG)),
    )


def test_an_archive_calls_no_function_of_the_auditors_checkout_unless_it_is_trusted(
    archive: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    hostile = repacked(archive, tmp_path / "x.tar.gz", name_a_function)
    monkeypatch.setattr(CleanCheckout, "engine", never)
    report = audited(hostile, tmp_path)
    assert [(finding.severity, finding.kind) for finding in findings(report)] == [(Severity.WARNING, "not done")]
    assert "python: tests.own_models:averages of this checkout" in report.levels[-1].skipped
    assert report.levels[-1].skipped.endswith("give TRUST=tests.own_models:averages")
    (tmp_path / "again").mkdir()
    trusting = audited(hostile, tmp_path / "again", ("tests.own_models:averages",))
    assert "TRUST" not in trusting.levels[-1].skipped


@pytest.mark.parametrize("number", [4, 5])
def test_a_level_of_an_archive_that_was_asked_for_and_is_not_done_is_a_warning(
    archive: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
):
    """As an archive has it whose configuration was made unreadable."""
    monkeypatch.setattr(CleanCheckout, "engine", never)
    unreadable = repacked(archive, tmp_path / "x.tar.gz", lambda root: add_a_key(root, nonsense=1))
    options = subject_of(unreadable, tmp_path, (number,))
    assert (options.config, options.grid) == (None, None)
    assert "nonsense" in capsys.readouterr().err
    report = run_audit(options)
    assert report.exit_code == 3
    found = findings(report)
    assert [(finding.kind, finding.where) for finding in found] == [("not done", f"level {number}")]
    assert found[0].what.startswith("was asked for: the archive's configuration cannot be used here: ")
    assert run_audit(replace(options, levels=(1, 2))).exit_code == 0


def add_a_key(root: Path, **keys: Any) -> None:
    """A key laid over the configuration, which the listing vouches for."""
    edit_json(root / CONFIG, lambda it: it.update(merge(it, keys)))
    relisted(root)


OUTSIDE = {
    "claims": {"claims": "/proc/self/environ"},
    "a table": {"datasets": {"mine": {"kind": "records", "file": "../../secret.csv", "entity": "x"}}},
    "a list": {"datasets": {"mine": {"kind": "bioS", "N": 4, "value_lists": {"majors": "/etc/passwd"}}}},
    "templates": {"datasets": {"mine": {"kind": "bioS", "N": 4, "template_folder": "../templates"}}},
    "a tokenizer": {"tokenizers": {"mine": {"kind": "pretrained", "folder": "/root"}}},
    "a table that is varied": {
        "studies": {"base": {"vary": {"dataset.file": ["examples/countries.csv", "../../x.csv"]}}}
    },
    "lists that are varied": {"studies": {"base": {"vary": {"dataset.value_lists": [{"majors": "/etc/passwd"}]}}}},
    "a list that is varied": {"studies": {"base": {"vary": {"dataset.value_lists.majors": ["/etc/passwd"]}}}},
    "a tokenizer of a grid": {"studies": {"base": {"grids": [{"vary": {"tokenizer.folder": ["/root"]}}]}}},
    "a rewriter": {"datasets": {"mine": {"kind": "bioR", "N": 4, "rewriter": {"kind": "model", "model": "/root"}}}},
}


@pytest.mark.parametrize("keys", OUTSIDE.values(), ids=OUTSIDE.keys())
def test_an_archive_has_no_file_outside_the_project_read(
    archive: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    keys: dict[str, Any],
):
    monkeypatch.setattr(audit_results, "resolve", never)
    hostile = repacked(archive, tmp_path / "x.tar.gz", lambda root: add_a_key(root, **keys))
    assert subject_of(hostile, tmp_path, (1,)).grid is None
    assert "lies outside the project's folder" in capsys.readouterr().err


def subject_of(of: Path, tmp_path: Path, levels: tuple[int, ...]) -> Options:
    """An archive as the command looks at it."""
    (tmp_path / "unpacked").mkdir()
    given = {"configfile": [], "config": [], "study": None, "results": Path("results"), "levels": levels, "jobs": 1}
    given |= {"sample": "1", "seed": 1, "target": None, "archive": of, "signers": None, "trust": ["a.b:c"]}
    return audit_results.subject(argparse.Namespace(**given), tmp_path / "unpacked")


def test_an_archive_is_held_to_the_auditors_tolerances(
    archive: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hostile = repacked(
        archive,
        tmp_path / "x.tar.gz",
        lambda root: edit_json(root / CONFIG, lambda it: it.update(audit={"tensors": 0.9, "metrics": 0.9})),
    )
    options = subject_of(hostile, tmp_path, (4,))
    assert options.config.audit == load_config([TINY]).audit
    assert options.trusted == ("a.b:c",)


def test_a_report_controls_no_terminal_and_holds_no_markup_of_others():
    level = Level(1, facts={"made on": "a\x1b[2J\nhost", "listed": ["<b>", {"<i>": "\x07"}]})
    level.fault("extra file", "x/a\x1b[31m`\nfault: none", "is <script>alert(1)</script>\x9b\udce9")
    report = Report({"results": "r\n# Verdict: no finding"}, [level])
    text, page = report.as_text(), report.as_markdown()
    assert text.replace("\n", "").isprintable()
    assert page.replace("\n", "").isprintable()
    assert len(text.splitlines()) == 3
    assert "\n# Verdict" not in page
    assert "<" not in page
    assert json.loads(report.as_json())["levels"][0]["findings"][0]["where"] == "x/a\x1b[31m`\nfault: none"
