"""How far apart two executions of one specification are: equal bytes, else numbers, file by file, else metrics.

A deviation is relative: of a tensor or column |a - b| over its largest |a|, of a number in a text |a - b| over
max(1, |a|, |b|). Weights are read from safetensors alone; nothing that could hold code is ever loaded.
"""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capacity.audit.cells import cell_deviations
from capacity.audit.folder import Artefact
from capacity.audit.numbers import INCOMPARABLE, number_deviation, text_deviation
from capacity.audit.published_tables import read_rows
from capacity.config.study import Audit

COST = re.compile(r"second|memory|session|device|execution|bytes|reused")  # metrics that honest executions differ in


@dataclass(frozen=True)
class Comparison:
    """How an artefact that was made again compares with the audited one."""

    equal: bool  # the same bytes
    files: float | None  # largest deviation of a number in a file; inf: not comparable; None: nothing to compare with
    metrics: float | None  # largest deviation of a metric; inf: none is measured; None: nothing to compare with
    where: str = ""  # the file, the metric, or the column of the largest deviation
    cells: float | None = None  # of a table alone: largest deviation of a cell, which is all that counts

    @property
    def is_told(self) -> bool:
        """Whether there was anything to compare."""
        return self.cells is not None or self.metrics is not None

    def is_within(self, allowed: Audit) -> bool:
        """Whether it is as near as another machine may be."""
        if self.cells is not None:
            return self.cells <= allowed.cells
        limits = ((self.files, allowed.tensors), (self.metrics, allowed.metrics))
        return any(far is not None and far <= most for far, most in limits)

    def in_words(self) -> str:
        """How far, and where."""
        if self.cells is not None:
            return f"its cells differ {far_text(self.cells)} ({self.where})"
        files = "no file to compare" if self.files is None else "files not comparable"
        if self.files is not None and self.files != INCOMPARABLE:
            files = f"numbers differ by up to {self.files:.2g}"
        return f"{files} ({self.where}), metrics {far_text(self.metrics)}"


def compare_artefacts(audited: Artefact, again: Artefact) -> Comparison:
    """Compare two artefacts of one specification."""
    if audited.manifest.content == again.manifest.content:
        return Comparison(True, 0.0, 0.0)
    if not (audited.manifest.outputs or again.manifest.outputs):  # sets, whose members are each compared
        same = len(audited.manifest.members) == len(again.manifest.members)
        return Comparison(False, 0.0 if same else INCOMPARABLE, INCOMPARABLE, "its members")
    if audited.stage == "tables":
        return _compare_tables(audited, again)
    both = [name for name in audited.manifest.outputs if (audited.folder / name).is_file()]
    mine, other = measures(audited, both), measures(again, both)
    metrics, metric = metric_deviation(mine, other)
    deviations = {}
    for name in sorted({*audited.manifest.outputs, *again.manifest.outputs}):
        before, now = audited.manifest.outputs.get(name), again.manifest.outputs.get(name)
        if before is None or now is None:
            deviations[name] = INCOMPARABLE
        elif before.sha256 != now.sha256 and (audited.folder / name).is_file():
            deviations[name] = file_deviation(audited.folder / name, again.folder / name)
    if not deviations:  # files were left out
        return Comparison(
            False, None, metrics if _numbers(mine) or _numbers(other) else None, f"metric {metric}" if metric else ""
        )
    worst = max(deviations, key=lambda name: deviations[name])
    return Comparison(False, deviations[worst], metrics, worst)


def far_text(deviation: float | None) -> str:
    """A deviation in words."""
    return "not comparable" if deviation is None or deviation == float("inf") else f"by up to {deviation:.2g}"


def _compare_tables(audited: Artefact, again: Artefact) -> Comparison:
    """Two tables by their cells; those of other code name other artefacts."""
    worst, where = 0.0, ""
    for name in sorted({*audited.manifest.outputs, *again.manifest.outputs}):
        try:
            mine, other = read_rows(audited.folder / name), read_rows(again.folder / name)
            far = cell_deviations(mine, other, ids=audited.name == again.name)
        except ValueError as error:
            far = {str(error): INCOMPARABLE}
        for column, deviation in far.items():
            if deviation > worst:
                worst, where = deviation, f"{name}, {column}"
    return Comparison(False, None, None, where, cells=worst)


def file_deviation(a: Path, b: Path) -> float:
    """The largest deviation between the numbers of two files; inf where they are no numbers in the same places."""
    try:
        if a.suffix == ".safetensors":
            return _arrays(_tensors(a), _tensors(b))
        if a.suffix == ".parquet":
            return _arrays(_columns(a), _columns(b))
        return text_deviation(a.read_text(encoding="utf-8"), b.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return INCOMPARABLE


def _tensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: tensor.float().numpy() for name, tensor in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def _columns(path: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from None
    return {name: np.asarray(table.column(name)) for name in table.column_names}


def _arrays(a: dict[str, Any], b: dict[str, Any]) -> float:
    if a.keys() != b.keys() or any(a[name].shape != b[name].shape or a[name].dtype != b[name].dtype for name in a):
        return INCOMPARABLE
    return max((_array(a[name], b[name]) for name in a), default=0.0)


def _array(a: Any, b: Any) -> float:
    if a.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(a, b) else INCOMPARABLE
    a, b = a.astype(float), b.astype(float)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return INCOMPARABLE
    finite = np.isfinite(a)
    largest = np.abs(a[finite]).max(initial=0.0)
    difference = np.abs(a[finite] - b[finite]).max(initial=0.0)
    return float(difference / largest) if largest else float(difference)


def measures(artefact: Artefact, files: Iterable[str]) -> dict[str, Any]:
    """The manifest's metrics, and the mean of each column of scores: what a measurement says as a whole.

    files: the outputs whose columns count.
    """
    means: dict[str, Any] = {}
    for name in files:
        columns = dict[str, Any]()
        with contextlib.suppress(OSError, ValueError):  # damaged, or not there: it has no mean, and as a file differs
            columns = _columns(artefact.folder / name) if name.endswith(".parquet") else {}
        floats = {key: v for key, v in columns.items() if v.dtype.kind == "f" and np.isfinite(v).any()}
        means |= {f"mean {key} of {name}": float(np.nanmean(column)) for key, column in floats.items()}
    return {**artefact.manifest.metrics, **means}


def metric_deviation(a: dict[str, Any], b: dict[str, Any]) -> tuple[float, str]:
    """The largest deviation of a metric that honest executions agree on, and its name; inf where there is none."""
    mine, other = _numbers(a), _numbers(b)
    deviations = {
        name: number_deviation(mine[name], other[name]) if name in mine and name in other else INCOMPARABLE
        for name in {*mine, *other}
    }
    worst = max(deviations, key=lambda name: deviations[name], default="")
    measured = any(isinstance(value, float) and not COST.search(key) for key, value in (*a.items(), *b.items()))
    return (deviations[worst], worst) if worst and measured else (INCOMPARABLE, worst)


def _numbers(metrics: dict[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in metrics.items():
        if COST.search(key):
            continue
        if isinstance(value, dict):
            found |= _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{key}"] = float(value)
    return found
