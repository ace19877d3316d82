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


_SIZE = 4095
"""Last index of the tables; the nearest code is off by less than a tenth of an 8-bit step."""


def _tables() -> tuple[Floats, Floats]:
    """Linear light of evenly spaced codes, and codes of evenly spaced square roots of light."""
    code = np.linspace(0.0, 1.0, _SIZE + 1)
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    squares = code**2
    encoded = np.where(squares <= 0.0031308, 12.92 * squares, 1.055 * squares ** (1 / 2.4) - 0.055)
    return light.astype(np.float32), encoded.astype(np.float32)


_DECODE, _ENCODE = _tables()


def _cpu(image: Floats, factor: float) -> Floats:
    out = np.empty(image.shape, np.float32)
    # Tuples, not arrays: the compiler keeps them in registers.
    numbers = [np.float32(v) for m in (TO_LMS, TO_RGB) for row in m for v in row]
    numbers += [np.float32(v) for v in LIGHTNESS]
    image = np.ascontiguousarray(image, np.float32)
    in_bands(
        _scale, image.shape[0], image, np.float32(factor), tuple(numbers), _DECODE, _ENCODE, out
    )
    return out


@compiled
def _cube_root(x: Any) -> Any:
    """Cube root of a number that is not negative: a third of the bits, then one Halley step."""
    bits = np.float32(x).view(np.int32)
    y = np.int32(bits // np.int32(3) + np.int32(709921077)).view(np.float32)
    cube, two = y * y * y, np.float32(2.0)
    return y * (cube + two * x) / (two * cube + x + np.float32(1e-20))


@compiled
def _table(value: Any, table: Floats) -> Any:
    return table[int(value * np.float32(_SIZE) + np.float32(0.5))]


@compiled
def _between(value: Any, table: Floats) -> Any:
    position = value * np.float32(_SIZE)
    index = min(int(position), _SIZE - 1)
    low = table[index]
    return low + (position - np.float32(index)) * (table[index + 1] - low)


@compiled
def _scale(
    y0: int,
    y1: int,
    image: Floats,
    factor: Any,
    m: Any,
    decode: Floats,
    encode: Floats,
    out: Floats,
) -> None:
    zero, one, tiny = np.float32(0.0), np.float32(1.0), np.float32(1e-9)
    width = image.shape[1]
    # Three loops over a row: the middle one has no table in it and is vectorised.
    red, green, blue = (
        np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    )  # fmt: skip
    for y in range(y0, y1):
        source, target = image[y], out[y]
        for x in range(width):
            red[x] = _between(source[x, 0], decode)
            green[x] = _between(source[x, 1], decode)
            blue[x] = _between(source[x, 2], decode)
        for x in range(width):
            r, g, b = red[x], green[x], blue[x]
            u = _cube_root(m[0] * r + m[1] * g + m[2] * b)
            v = _cube_root(m[3] * r + m[4] * g + m[5] * b)
            w = _cube_root(m[6] * r + m[7] * g + m[8] * b)
            level = m[18] * u + m[19] * v + m[20] * w
            u = level + factor * (u - level)
            v = level + factor * (v - level)
            w = level + factor * (w - level)
            u, v, w = u * u * u, v * v * v, w * w * w
            grey = level * level * level
            dr = m[9] * u + m[10] * v + m[11] * w - grey
            dg = m[12] * u + m[13] * v + m[14] * w - grey
            db = m[15] * u + m[16] * v + m[17] * w - grey
            up, low = max(dr, max(dg, db)), min(dr, min(dg, db))
            share = min(one, (one - grey) / max(up, tiny))
            share = max(min(share, grey / max(-low, tiny)), zero)
            red[x] = np.sqrt(min(max(grey + share * dr, zero), one))
            green[x] = np.sqrt(min(max(grey + share * dg, zero), one))
            blue[x] = np.sqrt(min(max(grey + share * db, zero), one))
        for x in range(width):
            target[x, 0] = _table(red[x], encode)
            target[x, 1] = _table(green[x], encode)
            target[x, 2] = _table(blue[x], encode)
