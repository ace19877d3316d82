"""Local background and noise of a plane on a coarse grid, blind to stars.

Each cell of the grid is the clipped middle of its pixels, as in SExtractor (Bertin & Arnouts 1996,
A&AS 117, 393): mode = 2.5 median - 1.5 mean after clipping where stars skew the cell mildly, the
median where they skew it much. The noise is the spread of the darker half about the median, which
stars do not reach. A 3 x 3 median over the cells takes out what a bright star leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from allsky360.arrays import namespace, starfield, to_host

Array = Any
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Background:
    """Background level and noise of a plane.

    Attributes
    ----------
    level, sigma
        ``(gh, gw)`` float32 on the host: background, and standard deviation of one pixel about it,
        in the plane's unit. Finite everywhere; cells without pixels repeat their neighbours.
    known
        ``(gh, gw)`` bool: cells with pixels of their own.
    box
        Pixels a cell is wide and high; cell (j, i) is centred on
        ``((i + 0.5) * box - 0.5, (j + 0.5) * box - 0.5)``.
    shape
        Height and width of the plane.
    """

    level: Floats
    sigma: Floats
    known: NDArray[np.bool_]
    box: int
    shape: tuple[int, int]

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Return level and sigma at pixel positions (bilinear), float32 of the shape of ``x``."""
        u = (np.asarray(x, np.float64) + 0.5) / self.box - 0.5
        v = (np.asarray(y, np.float64) + 0.5) / self.box - 0.5
        return bilinear(self.level, u, v), bilinear(self.sigma, u, v)


def background_and_noise(
    plane: Array, mask: Array | None = None, *, box: int | None = None
) -> Background:
    """Measure background and noise on a grid.

    Parameters
    ----------
    plane
        ``(H, W)`` float32 of any array library; values that are not finite are left out.
    mask
        ``(H, W)`` bool on the same device, True = sky. None takes every pixel.
    box
        Cell size in pixels; default a 32nd of the shorter side, within 32 and 64.

    Returns
    -------
    Background
        Small host arrays: all that is downloaded from a device.
    """
    if plane.ndim != 2:
        raise ValueError(f"the background is measured on (H, W), got {plane.shape}")
    height, width = int(plane.shape[0]), int(plane.shape[1])
    size = box or default_box(height, width)
    level, _, share = _statistics(plane, mask, size)
    known = (share > 0.1) & np.isfinite(level)
    level = _completed(level, known)
    # Once more without the slope, which would count as noise and tilts what lies beyond the rim.
    good = namespace(plane).isfinite(plane)
    mask = good if mask is None else good & mask
    rest, sigma, _ = _statistics(starfield.flatten(plane, level, size), mask, size)
    return Background(
        level=level + _completed(rest, known),
        sigma=_completed(sigma, known),
        known=known,
        box=size,
        shape=(height, width),
    )


def noise_on_grid(flat: Array, box: int, mask: Array | None = None) -> Floats:
    """Return the noise of a plane without background, ``(gh, gw)`` float32 on the host."""
    _, sigma, share = _statistics(flat, mask, box)
    return _completed(sigma, np.isfinite(sigma) & (share > 0.1))


def _statistics(plane: Array, mask: Array | None, box: int) -> tuple[Floats, Floats, Floats]:
    level, sigma, share = starfield.cell_statistics(plane, mask, box)
    return to_host(level), to_host(sigma), to_host(share)


def default_box(height: int, width: int) -> int:
    """Return the cell size for a frame: fine enough for its gradients, coarse enough for stars."""
    shorter = min(height, width)
    return int(np.clip(shorter // 32, 32 if shorter >= 192 else 16, 64))


def _completed(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Fill unknown cells from their nearest known ones, then take 3 x 3 medians of the known."""
    if not known.any():
        return np.zeros_like(values, dtype=np.float32)
    filled = np.where(known, values, 0.0).astype(np.float32)
    have = known.astype(np.float32)
    while have.min() == 0.0:
        total, count = cv2.blur(filled * have, (3, 3)), cv2.blur(have, (3, 3))
        near = (have == 0.0) & (count > 1e-6)
        filled = np.where(near, total / np.maximum(count, 1e-6), filled)
        have = np.where(near, 1.0, have).astype(np.float32)
    if min(filled.shape) < 3:
        return np.asarray(filled, np.float32)
    return np.asarray(cv2.medianBlur(np.ascontiguousarray(filled, np.float32), 3))


def bilinear(grid: Floats, u: ArrayLike, v: ArrayLike) -> Floats:
    """Return a grid at fractional columns ``u`` and rows ``v``, its edge repeated."""
    gh, gw = grid.shape
    u = np.clip(np.nan_to_num(np.asarray(u, np.float64)), 0, gw - 1)
    v = np.clip(np.nan_to_num(np.asarray(v, np.float64)), 0, gh - 1)
    i, j = np.minimum(u.astype(int), max(gw - 2, 0)), np.minimum(v.astype(int), max(gh - 2, 0))
    i1, j1 = np.minimum(i + 1, gw - 1), np.minimum(j + 1, gh - 1)
    fu, fv = u - i, v - j
    top = (1 - fu) * grid[j, i] + fu * grid[j, i1]
    low = (1 - fu) * grid[j1, i] + fu * grid[j1, i1]
    return np.asarray((1 - fv) * top + fv * low, np.float32)
