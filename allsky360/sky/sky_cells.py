"""The sky cut into cells of nearly equal size, in rings of altitude."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allsky360.sky.catalogue import horizon_vectors

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SkyCells:
    """Cells between the lowest altitude and the zenith; arrays are ``(N,)``.

    Attributes
    ----------
    size_deg, lowest_deg
        Side of a cell; altitude of the lower edge of the lowest ring.
    altitude_deg, azimuth_deg
        Centres.
    solid_angle_sr
        Area of each cell.
    vectors
        ``(N, 3)`` (north, east, up) unit vectors of the centres.
    ring_edges_deg
        Altitudes between the rings, ``(rings + 1,)`` rising.
    ring_counts, ring_starts
        Cells of each ring, and the index of its first.
    """

    size_deg: float
    lowest_deg: float
    altitude_deg: Float
    azimuth_deg: Float
    solid_angle_sr: Float
    vectors: Float
    ring_edges_deg: Float
    ring_counts: NDArray[np.intp]
    ring_starts: NDArray[np.intp]

    def __len__(self) -> int:
        return int(self.altitude_deg.size)

    def index_of(self, altitude_deg: ArrayLike, azimuth_deg: ArrayLike) -> NDArray[np.intp]:
        """Return the cell of each direction, -1 below the lowest ring and for NaN."""
        alt = np.asarray(altitude_deg, dtype=np.float64)
        az = np.asarray(azimuth_deg, dtype=np.float64)
        known = np.isfinite(alt) & np.isfinite(az) & (alt >= self.lowest_deg) & (alt <= 90.0)
        safe_alt, safe_az = np.where(known, alt, 90.0), np.where(known, az, 0.0) % 360.0
        ring = np.searchsorted(self.ring_edges_deg, safe_alt, side="right") - 1
        ring = np.minimum(ring, self.ring_counts.size - 1)
        column = np.floor(safe_az / 360.0 * self.ring_counts[ring]).astype(np.intp)
        column = np.minimum(column, self.ring_counts[ring] - 1)
        return np.where(known, self.ring_starts[ring] + column, -1)


@lru_cache(maxsize=8)
def sky_cells(size_deg: float = 7.5, lowest_deg: float = 10.0) -> SkyCells:
    """Return the cells of a side of ``size_deg`` down to ``lowest_deg``."""
    if not 0.5 <= size_deg <= 45.0 or not 0.0 <= lowest_deg < 89.0:
        raise ValueError(f"no cells of {size_deg} degrees above {lowest_deg} degrees")
    rings = max(1, round((90.0 - lowest_deg) / size_deg))
    edges = np.linspace(lowest_deg, 90.0, rings + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    height = edges[1] - edges[0]
    counts = np.maximum(1, np.rint(360.0 * np.cos(np.radians(middle)) / height)).astype(np.intp)
    counts[-1] = max(1, min(int(counts[-1]), 3))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)
    altitude = np.repeat(middle, counts)
    azimuth = np.concatenate([(np.arange(n) + 0.5) * 360.0 / n for n in counts])
    ring_area = 2 * np.pi * np.diff(np.sin(np.radians(edges)))
    return SkyCells(
        size_deg=size_deg,
        lowest_deg=lowest_deg,
        altitude_deg=altitude,
        azimuth_deg=azimuth,
        solid_angle_sr=np.repeat(ring_area / counts, counts),
        vectors=horizon_vectors(altitude, azimuth),
        ring_edges_deg=edges,
        ring_counts=counts,
        ring_starts=starts,
    )
