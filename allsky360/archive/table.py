"""The committed numbers of one store, read as a whole and kept until the next commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.archive import group, row_store
from allsky360.archive.errors import ArchiveError
from allsky360.archive.layout import RAW_STORE

_STRUCTURE = frozenset({"time", "exposure_start", "exposure_s", "crc32", "processed_at"})
_OF_CAMERA = frozenset({"gain", "offset", "temperature_c", "saturation_adu", "egain"})
_RAW_COLUMNS = _OF_CAMERA | {"time", "exposure_start", "exposure_s", "crc32"}
_DONE_COLUMNS = frozenset({"time", "processed_at"})
_MOST_KEPT = 64


@dataclass(frozen=True)
class Table:
    """The committed scalars of one store.

    Attributes
    ----------
    path
        Of the store.
    root
        Its metadata.
    columns
        Each ``(rows,)``, or ``(rows, exposures)``, by name.
    first
        Number of the first row's frame in the night.
    """

    path: Path
    root: group.Root
    columns: Mapping[str, NDArray[Any]]
    first: int

    @property
    def rows(self) -> int:
        """How many frames are committed."""
        return self.root.rows


class Tables:
    """Reads tables; each is kept until its store's root changes."""

    def __init__(self) -> None:
        self._cache: dict[Path, tuple[tuple[int, int], Table]] = {}

    def read(self, path: Path) -> Table | None:
        """Return a store's table; None where there is no such store.

        Raises
        ------
        UnknownSchema
            The store is for another allsky360.
        ArchiveError
            It is damaged.
        OSError
            It cannot be read.
        """
        marker = path / "zarr.json"
        try:
            status = marker.stat()
            key = (status.st_mtime_ns, status.st_ino)
            cached = self._cache.get(path)
            if cached is not None and cached[0] == key:
                return cached[1]
            root = group.Root.load(path)
            scalars = {n: m for n, m in root.arrays.items() if group.is_scalar(m)}
            # time first: a row that has its time has everything else, whatever is read after
            names = sorted(scalars, key=lambda n: n != "time")
            columns = {n: group.read_rows(path, n, scalars[n], root.rows) for n in names}
            first = _checked(path, root, columns)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ArchiveError(str(error), mend="Run 'allsky360 verify'.") from error
        table = Table(path, root, columns, first)
        if len(self._cache) > _MOST_KEPT:
            self._cache.clear()
        self._cache[path] = (key, table)
        return table


def position(table: Table, stored: str, index: float) -> int | None:
    """Return where an element stands in a stored row; None where its axis lacks it.

    Raises
    ------
    ArchiveError
        Its axis is damaged.
    """
    axis = row_store.axis_of(table.root.arrays[stored])
    try:
        known = row_store.read_coordinate(table.path, axis, table.root.arrays[axis])
    except (OSError, ValueError, KeyError) as error:
        raise ArchiveError(
            f"{table.path}: {axis} is damaged: {error}.", mend="Run 'allsky360 verify'."
        ) from error
    if known is None:
        raise ArchiveError(
            f"{table.path}: {axis} has no coordinates.", mend="Run 'allsky360 verify'."
        )
    found = np.flatnonzero(known == index)
    return int(found[0]) if len(found) else None


def finite_scalars(columns: Mapping[str, NDArray[Any]], row: int) -> dict[str, float]:
    """Return the measurements of one row, by name."""
    found = {}
    for name, column in columns.items():
        if name in _STRUCTURE or column.ndim != 1:
            continue
        value = float(column[row])
        if np.isfinite(value):
            found[name] = value
    return found


def _checked(path: Path, root: group.Root, columns: Mapping[str, NDArray[Any]]) -> int:
    """Return the number of a store's first frame; ValueError where it lacks what all have."""
    raw = RAW_STORE.fullmatch(path.name) is not None
    lacking = sorted((_RAW_COLUMNS if raw else _DONE_COLUMNS) - columns.keys())
    if raw:
        lacking += [n for n in ("camera", "pattern", "binning") if n not in root.attributes]
        lacking += [] if "raw" in root.arrays else ["raw"]
    if lacking:
        raise ValueError(f"{path} is damaged: it lacks {lacking[0]}")
    if raw:
        return group.whole(root.attributes.get("first_index", 0), f"{path}: first_index")
    group.whole(root.attributes.get("commits"), f"{path}: commits")
    return 0
