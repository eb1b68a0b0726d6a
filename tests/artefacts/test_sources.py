"""What was found in the sources is kept between processes, and never outlives the sources that it was found in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from capacity.artefacts import sources
from capacity.artefacts.identity import SCRIPTS
from capacity.artefacts.sources import code_digest, forget_sources, module_digests

KEPT = "__pycache__/sources.json"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scripts in which `job.py` reaches `a` and, once it is there, `b`."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    forget_sources()
    (tmp_path / "job.py").write_text("import a\ntry:\n    import b\nexcept ImportError:\n    pass\n")
    (tmp_path / "a.py").write_text("X = 1\n")
    return tmp_path


def looked(tree: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether another process looks through the sources."""
    calls = []
    found = sources.code_files
    forget_sources()
    with monkeypatch.context() as patch:
        patch.setattr(sources, "code_files", lambda *words: calls.append(words) or found(*words))
        module_digests("job.py", tree)
    return bool(calls)


def test_another_process_does_not_look_again(tree: Path, monkeypatch: pytest.MonkeyPatch):
    first = dict(module_digests("job.py", tree))
    assert not looked(tree, monkeypatch)
    assert module_digests("job.py", tree) == first
    assert sorted(first) == ["__main__", "a"]


def test_sources_are_utf_8_whatever_the_locale(tree: Path):
    (tree / "a.py").write_text('X = "é"\n', encoding="utf-8")
    code = "from capacity.artefacts.sources import code_digest; from pathlib import Path; "
    code += f"print(code_digest('job.py', Path({str(tree)!r})))"
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = os.environ | ascii_alone | {"PYTHONPATH": str(SCRIPTS), "PYTHONDONTWRITEBYTECODE": "1"}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert answer.stdout.strip() == code_digest("job.py", tree), answer.stderr


@pytest.mark.parametrize(
    ("file", "text"), [("a.py", "X = 2\n"), ("b.py", "Y = 1\n"), ("a.py", "X = 1  # a remark\n"), ("words.txt", "a\n")]
)
def test_any_change_below_the_scripts_is_looked_at(tree: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str):
    before = code_digest("job.py", tree)
    (tree / file).write_text(text)
    assert looked(tree, monkeypatch)
    assert (code_digest("job.py", tree) != before) == (text in ("X = 2\n", "Y = 1\n"))


def _without_an_answer(text: str) -> str:
    kept = json.loads(text)
    kept["answers"]["job.py"].pop("a")
    return json.dumps(kept)


@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: "[]", lambda text: "{}", _without_an_answer])
def test_what_is_not_as_it_was_written_counts_for_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch, damage):
    before = code_digest("job.py", tree)
    (tree / KEPT).write_text(damage((tree / KEPT).read_text()))
    assert looked(tree, monkeypatch)
    assert code_digest("job.py", tree) == before


def test_what_is_found_while_a_source_is_edited_is_not_kept(tree: Path, monkeypatch: pytest.MonkeyPatch):
    found = sources.code_files

    def edited(*words):
        (tree / "a.py").write_text("X = 3\n")
        return found(*words)

    with monkeypatch.context() as patch:
        patch.setattr(sources, "code_files", edited)
        module_digests("job.py", tree)
    assert not (tree / KEPT).exists()


def test_a_folder_that_takes_nothing_and_a_wish_for_no_bytecode_are_only_slower(
    tree: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = code_digest("job.py", tree)
    assert not (tree / "__pycache__").exists()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tree / "__pycache__").write_text("a file in the place of the folder")
    forget_sources()
    assert code_digest("job.py", tree) == before
