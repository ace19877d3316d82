"""Measurements along time, thinned so that extremes survive."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from allsky360.api.models import Series
from allsky360.api.store import FrameInfo

MAX_VARIABLES = 8


def night_series(
    camera: str, night: date, frames: Sequence[FrameInfo], names: Sequence[str], points: int
) -> Series:
    """Collect the named measurements of a night; unknown names are all null."""
    table = np.array(
        [[_value(frame, name) for name in names] for frame in frames], dtype=np.float64
    ).reshape(len(frames), len(names))
    kept = thin(table, points)
    return Series(
        camera=camera,
        night=night,
        time=[frames[i].time for i in kept],
        index=[frames[i].index for i in kept],
        variables={
            name: [float(v) if math.isfinite(v) else None for v in table[kept, column]]
            for column, name in enumerate(names)
        },
        frames=len(frames),
    )


def thin(table: NDArray[np.float64], points: int) -> NDArray[np.intp]:
    """Choose at most ``points`` (20 or more) rows of ``(N, variables)``, keeping the extremes.

    The rows are cut into equal buckets; every bucket gives the rows of each variable's minimum and
    maximum, and the first and last row always stay (the min/max scheme of M4, Jugel et al. 2014,
    without its per-bucket end points).
    """
    rows, columns = table.shape
    if rows <= points:
        return np.arange(rows)
    chosen = {0, rows - 1}
    buckets = max(1, (points - 2) // max(1, 2 * columns))
    edges = np.linspace(0, rows, buckets + 1).astype(int)
    for low, high in itertools.pairwise(edges):
        part = table[low:high]
        for column in range(columns):
            good = np.isfinite(part[:, column])
            if good.any():
                chosen.add(int(low + np.argmin(np.where(good, part[:, column], np.inf))))
                chosen.add(int(low + np.argmax(np.where(good, part[:, column], -np.inf))))
    return np.array(sorted(chosen), dtype=np.intp)


def _value(frame: FrameInfo, name: str) -> float:
    if name == "exposure_s":
        return max(frame.exposures_s, default=math.nan)
    if name == "gain":
        return math.nan if frame.gain is None else frame.gain
    return frame.scalars.get(name, math.nan)
