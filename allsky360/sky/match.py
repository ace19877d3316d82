"""Pairing found stars with catalogue stars: nearest neighbours both ways, on a grid of cells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numba
import numpy as np
from numpy.typing import NDArray

from allsky360.model import Site
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.lens import LensModel

Float = NDArray[np.float64]
Index = NDArray[np.intp]


class StarTable(Protocol):
    """What is needed of a star list: centroids and brightness, ``(N,)`` each, in any order."""

    @property
    def x(self) -> NDArray[Any]:
        """Column of the centroid, pixels; whole numbers are pixel centres."""

    @property
    def y(self) -> NDArray[Any]:
        """Row of the centroid, pixels."""

    @property
    def flux(self) -> NDArray[Any]:
        """Light of the star, any linear unit."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of a found star and a catalogue star, each star in one pair at most, ``(M,)`` each.

    Attributes
    ----------
    star
        Index into the star list.
    catalogue
        Index into the catalogue (brightest first, so the same at every ``max_v``).
    dx, dy
        Found minus predicted place, pixels.
    altitude_deg, azimuth_deg
        Predicted apparent direction.
    """

    star: Index
    catalogue: Index
    dx: Float
    dy: Float
    altitude_deg: Float
    azimuth_deg: Float

    def __len__(self) -> int:
        return int(self.star.size)

    @property
    def residual_px(self) -> Float:
        """Distance between found and predicted place, ``(M,)`` pixels."""
        return np.asarray(np.hypot(self.dx, self.dy))


def match_stars(
    stars: StarTable,
    lens: LensModel,
    site: Site,
    when: datetime,
    *,
    max_v: float = 7.0,
    radius_px: float = 2.0,
    min_altitude_deg: float = 0.0,
) -> Matches:
    """Pair found stars with the catalogue stars a lens predicts.

    A pair holds where each is the other's nearest neighbour within the radius.

    Parameters
    ----------
    when
        Mid-exposure.
    max_v
        Faintest catalogue star considered.
    radius_px
        Largest distance of a pair, pixels.
    min_altitude_deg
        Catalogue stars below this apparent altitude are not considered.
    """
    altitude, azimuth = apparent_altaz(load_catalogue(max_v), site, when)
    x, y, seen = lens.project(altitude, azimuth)
    seen &= altitude >= min_altitude_deg
    chosen = np.flatnonzero(seen)
    star, found = match_points(
        np.asarray(stars.x, np.float64),
        np.asarray(stars.y, np.float64),
        x[chosen],
        y[chosen],
        radius_px,
    )
    entry = chosen[found]
    return Matches(
        star=star,
        catalogue=entry,
        dx=np.asarray(stars.x, np.float64)[star] - x[entry],
        dy=np.asarray(stars.y, np.float64)[star] - y[entry],
        altitude_deg=altitude[entry],
        azimuth_deg=azimuth[entry],
    )


def match_points(
    x: Float, y: Float, to_x: Float, to_y: Float, radius_px: float
) -> tuple[Index, Index]:
    """Return the pairs of two point lists that are each other's nearest within a radius.

    Points that are not finite pair with nothing. Linear in the number of points: both lists are
    sorted into square cells of one radius, and a point looks at the nine cells around it.

    Returns
    -------
    index, to_index
        ``(M,)`` each, in the order of the first list.
    """
    good, to_good = np.flatnonzero(np.isfinite(x + y)), np.flatnonzero(np.isfinite(to_x + to_y))
    empty = np.empty(0, np.intp)
    if good.size == 0 or to_good.size == 0 or not radius_px > 0:
        return empty, empty
    a = np.stack([x[good], y[good]], axis=1)
    b = np.stack([to_x[to_good], to_y[to_good]], axis=1)
    low = np.minimum(a.min(axis=0), b.min(axis=0))
    span = float((np.maximum(a.max(axis=0), b.max(axis=0)) - low).max())
    # Cells may be wider than the radius, never narrower: their number stays bounded.
    cell = max(float(radius_px), span / 2000.0)
    nearest = _nearest(a - low, b - low, float(radius_px), cell)
    back = _nearest(b - low, a - low, float(radius_px), cell)
    mine = np.flatnonzero(nearest >= 0)
    mutual = mine[back[nearest[mine]] == mine]
    return good[mutual], to_good[nearest[mutual]]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _nearest(points: Any, targets: Any, radius: float, cell: float) -> Any:
    """Return for each point the index of its nearest target within ``radius``, else -1."""
    columns = rows = 1
    for k in range(targets.shape[0]):
        columns = max(columns, int(targets[k, 0] / cell) + 1)
        rows = max(rows, int(targets[k, 1] / cell) + 1)
    first = np.full(columns * rows, -1, np.int64)  # linked lists, one a cell
    following = np.full(targets.shape[0], -1, np.int64)
    for k in range(targets.shape[0]):
        home = int(targets[k, 1] / cell) * columns + int(targets[k, 0] / cell)
        following[k] = first[home]
        first[home] = k
    out = np.full(points.shape[0], -1, np.int64)
    for i in range(points.shape[0]):
        px, py = points[i, 0], points[i, 1]
        column, row = int(px / cell), int(py / cell)
        best = radius * radius
        for r in range(max(0, row - 1), min(rows, row + 2)):
            for c in range(max(0, column - 1), min(columns, column + 2)):
                k = first[r * columns + c]
                while k >= 0:
                    dx, dy = targets[k, 0] - px, targets[k, 1] - py
                    distance = dx * dx + dy * dy
                    if distance <= best:
                        best = distance
                        out[i] = k
                    k = following[k]
    return out
