"""Excess green taken away in one pass; see :mod:`allsky360.imaging.filters.scnr`."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import LUMA
from allsky360.arrays.luminance import luminance, with_luminance

Array = Any
Floats = NDArray[np.float32]


def less_green(image: Array, amount: float, *, maximum: bool, keep_luminance: bool) -> Array:
    """Return ``(H, W, 3)`` with the share ``amount`` of the excess green removed.

    Parameters
    ----------
    maximum
        Green may be as large as the larger of red and blue; else as their mean.
    keep_luminance
        Move the pixel back to its old luminance.
    """
    return body_for(image, cpu=_cpu, generic=_generic)(image, amount, maximum, keep_luminance)


def _generic(image: Array, amount: float, maximum: bool, keep: bool) -> Array:
    xp = array_api_compat.array_namespace(image)
    r, g, b = image[..., 0], image[..., 1], image[..., 2]
    neutral = xp.maximum(r, b) if maximum else 0.5 * (r + b)
    out = xp.stack([r, g - amount * xp.maximum(g - neutral, xp.zeros_like(g)), b], axis=-1)
    return with_luminance(out, luminance(out), luminance(image)) if keep else out


def _cpu(image: Floats, amount: float, maximum: bool, keep: bool) -> Floats:
    out = np.empty(image.shape, np.float32)
    luma = tuple(np.float32(k) for k in LUMA)
    image = np.ascontiguousarray(image, np.float32)
    in_bands(_rows, image.shape[0], image, np.float32(amount), maximum, keep, luma, out)
    return out


@compiled
def _rows(
    y0: int, y1: int, image: Floats, amount: Any, maximum: bool, keep: bool, luma: Any, out: Floats
) -> None:
    zero, one, half, most = np.float32(0), np.float32(1), np.float32(0.5), np.float32(8)
    share, back = one if maximum else zero, one if keep else zero
    for y in range(y0, y1):
        source, target = image[y], out[y]
        for x in range(source.shape[0]):
            r, g, b = source[x, 0], source[x, 1], source[x, 2]
            neutral = share * max(r, b) + (one - share) * half * (r + b)
            less = g - amount * max(g - neutral, zero)
            old = luma[0] * r + luma[1] * less + luma[2] * b
            new = luma[0] * r + luma[1] * g + luma[2] * b
            usable = (old > zero) & (new > zero)
            ratio = min(new / old, most) if usable else one
            rest = back * (new - old * ratio)
            ratio = one + back * (ratio - one)
            target[x, 0] = r * ratio + rest
            target[x, 1] = less * ratio + rest
            target[x, 2] = b * ratio + rest
