"""Scale the colourfulness of display RGB in Oklab: hue and lightness stay.

Oklab (Ottosson 2020, "A perceptual color space for image processing") after decoding sRGB; the
chroma of each pixel is multiplied, by less where the result would leave the gamut.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.srgb import cube_root, decoded, encoded

Array = Any
Floats = NDArray[np.float32]

TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
TO_RGB = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)


def scale_chroma(image: Array, factor: float) -> Array:
    """Multiply Oklab chroma by ``factor``.

    Done without going through a and b: in Oklab a grey of the pixel's lightness ``L`` has all
    three cone responses ``l' = m' = s' = L``, so chroma scales with the differences from ``L``.

    Parameters
    ----------
    image
        ``(H, W, 3)`` float32, sRGB codes over 255, within 0 and 1.

    Returns
    -------
    Array
        Same, within 0 and 1.
    """
    return body_for(image, cpu=_cpu, generic=_generic)(image, float(factor))


LIGHTNESS = (0.2104542553, 0.7936177850, -0.0040720468)


def _generic(image: Array, factor: float) -> Array:
    xp = array_api_compat.array_namespace(image)
    linear = xp.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    r, g, b = linear[..., 0], linear[..., 1], linear[..., 2]
    roots = [(k[0] * r + k[1] * g + k[2] * b) ** (1.0 / 3.0) for k in TO_LMS]
    level = sum(k * v for k, v in zip(LIGHTNESS, roots, strict=True))
    cones = [(level + factor * (v - level)) ** 3 for v in roots]
    out = xp.stack([k[0] * cones[0] + k[1] * cones[1] + k[2] * cones[2] for k in TO_RGB], axis=-1)
    grey = (level**3)[..., None]
    difference = out - grey
    one = xp.ones_like(level)
    up = xp.maximum(xp.max(difference, axis=-1), one * 1e-9)
    low = xp.minimum(xp.min(difference, axis=-1), one * -1e-9)
    share = xp.minimum(one, (one - level**3) / up)
    share = xp.maximum(xp.minimum(share, level**3 / -low), xp.zeros_like(one))
    out = grey + share[..., None] * difference
    out = xp.minimum(xp.maximum(out, xp.zeros_like(out)), xp.ones_like(out))
    return xp.where(out <= 0.0031308, 12.92 * out, 1.055 * out ** (1.0 / 2.4) - 0.055)


def _cpu(image: Floats, factor: float) -> Floats:
    out = np.empty(image.shape, np.float32)
    # Tuples, not arrays: the compiler keeps them in registers.
    numbers = [np.float32(v) for m in (TO_LMS, TO_RGB) for row in m for v in row]
    numbers += [np.float32(v) for v in LIGHTNESS]
    image = np.ascontiguousarray(image, np.float32)
    in_bands(_scale, image.shape[0], image, np.float32(factor), tuple(numbers), out)
    return out


@compiled
def _scale(y0: int, y1: int, image: Floats, factor: Any, m: Any, out: Floats) -> None:
    zero, one, least = np.float32(0.0), np.float32(1.0), np.float32(1e-9)
    width = image.shape[1]
    # Three loops over a row: those of one number each are vectorised whatever stands in them.
    for y in range(y0, y1):
        source, target = image[y].reshape(-1), out[y].reshape(-1)
        for i in range(3 * width):
            target[i] = decoded(min(max(zero, source[i]), one))
        for x in range(width):
            r, g, b = target[3 * x], target[3 * x + 1], target[3 * x + 2]
            u = cube_root(m[0] * r + m[1] * g + m[2] * b)
            v = cube_root(m[3] * r + m[4] * g + m[5] * b)
            w = cube_root(m[6] * r + m[7] * g + m[8] * b)
            level = m[18] * u + m[19] * v + m[20] * w
            u = level + factor * (u - level)
            v = level + factor * (v - level)
            w = level + factor * (w - level)
            u, v, w = u * u * u, v * v * v, w * w * w
            grey = level * level * level
            dr = m[9] * u + m[10] * v + m[11] * w - grey
            dg = m[12] * u + m[13] * v + m[14] * w - grey
            db = m[15] * u + m[16] * v + m[17] * w - grey
            up, low = max(dr, max(dg, db)), max(-dr, max(-dg, -db))
            # What leaves the gamut at either end is drawn back towards grey.
            share = min((one - grey) / max(least, up), grey / max(least, low))
            share = min(max(zero, share), one)
            target[3 * x] = grey + share * dr
            target[3 * x + 1] = grey + share * dg
            target[3 * x + 2] = grey + share * db
        for i in range(3 * width):
            target[i] = encoded(min(max(zero, target[i]), one))
