"""Turn the picture about its centre.

By multiples of 90 degrees no pixel is changed (the sides change places). By any other angle the
picture keeps its size; what the corners lose is lost and what they gain is black. Each output pixel
is sampled at its place in the input::

    bilinear   (1 - |t|) over the 2 x 2 nearest pixels
    lanczos    sinc(t) sinc(t / 4), |t| < 4, over 8 x 8 pixels, normalised (Duchon 1979), clipped
               to the display's 0 … 1, since its lobes overshoot at stars

Positive angles turn counterclockwise as seen in the picture.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, namespace, remap
from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for
from allsky360.imaging.filters.filter import Filter
from allsky360.imaging.filters.flip import turned_over
from allsky360.imaging.filters.geometry import Affine, Shape, invert, quarters_of, rotated

Floats = NDArray[np.float32]

LOBES = 4

STRIP = 256
"""Columns turned at a time, for the cache's sake."""


def rotate(
    image: Array,
    *,
    angle_deg: float = 0.0,
    interpolation: Literal["bilinear", "lanczos"] = "bilinear",
    mask: Array | None = None,
) -> Array:
    """Turn an image counterclockwise.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32.
    angle_deg
        Any angle; multiples of 90 are exact.
    interpolation
        For other angles.
    mask
        Not used.
    """
    if interpolation not in ("bilinear", "lanczos"):
        raise ValueError(f"rotate: interpolation must be bilinear or lanczos, not {interpolation}")
    quarters = quarters_of(angle_deg)
    if quarters == 0:
        return image
    if quarters == 2:
        return turned_over(image, (0, 1))
    if quarters is not None:
        return body_for(image, cpu=_quarter_cpu, generic=_quarter_generic)(image, quarters)
    matrix, _ = rotated(image.shape[:2], angle_deg=angle_deg)
    return body_for(image, cpu=_turn_cpu, generic=_turn_generic)(image, matrix, interpolation)


def _quarter_cpu(image: Array, quarters: int) -> Array:
    import cv2

    h, w, channels = image.shape
    how = cv2.ROTATE_90_COUNTERCLOCKWISE if quarters == 1 else cv2.ROTATE_90_CLOCKWISE
    out = np.empty((w, h, channels), image.dtype)
    return cv2.rotate(image, how, dst=out).reshape(out.shape)


def _quarter_generic(image: Array, quarters: int) -> Array:
    xp = namespace(image)
    turned = xp.permute_dims(image, (1, 0, 2))
    return xp.flip(turned, axis=0 if quarters == 1 else 1)


def _turn_cpu(image: Array, matrix: Affine, interpolation: str) -> Array:
    h, w, channels = image.shape
    back = invert(matrix)
    if interpolation == "bilinear":
        out = np.empty(image.shape, np.float32)
        source = np.ascontiguousarray(image, np.float32).reshape(-1)
        in_bands(_bilinear, h, source, (h, w), back, channels, out.reshape(h, w * channels))
        return out
    import cv2

    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    out = cv2.warpAffine(image, back, (w, h), flags=flags, borderValue=(0, 0, 0, 0))
    np.clip(out, 0.0, 1.0, out=out)
    return out.reshape(image.shape)


@compiled
def _bilinear(
    y0: int, y1: int, image: Floats, shape: Shape, back: Affine, channels: int, out: Floats
) -> None:
    h, w = shape
    dx, dy = back[0, 0], back[1, 0]
    places, shares = np.empty(STRIP, np.int32), np.empty((2, STRIP), np.float32)
    # In strips: a whole turned row would touch a page of memory for every few pixels.
    for strip in range(0, w, STRIP):
        n = min(STRIP, w - strip)
        for y in range(y0, y1):
            x_0 = dx * strip + back[0, 1] * y + back[0, 2]
            y_0 = dy * strip + back[1, 1] * y + back[1, 2]
            target = out[y, strip * channels : (strip + n) * channels]
            first, last = _within(x_0, dx, -1.0, w, 0, n)
            first, last = _within(y_0, dy, -1.0, h, first, last)
            begin, end = last, last
            if channels == 3:
                # A margin to the edge, so that rounding does no harm.
                begin, end = _within(x_0, dx, 1.0, w - 3.0, first, last)
                begin, end = _within(y_0, dy, 1.0, h - 3.0, begin, end)
                _places(x_0, y_0, dx, dy, w, begin, end, places, shares)
                _mix_colours(image, w, begin, end, places, shares, target)
            target[: first * channels] = np.float32(0.0)
            target[last * channels :] = np.float32(0.0)
            _mix_edge(image, shape, channels, x_0, y_0, dx, dy, first, begin, target)
            _mix_edge(image, shape, channels, x_0, y_0, dx, dy, end, last, target)


@compiled
def _within(
    start: float, step: float, low: float, high: float, first: int, last: int
) -> tuple[int, int]:
    """Return the part of ``first … last`` whose ``start + step * i`` lies from low up to high."""
    if abs(step) < 1e-12:
        return (first, last) if low <= start < high else (last, last)
    a, b = (low - start) / step, (high - start) / step
    begin = min(max(first, int(np.ceil(min(a, b)))), last)
    return begin, max(begin, min(last, int(np.floor(max(a, b))) + 1))


@compiled
def _places(
    x_0: float, y_0: float, dx: float, dy: float, w: int, begin: int, end: int,
    places: Any, shares: Floats,
) -> None:  # fmt: skip
    across, down = shares[0], shares[1]
    for i in range(begin, end):
        sx, sy = x_0 + dx * i, y_0 + dy * i
        left, top = np.int32(sx), np.int32(sy)
        across[i], down[i] = np.float32(sx - left), np.float32(sy - top)
        places[i] = np.int32(3) * (top * np.int32(w) + left)


@compiled
def _mix_colours(
    image: Floats, w: int, begin: int, end: int, places: Any, shares: Floats, target: Floats
) -> None:
    """Mix 2 x 2 pixels of three colours that all lie inside."""
    across, down = shares[0], shares[1]
    # Unsigned: the compiler need not ask whether a place is negative.
    row, pixel = np.uint64(3 * w), np.uint64(3)
    for i in range(begin, end):
        k, fx, fy = np.uint64(places[i]), across[i], down[i]
        j, at = k + row, np.uint64(3 * i)
        for c in range(np.uint64(3)):
            a, b = image[k + c], image[k + c + pixel]
            d, e = image[j + c], image[j + c + pixel]
            a += fx * (b - a)
            target[at + c] = a + fy * (d + fx * (e - d) - a)


@compiled
def _mix_edge(
    image: Floats, shape: Shape, channels: int, x_0: float, y_0: float, dx: float, dy: float,
    first: int, last: int, target: Floats,
) -> None:  # fmt: skip
    """Mix pixels of which some may lie outside."""
    for i in range(first, last):
        sx, sy = x_0 + dx * i, y_0 + dy * i
        left, top = int(np.floor(sx)), int(np.floor(sy))
        fx, fy = np.float32(sx - left), np.float32(sy - top)
        for c in range(channels):
            a = _value(image, top, left, c, shape, channels)
            b = _value(image, top, left + 1, c, shape, channels)
            a += fx * (b - a)
            d = _value(image, top + 1, left, c, shape, channels)
            b = _value(image, top + 1, left + 1, c, shape, channels)
            d += fx * (b - d)
            target[i * channels + c] = a + fy * (d - a)


@compiled
def _value(image: Floats, row: int, column: int, c: int, shape: Shape, channels: int) -> Any:
    """One number of the image; 0 outside."""
    if 0 <= row < shape[0] and 0 <= column < shape[1]:
        return image[(row * shape[1] + column) * channels + c]
    return np.float32(0.0)


def _turn_generic(image: Array, matrix: Affine, interpolation: str) -> Array:
    xp = namespace(image)
    h, w = image.shape[:2]
    back = [[float(v) for v in row] for row in invert(matrix)]
    columns = xp.arange(w, dtype=xp.float32, device=image.device)[None, :]
    rows = xp.arange(h, dtype=xp.float32, device=image.device)[:, None]
    x = back[0][0] * columns + back[0][1] * rows + back[0][2]
    y = back[1][0] * columns + back[1][1] * rows + back[1][2]
    if interpolation == "bilinear":
        return remap(image, x, y)
    return _lanczos(image, x, y)


def _lanczos(image: Array, x: Array, y: Array) -> Array:
    """8 x 8 taps at every position; what lies outside the image is 0."""
    xp = namespace(image)
    h, w, channels = image.shape
    flat = xp.reshape(image, (h * w, channels))
    x0, y0 = xp.floor(x), xp.floor(y)
    wx, wy = _taps(x - x0), _taps(y - y0)
    ix, iy = xp.astype(x0, xp.int64), xp.astype(y0, xp.int64)
    total = xp.zeros((x.shape[0] * x.shape[1], channels), dtype=image.dtype, device=image.device)
    for j in range(2 * LOBES):
        jy = iy + (j - LOBES + 1)
        row = xp.clip(jy, 0, h - 1) * w
        in_rows = wy[j] * xp.astype((jy >= 0) & (jy < h), image.dtype)
        for i in range(2 * LOBES):
            jx = ix + (i - LOBES + 1)
            weight = in_rows * wx[i] * xp.astype((jx >= 0) & (jx < w), image.dtype)
            index = xp.reshape(row + xp.clip(jx, 0, w - 1), (-1,))
            total = total + xp.take(flat, index, axis=0) * xp.reshape(weight, (-1, 1))
    return xp.clip(xp.reshape(total, image.shape), 0.0, 1.0)


def _taps(share: Array) -> list[Array]:
    """Normalised weights of the 8 taps for a position ``share`` past the fourth of them."""
    xp = namespace(share)
    taps = []
    for i in range(2 * LOBES):
        t = (share - float(i - LOBES + 1)) * math.pi
        near = xp.abs(t) < 1e-4
        safe = xp.where(near, xp.ones_like(t), t)
        value = xp.sin(safe) * xp.sin(safe / LOBES) * LOBES / (safe * safe)
        taps.append(xp.where(near, xp.ones_like(t), value))
    total = taps[0]
    for tap in taps[1:]:
        total = total + tap
    return [tap / total for tap in taps]


FILTER = Filter("rotate", 1, "display", rotate)
