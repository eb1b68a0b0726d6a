"""How far two tables of one specification are apart, cell by cell: text is equal or not, of numbers it is said how far.

Another machine rounds otherwise, and a training then ends elsewhere: every measured number may move a little, no label,
no count and no choice.
"""

import math
import re

from capacity.audit.folder import ID_SUFFIX
from capacity.audit.numbers import INCOMPARABLE, number_deviation
from capacity.audit.published_tables import PRECISION, Row
from capacity.tables.table import INTEGER_COLUMNS, TEXT_COLUMNS

GIVEN = {
    *(*INTEGER_COLUMNS, *TEXT_COLUMNS, "lr", "bits_per_weight", "chosen", "seeds", "interval_kind"),
    *("bits_offered", "R_max", "flops", "flops_a_token"),
}
BITS = re.compile(r"bits_(stored|name|value|diversity|memorised|extractable)$")  # of all people: of R times P
FITTED = "temperature"  # the best of a coarse grid, a step of which is a fifth; R_calibrated, which it gives, is held


def cell_deviations(mine: list[Row], other: list[Row], ids: bool = True) -> dict[str, float]:
    """By column, how far the cells that differ are apart, row by row; inf where something is no number or is given.

    Of R in bits per parameter, of bits too, of any other number relative to max(1, number). ids: columns that name
    artefacts count; those of other code have other names.
    """
    if len(mine) != len(other):
        return {"number of rows": INCOMPARABLE}
    far: dict[str, float] = {}
    for a, b in zip(mine, other, strict=True):
        for column in {**a, **b}:
            if a.get(column) != b.get(column) and (ids or not column.endswith(ID_SUFFIX)) and column != FITTED:
                far[column] = max(far.get(column, 0.0), _deviation(column, a, b))
    return far


def _deviation(column: str, a: Row, b: Row) -> float:
    """Of one cell of two rows, of which one may have no such column."""
    try:
        x, y = float(a[column]), float(b[column])
        unit = float(a.get("P") or 0) if BITS.match(column) else 0.0
    except (KeyError, ValueError):
        return INCOMPARABLE
    if column in GIVEN:
        return 0.0 if math.isclose(x, y, rel_tol=PRECISION) else INCOMPARABLE
    if (unit or column.startswith("R")) and math.isfinite(x) and math.isfinite(y):
        return abs(x - y) / (unit or 1.0)
    return number_deviation(x, y)
