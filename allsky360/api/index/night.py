"""One night in the index: its columns, the extremes of its blocks, and its frames."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.api.index.cache import ArrayCache
from allsky360.api.store_info import FrameInfo
from allsky360.archive import FrameRef
from allsky360.archive.columns import Mark, NightView

BLOCK = 64
"""Rows whose extremes are kept together: a year's chart is drawn from these alone."""
Extremes = tuple[NDArray[Any], ...]
"""Of each block that has a value: first row, row and value of the smallest, of the largest."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Extent:
    """Smallest and largest finite value of a column, and how many there are."""

    low: float
    high: float
    count: int


@dataclass(eq=False)
class NightIndex:
    """A snapshot of one night; a new commit makes a new one.

    Attributes
    ----------
    view
        The committed numbers.
    mark
        What told that they are committed.
    cache
        Where read columns are kept.
    """

    view: NightView
    mark: Mark
    cache: ArrayCache
    _extents: dict[str, Extent] = field(default_factory=dict)
    _span: tuple[int, int] | None = None
    summary: Any = None
    """Whatever was made of the whole night, kept with it."""
    serial: int = field(default_factory=count().__next__)

    @property
    def camera(self) -> str:
        """Camera slug."""
        return self.view.camera

    @property
    def night(self) -> date:
        """The night."""
        return self.view.night

    @property
    def rows(self) -> int:
        """Committed frames."""
        return self.view.rows

    @property
    def names(self) -> frozenset[str]:
        """Names of the measurements."""
        return self.view.names

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self.view.names or name == "exposure_s"

    def times(self) -> NDArray[np.int64]:
        """Start of each frame, microseconds since 1970."""
        return self._kept("/time", lambda: (self.view.times(),))[0]

    def stamps(self) -> NDArray[np.int64]:
        """When each frame was processed, microseconds since 1970; -1: it is not."""
        return self._kept("/processed", lambda: (self.view.processed(),))[0]

    def exposures(self) -> NDArray[np.float64]:
        """Exposure times, ``(N, 5)`` seconds."""
        return self._kept("/exposures", lambda: (self.view.exposures(),))[0]

    def span(self) -> tuple[int, int]:
        """First and last start of a frame, microseconds since 1970."""
        if self._span is None:
            times = self.times()
            self._span = (int(times.min()), int(times.max()))
        return self._span

    def column(self, name: str) -> NDArray[Any]:
        """Return one measurement of every frame; NaN where it has none."""
        return self._kept(name, lambda: (self.view.measured(name),))[0]

    def extent(self, name: str) -> Extent:
        """Smallest and largest value; kept when the column itself is dropped."""
        found = self._extents.get(name)
        if found is None:
            values = self.column(name)
            good = values[np.isfinite(values)]
            found = (
                Extent(float(good.min()), float(good.max()), int(good.size))
                if good.size
                else Extent(math.nan, math.nan, 0)
            )
            self._extents[name] = found
        return found

    def blocks(self, name: str) -> Extremes:
        """Smallest and largest value of each block of :data:`BLOCK` rows."""
        return self._kept(f"/blocks/{name}", lambda: _blocks(self.column(name)))

    def infos(self, rows: Iterable[int], names: Iterable[str] | None = None) -> list[FrameInfo]:
        """Return frames, with all measurements or with those named."""
        wanted = sorted(self.names if names is None else set(names) & self.names)
        columns = [(name, self.column(name)) for name in wanted]
        times, stamps, exposures = self.times(), self.stamps(), self.exposures()
        gain = self.column("gain") if "gain" in self.names else None
        made = []
        for row in rows:
            shots = exposures[row]
            g = math.nan if gain is None else float(gain[row])
            at = int(stamps[row])
            scalars = {n: v for n, c in columns if math.isfinite(v := plain(c[row]))}
            made.append(
                FrameInfo(
                    ref=FrameRef(self.camera, self.night, int(row)),
                    time=instant(int(times[row])),
                    exposures_s=tuple(float(s) for s in shots if math.isfinite(s)),
                    gain=g if math.isfinite(g) else None,
                    scalars=scalars,
                    stamp=at * 1000 if at >= 0 else 0,
                    version=self.view.version if at >= 0 else "",
                )
            )
        return made

    def _kept(self, name: str, make: Any) -> tuple[NDArray[Any], ...]:
        return self.cache.get((self.camera, self.night, self.serial, name), make)


def instant(microseconds: int) -> datetime:
    """Return a UTC instant."""
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds(when: datetime | None) -> int | None:
    """Return an instant as the archive counts it; None for None."""
    return None if when is None else (when - _EPOCH) // timedelta(microseconds=1)


def plain(value: Any) -> float:
    """Return a number as Python's float; a float32 as the shortest decimal that means it."""
    return float(str(value)) if isinstance(value, np.float32) else float(value)


def _blocks(values: NDArray[Any]) -> Extremes:
    n = values.size
    blocks = -(-n // BLOCK)
    padded = np.full(blocks * BLOCK, np.nan)
    padded[:n] = values
    table = padded.reshape(blocks, BLOCK)
    good = np.isfinite(table)
    filled = np.flatnonzero(good.any(axis=1))
    begins = filled * BLOCK
    low = begins + np.where(good, table, np.inf).argmin(axis=1)[filled]
    high = begins + np.where(good, table, -np.inf).argmax(axis=1)[filled]
    return begins, low, padded[low], high, padded[high]
