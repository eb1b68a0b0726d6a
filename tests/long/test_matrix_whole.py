"""Every row of the matrix through the real engine; what its numbers must hold is in tests/matrix/sanity.py."""

from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import Checkout
from dimensions import DIMENSIONS, FIRST
from running import build, is_refused, rows_by_scale
from sanity import faults

SCALES = [(precision, devices) for precision in DIMENSIONS["precision"] for devices in DIMENSIONS["devices"]]
BESIDE = "adapter_config.json"  # which transformers reads on its own


@pytest.mark.parametrize(("precision", "devices"), SCALES)
def test_every_row_comes_to_numbers_that_hold(precision: str, devices: str, tmp_path: Path):
    for place, rows in enumerate(sorted(rows_by_scale(precision, devices), key=len, reverse=True)):
        checkout = build(tmp_path / f"scale{place}", rows)
        assert [fault for number, row in rows.items() for fault in faults(checkout.path / "results", row, number)] == []
    before = checkout.table()  # of the last scale, which has the fewest rows
    assert is_refused(checkout, BESIDE)
    assert checkout.table() == before


# What the matrix was made to find, it finds in a copy of the code without the mend.


def test_the_matrix_finds_own_models_whose_embedding_is_not_named(tmp_path: Path):
    mend = taken_out("def get_input_embeddings(", "def no_input_embeddings(")
    with pytest.raises(AssertionError, match="get_input_embeddings"):
        build(tmp_path / "checkout", {0: FIRST[1]}, mend)


def test_the_matrix_finds_matrices_that_are_left_as_trained(tmp_path: Path):
    mend = taken_out('return Place(name, "other", kernel=', "return Place(name, VECTOR, kernel=")
    checkout = build(tmp_path / "checkout", {0: FIRST[2]}, mend)
    assert any("is not quantised" in fault for fault in faults(checkout.path / "results", FIRST[2], 0))


def test_the_matrix_finds_that_a_file_beside_the_weights_is_taken(tmp_path: Path):
    checkout = build(tmp_path / "checkout", {0: FIRST[3]}, taken_out("if unlisted:", "if False:"))
    assert not is_refused(checkout, BESIDE)


def taken_out(mended: str, unmended: str) -> Callable[[Checkout], None]:
    """An edit that replaces a text of the code, wherever it stands."""

    def edit(checkout: Checkout) -> None:
        (file,) = (path for path in (checkout.path / "scripts").rglob("*.py") if mended in path.read_text())
        checkout.replace(file.relative_to(checkout.path).as_posix(), mended, unmended)

    return edit
