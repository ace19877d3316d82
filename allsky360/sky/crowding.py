"""What else shines into a star's circle: its catalogue neighbours."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands

Float = NDArray[np.float64]

_STEP_PX = 0.25


def light_within(
    x: Float, y: Float, sources: tuple[Float, Float, Float], radius_px: float, fwhm_px: float
) -> Float:
    """Return the light of all sources that falls into circles at ``(x, y)``.

    Parameters
    ----------
    x, y
        ``(N,)`` centres, finite.
    sources
        x, y and brightness (any linear unit) of all stars, ``(M,)`` each, finite. A target that is
        itself a source is counted with the rest.
    radius_px
        Of the circles, whose rim is soft as in :mod:`allsky360.arrays.apertures`.
    fwhm_px
        Of the stars, taken as Gaussian.

    Returns
    -------
    Float
        ``(N,)``, in units in which a lone star in the middle of its circle counts fully.
    """
    share = _share(round(radius_px, 2), round(fwhm_px, 2))
    reach = (share.size - 2) * _STEP_PX
    sx, sy, light = (np.ascontiguousarray(v, dtype=np.float64) for v in sources)
    out = np.zeros(x.size)
    if x.size == 0 or sx.size == 0:
        return out
    left, top = float(sx.min()), float(sy.min())
    columns = int((sx.max() - left) // reach) + 1
    rows = int((sy.max() - top) // reach) + 1
    cell = ((sy - top) // reach).astype(np.int64) * columns + ((sx - left) // reach).astype(
        np.int64
    )
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(rows * columns + 1))
    in_bands(_sum, x.size, np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64),
             sx[order], sy[order], light[order], starts, (left, top, reach), rows, columns,
             share, out)  # fmt: skip
    return out


@compiled
def _sum(
    first: int, last: int, x: Float, y: Float, sx: Float, sy: Float, light: Float, starts: Any,
    frame: tuple[float, float, float], rows: int, columns: int, share: Float, out: Float,
) -> None:  # fmt: skip
    left, top, reach = frame
    for k in range(first, last):
        column, row = int((x[k] - left) // reach), int((y[k] - top) // reach)
        total = 0.0
        for r in range(max(row - 1, 0), min(row + 2, rows)):
            for c in range(max(column - 1, 0), min(column + 2, columns)):
                for n in range(starts[r * columns + c], starts[r * columns + c + 1]):
                    d = np.sqrt((sx[n] - x[k]) ** 2 + (sy[n] - y[k]) ** 2)
                    if d < reach:
                        at = d / 0.25  # _STEP_PX
                        i = int(at)
                        total += light[n] * (share[i] + (at - i) * (share[i + 1] - share[i]))
        out[k] = total


@lru_cache(maxsize=32)
def _share(radius_px: float, fwhm_px: float) -> Float:
    """Return the share of a star within a circle by its distance, 1 in the middle."""
    sigma = max(fwhm_px, 0.8) / (2.0 * math.sqrt(2.0 * math.log(2.0)))
    reach = radius_px + 0.5 + 3.5 * sigma
    grid = np.arange(-math.ceil(2 * reach), math.ceil(2 * reach) + 0.1, 0.5)
    u, v = grid[None, :], grid[:, None]
    weight = np.clip(radius_px + 0.5 - np.hypot(u, v), 0.0, 1.0)
    distance = np.arange(math.ceil(reach / _STEP_PX) + 2) * _STEP_PX
    profile = np.exp(-0.5 * v**2 / sigma**2)
    light = np.array(
        [np.sum(weight * profile * np.exp(-0.5 * (u - d) ** 2 / sigma**2)) for d in distance]
    )
    light[-2:] = 0.0
    return np.asarray(light / light[0])
