"""Messages for the user stay one line of a length that a terminal shows."""

import pytest

from capacity.errors import LONGEST_LINE, UserError


def test_a_line_that_is_too_long_keeps_its_ends() -> None:
    line = str(UserError(f"{'x' * 5000}: no such file"))
    assert len(line) <= LONGEST_LINE + len(" ... ")
    assert line.startswith("xxx")
    assert line.endswith("x: no such file")


@pytest.mark.parametrize("text", ["short", "y" * LONGEST_LINE])
def test_other_lines_stay_as_they_are(text: str) -> None:
    assert str(UserError(text, text)) == f"{text}\n{text}"


def test_what_does_not_print_is_escaped_before_a_line_is_measured() -> None:
    assert "\x1b" not in str(UserError("\x1b" * LONGEST_LINE))
    assert len(str(UserError("\x1b" * LONGEST_LINE))) <= LONGEST_LINE + len(" ... ")
