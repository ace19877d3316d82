"""The committed numbers of one night, read one column at a time.

:class:`allsky360.archive.Archive` gives whole frames; a search or a chart over a year needs three
columns of each night and nothing else. A night's view is a snapshot: what :func:`night_mark`
returned before it was opened tells whether it still holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.archive import group
from allsky360.archive.errors import ArchiveError
from allsky360.archive.layout import current_version, night_folder, raw_stores

Mark = tuple[tuple[int, int], ...]
STRUCTURE = frozenset({"time", "exposure_start", "exposure_s", "crc32", "processed_at"})
"""Columns that describe the frame and are no measurements."""


@dataclass(frozen=True)
class Columns:
    """The scalar arrays of a store: what is needed to read them. Shared by nights that agree."""

    metadata: Mapping[str, Mapping[str, Any]]

    @cached_property
    def measurements(self) -> frozenset[str]:
        """Names of the columns that hold one measurement a frame."""
        return frozenset(
            n for n, m in self.metadata.items() if len(m["shape"]) == 1 and n not in STRUCTURE
        )


@dataclass(frozen=True)
class _Store:
    path: Path
    first: int
    rows: int
    columns: Columns


@dataclass(frozen=True)
class NightView:
    """One night as committed at one instant. Rows are frames, in order of arrival.

    Attributes
    ----------
    camera, night
        Which.
    version
        Version of the processed frames, empty where none is processed.
    raw
        Stores of the raw frames.
    done
        Store of the processed frames; None where none is processed.
    """

    camera: str
    night: date
    version: str
    raw: tuple[_Store, ...]
    done: _Store | None

    @property
    def rows(self) -> int:
        """Number of committed frames."""
        return self.raw[-1].first + self.raw[-1].rows if self.raw else 0

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of the measurements."""
        stores = [*self.raw, *([self.done] if self.done else [])]
        return frozenset().union(*(s.columns.measurements for s in stores))

    def attributes(self, name: str) -> Mapping[str, Any]:
        """``units``, ``long_name``, … of a measurement; empty where it is unknown."""
        for store in [*([self.done] if self.done else []), *reversed(self.raw)]:
            if name in store.columns.metadata:
                found: Mapping[str, Any] = store.columns.metadata[name]["attributes"]
                return found
        return {}

    def times(self) -> NDArray[np.int64]:
        """Start of each frame, microseconds since 1970, ``(N,)``."""
        return np.asarray(self._raw("time", np.int64, -1), np.int64)

    def processed(self) -> NDArray[np.int64]:
        """When each frame was processed, microseconds since 1970, ``(N,)``; -1: it is not."""
        out = np.full(self.rows, -1, np.int64)
        if self.done is not None:
            n = min(self.done.rows, self.rows)
            at = _read(self.done, "processed_at")[:n]
            out[:n] = np.where(_read(self.done, "time")[:n] >= 0, at, -1)
        return out

    def exposures(self) -> NDArray[np.float64]:
        """Exposure times in seconds, longest first, ``(N, 5)``; NaN where there is none."""
        return np.asarray(self._raw("exposure_s", np.float64, np.nan), np.float64)

    def measured(self, name: str) -> NDArray[Any]:
        """Return a measurement, ``(N,)`` float; NaN where a frame has none.

        What processing measured stands before what the camera's owner did. ``exposure_s`` is the
        longest exposure.

        Raises
        ------
        ArchiveError
            When a file of it is damaged.
        """
        if name == "exposure_s":
            return np.ascontiguousarray(self.exposures()[:, 0])
        raw = any(name in s.columns.measurements for s in self.raw)
        out = self._raw(name, np.float64, np.nan) if raw else None
        if self.done is None or name not in self.done.columns.measurements:
            return np.full(self.rows, np.nan, np.float32) if out is None else out
        n = min(self.done.rows, self.rows)
        values = _read(self.done, name)[:n]
        there = np.isfinite(values) & (self.processed()[:n] >= 0)
        if out is None:
            out = np.full(self.rows, np.nan, values.dtype.newbyteorder("="))
        out[:n][there] = values[there]
        return out

    def _raw(self, name: str, dtype: Any, fill: float) -> NDArray[Any]:
        shape: tuple[int, ...] = (self.rows,)
        for store in self.raw:
            if name in store.columns.metadata:
                shape = (self.rows, *store.columns.metadata[name]["shape"][1:])
        out = np.full(shape, fill, dtype)
        for store in self.raw:
            if name in store.columns.metadata:
                out[store.first : store.first + store.rows] = _read(store, name)
        return out


def open_night(root: Path, camera: str, night: date) -> NightView | None:
    """Return the committed view of a night; None where nothing is committed.

    Raises
    ------
    ArchiveError
        When a raw store's description is damaged. Processed frames whose store is damaged count as
        not processed.
    """
    folder = night_folder(root, camera, night)
    try:
        raw = [s for p in raw_stores(folder) if (s := _store(p)) is not None and s.rows > 0]
    except ValueError as error:
        raise ArchiveError(str(error), mend="Run 'allsky360 verify'.") from error
    version = current_version(folder)
    try:
        done = _store(folder / f"{version}.zarr")
    except ValueError:  # raw must stay readable; what is damaged is made again
        done = None
    if not raw:
        return None
    if done is None or done.rows == 0:
        return NightView(camera, night, "", tuple(raw), None)
    return NightView(camera, night, version, tuple(raw), done)


def night_mark(root: Path, camera: str, night: date) -> Mark:
    """Return what changes with every commit of a night; empty where there is no such night.

    A few file stamps: nothing is opened.
    """
    folder = night_folder(root, camera, night)
    try:
        stores = sorted(e.path for e in os.scandir(folder) if e.name.endswith(".zarr"))
        stamps = [_stamp(folder / "current.json"), *(_stamp(Path(s, "zarr.json")) for s in stores)]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(stamps)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_mtime_ns, status.st_ino


def _store(path: Path) -> _Store | None:
    try:
        root = group.Root.load(path)
        first = group.whole(root.attributes.get("first_index", 0), f"{path}: first_index")
    except FileNotFoundError:
        return None
    columns = {
        name: {
            "shape": m["shape"][1:],
            "data_type": m["data_type"],
            "fill_value": m["fill_value"],
            "attributes": {
                k: v
                for k, v in m["attributes"].items()
                if k in ("units", "long_name", "ancillary_variables")
            },
        }
        for name, m in root.arrays.items()
        if group.is_scalar(m)
    }
    return _Store(path, first, root.rows, _shared(json.dumps(columns, sort_keys=True)))


@lru_cache(maxsize=64)
def _shared(text: str) -> Columns:
    """One object for every store with the same columns: a year of nights has a few."""
    columns = json.loads(text)
    for m in columns.values():
        m["shape"] = [group.CAPACITY, *m["shape"]]
    return Columns(columns)


def _read(store: _Store, name: str) -> NDArray[Any]:
    try:
        return group.read_rows(store.path, name, store.columns.metadata[name], store.rows)
    except ValueError as error:
        raise ArchiveError(str(error), mend="Run 'allsky360 verify'.") from error
