"""People in written texts instead of by a grammar: the texts, and where in them the facts stand.

A text's marks are spans of its characters that carry an item: (label, start, stop), the blank in front included,
sorted and apart. A fact that a text does not mention, or has wrong, has no mark in it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Mark = tuple[int, int, int]  # label, first character, character behind the last


@dataclass(frozen=True, eq=False)
class Rewritings:
    """W texts of each of N people, person by person. table: columns text, labels, starts, stops; N * W rows."""

    table: pa.Table
    W: int

    @classmethod
    def of(cls, texts: list[str], marks: list[list[Mark]], W: int) -> "Rewritings":
        """From texts and their marks, both (N * W,)."""
        columns = {"labels": pa.uint8(), "starts": pa.int32(), "stops": pa.int32()}
        lists = {
            name: pa.array([[mark[place] for mark in each] for each in marks], pa.list_(kind))
            for place, (name, kind) in enumerate(columns.items())
        }
        return cls(pa.table({"text": pa.array(texts, pa.large_string()), **lists}), W)

    def __len__(self) -> int:
        return self.table.num_rows

    def texts(self, rows: NDArray[np.int64] | slice) -> list[str]:
        """Some of the texts."""
        rows = np.arange(len(self))[rows] if isinstance(rows, slice) else rows
        return self._texts.take(pa.array(rows)).to_pylist()

    def marks(self, start: int, stop: int) -> tuple[NDArray[np.int64], dict[str, NDArray[np.integer]]]:
        """How many marks each of texts start..stop-1 has, and the marks' columns end to end."""
        part = self.table.slice(start, stop - start)
        columns = {name: part[name].combine_chunks() for name in ("labels", "starts", "stops")}
        counts = np.asarray(columns["labels"].value_lengths(), dtype=np.int64)
        return counts, {name: np.asarray(column.flatten()) for name, column in columns.items()}

    def least_flawed(self, draw: int, people: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of each person's text that comes in place `draw` when those with most facts right come first."""
        return self._by_soundness[people, draw % self.W]

    @cached_property
    def _texts(self) -> pa.Array:
        column = self.table["text"].combine_chunks()
        return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column

    @cached_property
    def _by_soundness(self) -> NDArray[np.int64]:
        counts, columns = self.marks(0, len(self))
        mentioned = np.zeros((len(self), 256), dtype=bool)
        mentioned[np.repeat(np.arange(len(self)), counts), columns["labels"]] = True
        return np.argsort(-mentioned.sum(axis=1).reshape(-1, self.W), axis=1, kind="stable")
