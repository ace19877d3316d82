"""The one plane that stars, brightness and clouds are measured on."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for

Array = Any
Floats = NDArray[np.float32]


def measurement_plane(linear: Array) -> Array:
    """Return the plane that is measured: (R + 2G + B) / 4 of camera RGB, or the one band.

    The weights are those of the Bayer mosaic, so that every photosite counts once: the sum over a
    star is the sum of its electrons, its noise that of its own pixels, and the passband lies close
    to V.

    Parameters
    ----------
    linear
        ``(H, W, 3)``, ``(H, W, 1)`` or ``(H, W)`` float32 of any array library, not white balanced.

    Returns
    -------
    Array
        ``(H, W)`` float32 on the same device.
    """
    if linear.ndim == 2:
        return linear
    if linear.ndim != 3 or linear.shape[2] not in (1, 3):
        raise ValueError(f"a linear frame is (H, W), (H, W, 1) or (H, W, 3), got {linear.shape}")
    if linear.shape[2] == 1:
        return linear[..., 0]
    return body_for(linear, cpu=_cpu, generic=_generic)(linear)


def _generic(linear: Array) -> Array:
    xp = array_api_compat.array_namespace(linear)
    total = linear[..., 0] + 2.0 * linear[..., 1] + linear[..., 2]
    return xp.astype(0.25 * total, xp.float32)


def _cpu(linear: Floats) -> Floats:
    linear = np.asarray(linear, dtype=np.float32)
    out = np.empty(linear.shape[:2], np.float32)
    in_bands(_sum, linear.shape[0], linear, out)
    return out


@compiled
def _sum(y0: int, y1: int, image: Floats, out: Floats) -> None:
    quarter, half = np.float32(0.25), np.float32(0.5)
    for y in range(y0, y1):
        source, target = image[y], out[y]
        for x in range(target.size):
            target[x] = quarter * (source[x, 0] + source[x, 2]) + half * source[x, 1]
