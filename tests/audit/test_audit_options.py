"""An option of the audit that would not be heeded, or that leaves nothing to look at, is refused."""

import sys
from pathlib import Path

import pytest

from capacity.cli.audit_results import main, write
from capacity.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--signers", "README.md"), "--signers says what is asked of an archive; give --archive, or leave it out"),
        (("--trust", "nets.mine:make"), "--trust says what is asked of an archive"),
        (("--archive", "x.tar", "--signers", "nobody"), "--signers: nobody is no file"),
        (("--archive", "x.tar", "--trust", "foo"), "--trust: 'foo'; give MODULE:FACTORY"),
        (("--archive", "x.tar", "--trust", "a.b:c,foo"), "--trust: 'foo'; give MODULE:FACTORY"),
        (("--jobs", "0"), "--jobs: 0; give 1 or more"),
        (("--sample", "abc"), "--sample: 'abc'; give a number of runs"),
        (("--sample", "-5"), "--sample: '-5'"),
        (("--sample", "200%"), "--sample: '200%'"),
        (("--sample", "0"), "--sample: '0'"),
    ],
)
def test_an_option_that_would_not_be_heeded_is_refused(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["capacity audit", "--levels", "1", *words])
    with pytest.raises(UserError) as error:
        main()
    assert said in str(error.value)


@pytest.mark.parametrize("levels", ["3-1", "1,5-2"])
def test_levels_that_hold_none_are_refused(monkeypatch: pytest.MonkeyPatch, capsys, levels: str):
    monkeypatch.setattr(sys, "argv", ["capacity audit", "--levels", levels])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "holds no level; give the lower one first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ("1-99999999999", "give levels such as 1-3,6"),
        ("1-999999999", "999999999 is no level; levels are 1 to 7"),
        ("0-3", "0 is no level; levels are 1 to 7"),
        ("²", "give levels such as 1-3,6"),
        ("1-²", "give levels such as 1-3,6"),
    ],
)
def test_levels_that_are_none_are_refused_at_once(monkeypatch: pytest.MonkeyPatch, capsys, levels: str, said: str):
    monkeypatch.setattr(sys, "argv", ["capacity audit", "--levels", levels])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_report_that_finds_no_place_is_no_success(tmp_path: Path, capsys):
    class Nothing:
        def as_json(self) -> str:
            return "{}"

        as_markdown = as_json

    (tmp_path / "file").write_text("")
    assert write(Nothing(), tmp_path / "report")
    assert not write(Nothing(), tmp_path / "file")
    assert "choose another place with --output" in capsys.readouterr().err
