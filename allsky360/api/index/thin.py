"""Measurements along time over any number of nights, thinned so that every extreme survives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.api.index.night import BLOCK, Extremes, NightIndex, microseconds

Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one night: all of them (``rows`` None), or those named."""

    night: NightIndex
    rows: Rows | None

    @property
    def size(self) -> int:
        """How many."""
        return self.night.rows if self.rows is None else int(self.rows.size)


@dataclass(frozen=True, eq=False)
class Table:
    """Chosen rows of several nights; all ``(N,)``.

    Attributes
    ----------
    time
        Microseconds since 1970.
    night
        Place of each row's night in ``nights``.
    nights
        The nights.
    row
        Number of the frame in its night.
    columns
        The measurements by name.
    total
        Rows there were before thinning.
    """

    time: NDArray[np.int64]
    night: NDArray[np.intp]
    nights: tuple[NightIndex, ...]
    row: Rows
    columns: dict[str, NDArray[Any]]
    total: int

    @property
    def thinned(self) -> bool:
        """Whether rows were left out."""
        return self.time.size < self.total


def parts_between(
    nights: Sequence[NightIndex], start: datetime | None, end: datetime | None
) -> list[Part]:
    """Return the rows whose time lies in ``[start, end)``."""
    begin, finish = microseconds(start), microseconds(end)
    low = -(2**62) if begin is None else begin
    high = 2**62 if finish is None else finish
    parts = []
    for night in nights:
        first, last = night.span()
        if first >= low and last < high:
            parts.append(Part(night, None))
        elif last >= low and first < high:
            times = night.times()
            rows = np.flatnonzero((times >= low) & (times < high))
            if rows.size:
                parts.append(Part(night, rows))
    return parts


def thinned(parts: Sequence[Part], names: Sequence[str], points: int) -> Table:
    """Choose at most ``points`` (20 or more) rows, keeping the extremes of every measurement.

    The rows are cut into buckets of equal length; every bucket gives the rows of each
    measurement's smallest and largest value, and the first and last row always stay (the min/max
    scheme of M4, Jugel et al. 2014, without its per-bucket end points). Where a bucket is longer
    than a block it is made of whole blocks, whose extremes are known: the cost follows from the
    answer and the number of nights, not of frames.
    """
    total = sum(p.size for p in parts)
    offsets = np.cumsum([0, *(p.size for p in parts)])
    if total <= points:
        return gather(parts, offsets, names, np.arange(total))
    buckets = max(1, (points - 2) // max(1, 2 * len(names)))
    length = -(-total // buckets)
    chosen = [np.array([0, total - 1])]
    for name in names:
        begins, low, lows, high, highs = _candidates(parts, offsets, name, length >= BLOCK)
        bucket = begins // length
        chosen += [_first_of_each(low, lows, bucket), _first_of_each(high, -highs, bucket)]
    return gather(parts, offsets, names, np.unique(np.concatenate(chosen)), total)


def thin(values: NDArray[Any], points: int) -> Rows:
    """Choose at most ``points`` places of ``(N,)`` values, keeping the extremes of each bucket."""
    if values.size <= points:
        return np.arange(values.size)
    place = np.flatnonzero(np.isfinite(values))
    bucket = place // -(-values.size // ((points - 2) // 2))
    good = values[place].astype(np.float64)
    chosen = [_first_of_each(place, v, bucket) for v in (good, -good)]
    return np.unique(np.concatenate([[0, values.size - 1], *chosen]))


def _candidates(
    parts: Sequence[Part], offsets: NDArray[np.intp], name: str, blocks: bool
) -> Extremes:
    """Collect everything that may be an extreme, as :data:`Extremes` over all parts."""
    found: list[Extremes] = []
    shifts = []
    for part, offset in zip(parts, offsets, strict=False):
        if not part.night.has(name):
            continue
        if part.rows is None and blocks:
            found.append(part.night.blocks(name))
        else:
            column = part.night.column(name)
            values = column if part.rows is None else column[part.rows]
            place = np.flatnonzero(np.isfinite(values))
            good = values[place].astype(np.float64)
            found.append((place, place, good, place, good))
        shifts.append(offset)
    if not found:
        return (np.empty(0, np.intp),) * 2 + (np.empty(0), np.empty(0, np.intp), np.empty(0))
    begins, low, lows, high, highs = (np.concatenate(c) for c in zip(*found, strict=True))
    shift = np.repeat(shifts, [f[0].size for f in found])
    return begins + shift, low + shift, lows, high + shift, highs


def _first_of_each(places: Rows, values: NDArray[np.float64], bucket: Rows) -> Rows:
    """Return the place of the smallest value of every bucket."""
    if not places.size:
        return places
    order = np.lexsort((places, values, bucket))
    sorted_buckets = bucket[order]
    first = np.concatenate([[True], sorted_buckets[1:] != sorted_buckets[:-1]])
    return np.asarray(places[order[first]])


def gather(
    parts: Sequence[Part],
    offsets: NDArray[np.intp],
    names: Sequence[str],
    chosen: Rows,
    total: int | None = None,
) -> Table:
    """Read the chosen places out of the nights."""
    cuts = np.searchsorted(chosen, offsets)
    time, where, rows = [], [], []
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for k, part in enumerate(parts):
        a, b = cuts[k], cuts[k + 1]
        if a == b:
            continue
        local = chosen[a:b] - offsets[k]
        row = local if part.rows is None else part.rows[local]
        time.append(part.night.times()[row])
        where.append(np.full(row.size, k, np.intp))
        rows.append(row)
        for name in names:
            known = part.night.has(name)
            values = part.night.column(name)[row] if known else np.full(row.size, np.nan, "f4")
            columns[name].append(values)
    return Table(
        time=np.concatenate(time) if time else np.empty(0, np.int64),
        night=np.concatenate(where) if where else np.empty(0, np.intp),
        nights=tuple(p.night for p in parts),
        row=np.concatenate(rows) if rows else np.empty(0, np.intp),
        columns={n: np.concatenate(c) if c else np.empty(0) for n, c in columns.items()},
        total=int(offsets[-1]) if total is None else total,
    )
