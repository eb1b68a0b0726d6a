"""Committed tables: one folder a study below results/reference/<scale>/."""

from pathlib import Path

import pandas as pd

from capacity.errors import UserError
from capacity.tables.table import read_table


def read_tables(folder: Path) -> pd.DataFrame:
    """All capacity tables of a reference, study by study. Raises UserError where there is none."""
    paths = sorted(folder.glob("*/capacity_table.csv"))
    if not paths:
        raise UserError(f"{folder}: no study with a capacity_table.csv lies here")
    tables = [read_table(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        wrong = set(table["study"]) - {path.parent.name}
        if wrong:
            raise UserError(f"{path}: holds the study {min(wrong)}; a folder holds the study of its name")
    return pd.concat(tables, ignore_index=True)


def scales_of(folder: Path) -> list[Path]:
    """The scales below a folder of references. Raises UserError where there is none."""
    scales = sorted({path.parent.parent for path in folder.glob("*/*/capacity_table.csv")})
    if not scales:
        raise UserError(f"{folder}: no <scale>/<study>/capacity_table.csv lies here")
    return scales
