"""The per-pixel passes of the display branch: balance, luminance curve, quantisation.

Tables are indexed by the square root of a value between 0 and 1, which spends their entries on the
dark tones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.bit_tables import LEAST, bit_table, place, srgb_encoded
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import LUMA, on_device_of

Array = Any
Floats = NDArray[np.float32]

_CODES = 4096


_SRGB = srgb_encoded(np.linspace(0.0, 1.0, _CODES) ** 2).astype(np.float32)
"""Codes of evenly spaced square roots of light: what the array-API body interpolates in."""

_SRGB_BY_BITS = bit_table(srgb_encoded)


def balance(
    image: Array, near_clip: Array, *, offset: Sequence[float], gain: Sequence[float]
) -> Array:
    """Return ``(image - offset) * gain`` with colour taken out beside saturated pixels.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32.
    near_clip
        ``(H, W)`` uint8: 255 where colour is not to be trusted, because a neighbour is saturated.
    offset, gain
        One value a channel.
    """
    return body_for(image, cpu=_balance_cpu, generic=_balance_generic)(
        image, near_clip, [float(v) for v in offset], [float(v) for v in gain]
    )


def apply_curve(
    image: Array, *, white: float, black: float, curve: Floats, chroma_floor: float
) -> Array:
    """Move luminance through a curve, scale colours with it, encode as sRGB.

    Near white, colour is reduced just enough to stay inside the gamut, at constant hue and
    luminance; where luminance drowns in noise colour fades.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear.
    white, black
        Values that become 1 and 0.
    curve
        Linear light of the result, sampled at evenly spaced square roots of the input.
    chroma_floor
        Luminance above black under which colour fades.

    Returns
    -------
    Array
        Same shape, float32, sRGB code over 255, within 0 and 1.
    """
    return body_for(image, cpu=_curve_cpu, generic=_curve_generic)(
        image, float(white), float(black), curve, float(chroma_floor)
    )


def quantise(image: Array) -> Array:
    """Return ``(H, W, 3)`` uint8 of ``(H, W, C)`` float32 within 0 and 1, C 1 or 3."""
    return body_for(image, cpu=_quantise_cpu, generic=_quantise_generic)(image)


# -- array-API bodies -----------------------------------------------------------------------------


def _xp(array: Array) -> Any:
    return array_api_compat.array_namespace(array)


def _balance_generic(
    image: Array, near_clip: Array, offset: list[float], gain: list[float]
) -> Array:
    xp = _xp(image)
    v = (image - on_device_of(image, offset)) * on_device_of(image, gain)
    if v.shape[2] == 1:
        return v
    grey = LUMA[0] * v[..., 0] + LUMA[1] * v[..., 1] + LUMA[2] * v[..., 2]
    share = (xp.astype(near_clip, v.dtype) / 255.0)[..., None]
    return v + share * (grey[..., None] - v)


def _curve_generic(
    image: Array, white: float, black: float, curve: Floats, chroma_floor: float
) -> Array:
    xp = _xp(image)
    v = image - black
    luma = v[..., 0]
    if v.shape[2] == 3:
        luma = LUMA[0] * v[..., 0] + LUMA[1] * v[..., 1] + LUMA[2] * v[..., 2]
    one, zero = xp.ones_like(luma), xp.zeros_like(luma)
    light = _look_up(xp.minimum(xp.maximum(luma * (1.0 / (white - black)), zero), one), curve)
    if v.shape[2] == 1:
        return _look_up(light, _SRGB)[..., None]
    positive = xp.maximum(luma, one * 1e-20)
    strength = positive**2 / (positive**2 + chroma_floor**2 + 1e-30)
    d = v / positive[..., None] - 1.0
    up, low = xp.max(d, axis=-1), xp.min(d, axis=-1)
    room = (1.0 / xp.maximum(light, one * 1e-6) - 1.0) / xp.maximum(up, one * 1e-6)
    strength = xp.minimum(xp.minimum(strength, room), 1.0 / xp.maximum(-low, one * 1e-6))
    out = light[..., None] * (1.0 + strength[..., None] * d)
    out = xp.minimum(xp.maximum(out, xp.zeros_like(out)), xp.ones_like(out))
    return _look_up(out, _SRGB)


def _look_up(y: Array, table: Floats) -> Array:
    """Interpolate in a table sampled at evenly spaced square roots."""
    xp = _xp(y)
    values = on_device_of(y, table)
    last = values.shape[0] - 1
    # Not the maximum: what is no number has no place in the table either.
    position = xp.sqrt(xp.where(y > 0.0, y, xp.zeros_like(y))) * last
    index = xp.astype(position, xp.int64)
    index = xp.where(index >= last, xp.full_like(index, last - 1), index)
    part = position - xp.astype(index, y.dtype)
    flat = xp.reshape(index, (-1,))
    low = xp.reshape(xp.take(values, flat, axis=0), y.shape)
    high = xp.reshape(xp.take(values, flat + 1, axis=0), y.shape)
    return low + part * (high - low)


def _quantise_generic(image: Array) -> Array:
    xp = _xp(image)
    codes = xp.astype(xp.floor(image * 255.0 + 0.5), xp.uint8)
    return xp.concat([codes, codes, codes], axis=-1) if image.shape[2] == 1 else codes


# -- NumPy bodies ---------------------------------------------------------------------------------


def _balance_cpu(
    image: Floats, near_clip: NDArray[np.uint8], offset: list[float], gain: list[float]
) -> Floats:
    if image.shape[2] == 1:
        return (image - np.float32(offset[0])) * np.float32(gain[0])
    out = np.empty(image.shape, np.float32)
    o, g = (tuple(np.float32(v) for v in values) for values in (offset, gain))
    luma = tuple(np.float32(v) for v in LUMA)
    in_bands(_balance, image.shape[0], image, near_clip, o, g, luma, out)
    return out


@compiled
def _balance(
    y0: int,
    y1: int,
    image: Floats,
    near_clip: NDArray[np.uint8],
    offset: tuple[float, float, float],
    gain: tuple[float, float, float],
    luma: tuple[float, float, float],
    out: Floats,
) -> None:
    for y in range(y0, y1):
        source, near, target = image[y], near_clip[y], out[y]
        for x in range(near.size):
            r = (source[x, 0] - offset[0]) * gain[0]
            g = (source[x, 1] - offset[1]) * gain[1]
            b = (source[x, 2] - offset[2]) * gain[2]
            share = np.float32(near[x]) * np.float32(1.0 / 255.0)
            grey = share * (luma[0] * r + luma[1] * g + luma[2] * b)
            rest = np.float32(1.0) - share
            target[x, 0] = rest * r + grey
            target[x, 1] = rest * g + grey
            target[x, 2] = rest * b + grey


def _curve_cpu(
    image: Floats, white: float, black: float, curve: Floats, chroma_floor: float
) -> Floats:
    out = np.empty(image.shape, np.float32)
    scale = (np.float32(1.0 / (white - black)), np.float32(black))
    grid = np.linspace(0.0, 1.0, curve.size)
    table = bit_table(lambda x: np.interp(np.sqrt(x), grid, curve))
    image = np.ascontiguousarray(image, np.float32)
    if image.shape[2] == 1:
        in_bands(_curve_mono, image.shape[0], image, *scale, table, _SRGB_BY_BITS, out)
        return out
    luma = tuple(np.float32(v) for v in LUMA)
    floor = np.float32(chroma_floor)
    in_bands(_curve_rgb, image.shape[0], image, *scale, table, _SRGB_BY_BITS, floor, luma, out)
    return out


@compiled
def _curve_mono(
    y0: int,
    y1: int,
    image: Floats,
    inverse: float,
    black: float,
    curve: Floats,
    srgb: Floats,
    out: Floats,
) -> None:
    least, one = np.float32(LEAST), np.float32(1.0)
    for y in range(y0, y1):
        source, target = image[y], out[y]
        for x in range(source.shape[0]):
            value = min(max(least, (source[x, 0] - black) * inverse), one)
            light = curve[place(value)]
            target[x, 0] = srgb[place(min(max(least, light), one))]


@compiled
def _curve_rgb(
    y0: int,
    y1: int,
    image: Floats,
    inverse: float,
    black: float,
    curve: Floats,
    srgb: Floats,
    chroma_floor: float,
    luma: tuple[float, float, float],
    out: Floats,
) -> None:
    one = np.float32(1.0)
    least, almost = np.float32(LEAST), np.float32(1.0 - 1e-6)
    floor2 = chroma_floor * chroma_floor
    width = image.shape[1]
    # Four loops over a row: those without a table in them are vectorised. Rows of one buffer each,
    # so that the compiler need not fear that they overlap.
    values, places = np.empty((5, width), np.float32), np.empty((4, width), np.int32)
    level, light, r, g, b = values[0], values[1], values[2], values[3], values[4]
    index, red, green, blue = places[0], places[1], places[2], places[3]
    for y in range(y0, y1):
        source, target = image[y], out[y]
        for x in range(width):
            r[x] = source[x, 0] - black
            g[x] = source[x, 1] - black
            b[x] = source[x, 2] - black
            level[x] = luma[0] * r[x] + luma[1] * g[x] + luma[2] * b[x]
            index[x] = place(min(max(least, level[x] * inverse), one))
        for x in range(width):
            light[x] = curve[index[x]]
        for x in range(width):
            part = one / max(level[x], np.float32(1e-20))
            dr, dg, db = r[x] * part - one, g[x] * part - one, b[x] * part - one
            up, low = max(dr, max(dg, db)), min(dr, min(dg, db))
            # The strongest of: noise, the upper and the lower end of the gamut.
            weak = max(one + floor2 * part * part, -low)
            weak = max(weak, light[x] * up / (one - min(light[x], almost)))
            k = light[x] / weak
            red[x] = place(min(max(least, light[x] + k * dr), one))
            green[x] = place(min(max(least, light[x] + k * dg), one))
            blue[x] = place(min(max(least, light[x] + k * db), one))
        for x in range(width):
            target[x, 0] = srgb[red[x]]
            target[x, 1] = srgb[green[x]]
            target[x, 2] = srgb[blue[x]]


def _quantise_cpu(image: Floats) -> NDArray[np.uint8]:
    out = np.empty((*image.shape[:2], 3), np.uint8)
    in_bands(_quantise, image.shape[0], image, out)
    return out


@compiled
def _quantise(y0: int, y1: int, image: Floats, out: NDArray[np.uint8]) -> None:
    scale, half = np.float32(255.0), np.float32(0.5)
    mono = image.shape[2] == 1
    for y in range(y0, y1):
        source, target = image[y], out[y]
        for x in range(source.shape[0]):
            if mono:
                code = np.uint8(source[x, 0] * scale + half)
                target[x, 0] = code
                target[x, 1] = code
                target[x, 2] = code
            else:
                target[x, 0] = np.uint8(source[x, 0] * scale + half)
                target[x, 1] = np.uint8(source[x, 1] * scale + half)
                target[x, 2] = np.uint8(source[x, 2] * scale + half)
