"""Columns of a keogram in a file that only grows; what was not saved is cut off on opening."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.archive.durable import sync_file
from allsky360.model import as_utc


def row_type(rows: int) -> np.dtype[Any]:
    """What is stored of a frame: UTC middle in seconds since 1970, length, number, pixels."""
    return np.dtype(
        [
            ("time_s", "<f8"),
            ("exposure_s", "<f4"),
            ("index", "<i4"),
            ("column", "u1", (rows, 3)),
        ]
    )


class ColumnFile:
    """A growing file of columns of one height.

    Parameters
    ----------
    path
        Made when missing.
    rows
        Pixels of a column.
    count
        How many of the columns in it count; the rest is what a crash left.
    """

    def __init__(self, path: Path, rows: int, count: int = 0) -> None:
        self.path, self.type = path, row_type(rows)
        self.count = count
        size = path.stat().st_size if path.exists() else 0
        if size < count * self.type.itemsize:
            raise ValueError(f"{path} is shorter than its {count} columns")
        with path.open("ab") as file:
            file.truncate(count * self.type.itemsize)

    def append(
        self, middle: datetime, exposure_s: float, index: int, column: NDArray[np.uint8]
    ) -> None:
        """Add a column; durable after :meth:`sync`."""
        row = np.zeros((), self.type)
        row["time_s"], row["exposure_s"] = as_utc(middle).timestamp(), exposure_s
        row["index"], row["column"] = index, column
        with self.path.open("r+b") as file:  # at its place: a torn write before it is overwritten
            file.seek(self.count * self.type.itemsize)
            file.write(row.tobytes())
        self.count += 1

    def sync(self) -> None:
        """Make what was appended survive a power cut."""
        sync_file(self.path)

    def read(self) -> NDArray[Any]:
        """Return all columns in order of time."""
        with self.path.open("rb") as file:
            data = file.read(self.count * self.type.itemsize)
        columns = np.frombuffer(data, self.type)
        order = np.lexsort((columns["index"], columns["time_s"]))
        return columns[order]
