"""The per-pixel passes of the display branch: balance, luminance curve, quantisation.

Curves are sampled at the square roots of values between 0 and 1, which spends their entries on the
dark tones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.bit_tables import LEAST, bit_table, place
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import LUMA, on_device_of
from allsky360.arrays.srgb import LINEAR_LIGHT, SLOPE, encoded

Array = Any
Floats = NDArray[np.float32]

LEAST_LUMA = 1e-20
"""Luminance under which there is none."""


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
        return encode_generic(light)[..., None]
    positive = xp.maximum(luma, one * LEAST_LUMA)
    return coloured_generic(v, luma, light, one + (chroma_floor / positive) ** 2)


def coloured_generic(v: Array, luma: Array, light: Array, fade: Array) -> Array:
    """As :func:`coloured`, for whole images, then encoded."""
    xp = _xp(v)
    one = xp.ones_like(luma)
    d = v / xp.maximum(luma, one * LEAST_LUMA)[..., None] - 1.0
    up, low = xp.max(d, axis=-1), xp.min(d, axis=-1)
    room = (1.0 / xp.maximum(light, one * 1e-6) - 1.0) / xp.maximum(up, one * 1e-6)
    strength = xp.minimum(xp.minimum(1.0 / fade, room), 1.0 / xp.maximum(-low, one * 1e-6))
    strength = xp.where(luma > 0.0, strength, xp.zeros_like(luma))
    out = light[..., None] * (1.0 + strength[..., None] * d)
    return encode_generic(xp.minimum(xp.maximum(out, xp.zeros_like(out)), xp.ones_like(out)))


def encode_generic(light: Array) -> Array:
    """Return sRGB codes over 255 of linear light, 0 to 1."""
    xp = _xp(light)
    bent = 1.055 * xp.maximum(light, xp.full_like(light, LINEAR_LIGHT)) ** (1 / 2.4) - 0.055
    return xp.where(light <= LINEAR_LIGHT, SLOPE * light, bent)


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
        in_bands(_curve_mono, image.shape[0], image, *scale, table, out)
        return out
    luma = tuple(np.float32(v) for v in LUMA)
    floor = np.float32(chroma_floor)
    in_bands(_curve_rgb, image.shape[0], image, *scale, table, floor, luma, out)
    return out


@compiled
def _curve_mono(
    y0: int, y1: int, image: Floats, inverse: float, black: float, curve: Floats, out: Floats
) -> None:
    least, zero, one = np.float32(LEAST), np.float32(0.0), np.float32(1.0)
    for y in range(y0, y1):
        source, target = image[y].reshape(-1), out[y].reshape(-1)
        for x in range(source.size):
            target[x] = curve[place(min(max(least, (source[x] - black) * inverse), one))]
        for x in range(source.size):
            target[x] = encoded(min(max(zero, target[x]), one))


@compiled
def coloured(r: Any, g: Any, b: Any, luma: Any, light: Any, fade: Any) -> Any:
    """Give ``light`` the colour of ``(r, g, b)``, whose luminance is ``luma``.

    Colour is divided by ``fade``, 1 or more, or by what keeps the result within 0 and 1. Where
    there is no luminance there is no colour.
    """
    one = np.float32(1.0)
    part = one / max(luma, np.float32(LEAST_LUMA))
    dr, dg, db = r * part - one, g * part - one, b * part - one
    up, down = max(dr, max(dg, db)), max(-dr, max(-dg, -db))
    # The strongest of: noise, the lower and the upper end of the gamut.
    weak = max(max(fade, down), light * up / (one - min(light, np.float32(1.0 - 1e-6))))
    k = light / weak if luma > np.float32(0.0) else np.float32(0.0)
    return light + k * dr, light + k * dg, light + k * db


@compiled
def _curve_rgb(
    y0: int,
    y1: int,
    image: Floats,
    inverse: float,
    black: float,
    curve: Floats,
    chroma_floor: float,
    luma: tuple[float, float, float],
    out: Floats,
) -> None:
    zero, one = np.float32(0.0), np.float32(1.0)
    least, least_luma = np.float32(LEAST), np.float32(LEAST_LUMA)
    width = image.shape[1]
    # Four loops over a row: all but the one with a table in it are vectorised.
    values, index = np.empty((2, width), np.float32), np.empty(width, np.int32)
    level, light = values[0], values[1]
    for y in range(y0, y1):
        source, target = image[y].reshape(-1), out[y].reshape(-1)
        for x in range(width):
            v = luma[0] * source[3 * x] + luma[1] * source[3 * x + 1] + luma[2] * source[3 * x + 2]
            level[x] = v - black
            index[x] = place(min(max(least, level[x] * inverse), one))
        for x in range(width):
            light[x] = curve[index[x]]
        for x in range(width):
            noise = chroma_floor / max(level[x], least_luma)
            r, g, b = coloured(
                source[3 * x] - black, source[3 * x + 1] - black, source[3 * x + 2] - black,
                level[x], light[x], one + noise * noise,
            )  # fmt: skip
            target[3 * x], target[3 * x + 1], target[3 * x + 2] = r, g, b
        for i in range(3 * width):
            target[i] = encoded(min(max(zero, target[i]), one))


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
