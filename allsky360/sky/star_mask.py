"""Which pixels the known stars cover, so that the sky between them can be measured."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array
from allsky360.arrays.bands import compiled

Float = NDArray[np.float64]
Bytes = NDArray[np.uint8]

MAX_SHARE = 0.30
"""Share of the sky that may be covered; the faintest stars are left out first."""


def star_mask(shape: tuple[int, ...], x: Float, y: Float, light: Float, *, fwhm_px: float) -> Bytes:
    """Return ``(H, W)`` uint8 on the host, 255 on stars.

    Parameters
    ----------
    x, y
        ``(M,)`` finite pixel positions.
    light
        ``(M,)`` brightness in zero-magnitude stars. A star of V = 6 is covered to 1.2 FWHM, a
        brighter one wider, by a tenth a magnitude.
    """
    mask = np.zeros(shape[:2], dtype=np.uint8)
    if x.size == 0:
        return mask
    magnitude = -2.5 * np.log10(np.maximum(light, 1e-9))
    radius = np.clip(1.2 * fwhm_px, 1.5, 14.0) * np.clip(1.0 + 0.1 * (6.0 - magnitude), 1.0, 2.0)
    # The stars themselves tell how much sky there is: their box, less the corners of a circle.
    sky = (np.ptp(x) + 1.0) * (np.ptp(y) + 1.0) * 0.785
    order = np.argsort(-light, kind="stable")
    covered = np.cumsum(np.pi * radius[order] ** 2)
    order = order[: max(1, int(np.searchsorted(covered, MAX_SHARE * sky)))]
    _paint(mask, x[order], y[order], radius[order])
    return mask


def like(mask: Bytes, plane: Array) -> Array:
    """Bring a host mask to the library and device that hold ``plane``."""
    if isinstance(plane, np.ndarray):
        return mask
    xp = array_api_compat.array_namespace(plane)
    return xp.asarray(mask, device=array_api_compat.device(plane))


@compiled
def _paint(mask: Bytes, x: Float, y: Float, radius: Float) -> Any:
    height, width = mask.shape
    for k in range(x.size):
        r2 = radius[k] * radius[k]
        for j in range(max(int(y[k] - radius[k]), 0), min(int(y[k] + radius[k]) + 2, height)):
            for i in range(max(int(x[k] - radius[k]), 0), min(int(x[k] + radius[k]) + 2, width)):
                if (i - x[k]) ** 2 + (j - y[k]) ** 2 <= r2:
                    mask[j, i] = 255
