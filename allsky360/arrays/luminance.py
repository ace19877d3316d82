"""Luminance of RGB, and RGB with another luminance: how a filter on brightness begins and ends."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import LUMA
from allsky360.arrays.srgb import power

Array = Any
Floats = NDArray[np.float32]


def luminance(image: Array) -> Array:
    """Return the Rec. 709 luminance ``(H, W)`` of ``(H, W, 3)``; of ``(H, W, 1)`` its plane."""
    if image.shape[-1] == 1:
        return image[..., 0]
    return body_for(image, cpu=_luminance_cpu, generic=_luminance_generic)(image)


def with_luminance(image: Array, old: Array, new: Array, *, limit: float = 8.0) -> Array:
    """Return the image with its luminance moved from ``old`` to ``new``, colours kept.

    Each channel becomes ``c * new / old`` where that ratio lies within ``1 / limit`` and
    ``limit``; what the ratio leaves over is added to all channels alike, so that the luminance of
    the result is ``new`` everywhere, in black and in negative noise too. Where nothing changed the
    pixel comes out bit for bit.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32.
    old, new
        ``(H, W)`` float32; ``old`` is :func:`luminance` of the image.
    limit
        Largest ratio by which a channel is scaled.
    """
    if image.shape[-1] == 1:
        return new[..., None]
    return body_for(image, cpu=_with_cpu, generic=_with_generic)(image, old, new, float(limit))


def _luminance_generic(image: Array) -> Array:
    return LUMA[0] * image[..., 0] + LUMA[1] * image[..., 1] + LUMA[2] * image[..., 2]


def _with_generic(image: Array, old: Array, new: Array, limit: float) -> Array:
    xp = array_api_compat.array_namespace(image)
    positive = (old > 0.0) & (new > 0.0)
    one = xp.ones_like(old)
    ratio = xp.where(positive, new / xp.where(positive, old, one), one)
    ratio = xp.minimum(xp.maximum(ratio, one / limit), one * limit)
    return image * ratio[..., None] + (new - old * ratio)[..., None]


def _luminance_cpu(image: Floats) -> Floats:
    # One memory order, so that one loop is compiled; likewise below.
    image = np.ascontiguousarray(image)
    out = np.empty(image.shape[:2], np.float32)
    in_bands(_luminance, image.shape[0], image, out, *(np.float32(k) for k in LUMA))
    return out


@compiled
def _luminance(y0: int, y1: int, image: Floats, out: Floats, r: float, g: float, b: float) -> None:
    for y in range(y0, y1):
        # Views of one row: without them the compiler does not vectorise (9 times slower).
        source, target = image[y], out[y]
        for x in range(target.size):
            target[x] = r * source[x, 0] + g * source[x, 1] + b * source[x, 2]


def _with_cpu(image: Floats, old: Floats, new: Floats, limit: float) -> Floats:
    image, old, new = (np.ascontiguousarray(a) for a in (image, old, new))
    out = np.empty_like(image)
    in_bands(_with, image.shape[0], image, old, new, np.float32(limit), out)
    return out


@compiled
def _with(
    y0: int, y1: int, image: Floats, old: Floats, new: Floats, limit: Any, out: Floats
) -> None:
    low, one = np.float32(1.0) / limit, np.float32(1.0)
    for y in range(y0, y1):
        source, target, before, after = image[y], out[y], old[y], new[y]
        for x in range(before.size):
            a, b = before[x], after[x]
            ratio = one
            if a > 0.0 and b > 0.0:
                ratio = min(max(b / a, low), limit)
            rest = b - a * ratio
            target[x, 0] = source[x, 0] * ratio + rest
            target[x, 1] = source[x, 1] * ratio + rest
            target[x, 2] = source[x, 2] * ratio + rest


def bend_luminance(image: Array, exponent: float) -> Array:
    """Raise luminance to a power, colours scaled with it but kept within 0 and 1.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, within 0 and 1.
    exponent
        Above 0.

    Returns
    -------
    Array
        Same, float32.
    """
    return body_for(image, cpu=_bend_cpu, generic=_bend_generic)(image, float(exponent))


def _bend_generic(image: Array, exponent: float) -> Array:
    xp = array_api_compat.array_namespace(image)
    old = luminance(image)
    one, tiny = xp.ones_like(old), xp.full_like(old, 1e-6)
    top = xp.maximum(xp.max(image, axis=-1), tiny)
    gain = xp.minimum(xp.maximum(old, tiny) ** (exponent - 1.0), one / top)
    return image * gain[..., None]


def _bend_cpu(image: Floats, exponent: float) -> Floats:
    image = np.ascontiguousarray(image, np.float32)
    h, w, channels = image.shape
    out = np.empty(image.shape, np.float32)
    luma = tuple(np.float32(k) for k in LUMA)
    rows, results = image.reshape(h, w * channels), out.reshape(h, w * channels)
    in_bands(_bend, h, rows, channels, np.float32(exponent - 1.0), luma, results)
    return out


@compiled
def _bend(
    y0: int, y1: int, image: Floats, channels: int, exponent: Any, luma: Any, out: Floats
) -> None:
    one, tiny = np.float32(1.0), np.float32(1e-6)
    for y in range(y0, y1):
        source, target = image[y], out[y]
        if channels == 1:
            for x in range(source.size):
                level = max(tiny, source[x])
                target[x] = source[x] * min(power(min(level, one), exponent), one / level)
        else:
            for x in range(source.size // 3):
                r, g, b = source[3 * x], source[3 * x + 1], source[3 * x + 2]
                level = luma[0] * r + luma[1] * g + luma[2] * b
                gain = power(min(max(tiny, level), one), exponent)
                gain = min(gain, one / max(tiny, max(r, max(g, b))))
                target[3 * x], target[3 * x + 1], target[3 * x + 2] = r * gain, g * gain, b * gain
