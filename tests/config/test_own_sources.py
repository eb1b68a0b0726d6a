"""What counts of a user's own module: what it does, and not how it is written down."""

from pathlib import Path

import pytest

from capacity.artefacts import spec as specs
from capacity.artefacts.identity import file_digest, input_digest
from capacity.errors import UserError
from capacity.models import factories
from capacity.models.factories import imported_packages, source_digests

SOURCE = '"""A net."""\n\n\ndef make(width):\n    return width * 2  # twice\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with a module of its own."""
    monkeypatch.setattr(factories, "REPOSITORY", tmp_path)
    monkeypatch.setattr(specs, "REPOSITORY", tmp_path)
    (tmp_path / "net.py").write_text(SOURCE)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (SOURCE.replace("# twice", "# two times the width"), True),
        (SOURCE.replace('"""A net."""', '"""Another net."""'), True),
        (SOURCE.replace("width * 2", "(width\n            * 2)"), True),
        (SOURCE.replace("* 2", "* 3"), False),
    ],
)
def test_a_comment_in_ones_own_module_makes_nothing_new(project: Path, text: str, same: bool) -> None:
    before = source_digests("net:make")
    (project / "net.py").write_text(text)
    assert (source_digests("net:make") == before) is same
    assert (input_digest(project / "net.py") == before["net.py"]) is same, "a job compares what the spec says"


def test_versions_of_installed_packages_that_a_factory_imports_count(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "net.py").write_text("import json, numpy.linalg\nfrom layers import other\nimport yaml\n" + SOURCE)
    (project / "layers").mkdir()
    (project / "layers" / "other.py").write_text("def f():\n    from PIL import Image\n")
    (project / "yaml.py").write_text("")
    assert imported_packages("net:make") == ("numpy", "pillow")


def test_python_that_cannot_be_read_and_data_count_by_their_bytes(tmp_path: Path) -> None:
    for name in ("broken.py", "facts.csv"):
        path = tmp_path / name
        path.write_text("a = (\n")
        assert input_digest(path) == file_digest(path)


@pytest.mark.parametrize("text", ["a = (\n", "a = 1\0\n", "a = " + "-" * 100_000 + "1\n"])
def test_a_module_that_is_no_python_is_one_line(project: Path, text: str) -> None:
    (project / "net.py").write_text(text)
    with pytest.raises(UserError, match=r"net\.py") as caught:
        source_digests("net:make")
    assert "\n" not in str(caught.value)
