"""Histograms of tiles, and curves that change from tile to tile; see ``local_histogram.py``."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.blocks import RATIO_LIMIT, _framed, positions
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import LUMA, on_device_of
from allsky360.arrays.luminance import luminance, with_luminance

Array = Any
Floats = NDArray[np.float32]


def tile_histograms(plane: Array, mask: Array | None, size: int, bins: int) -> Array:
    """Count the values of each tile.

    Parameters
    ----------
    plane
        ``(H, W)`` float32 of 0 to 1; what lies beyond counts in the first or last bin.
    mask
        ``(H, W)`` bool or None; what it hides is not counted.
    size
        Side of a tile, px; tiles cut by the edge hold what is there.
    bins
        Number of equal bins.

    Returns
    -------
    Array
        ``(ceil(H / size), ceil(W / size), bins)`` float32.
    """
    body = body_for(plane, cpu=_count_cpu, generic=_count_generic, cuda=_count_cuda)
    return body(plane, mask, size, bins)


def tile_curves(image: Array, curves: Array, size: int, amount: float, mask: Array | None) -> Array:
    """Bend the luminance of each pixel by curves interpolated between the tiles' centres.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, display codes, C 1 or 3.
    curves
        ``(h, w, bins + 1)`` float32: values at the edges of equal bins of 0 to 1.
    size
        Side of a tile, px.
    amount
        Share of the way from the old luminance to the new one.
    mask
        ``(H, W)`` bool or None; outside it the image is left alone.
    """
    body = body_for(image, cpu=_bend_cpu, generic=_bend_generic)
    return body(image, curves, size, float(amount), mask)


def _bin_of(plane: Array, bins: int) -> Array:
    xp = array_api_compat.array_namespace(plane)
    top = xp.full_like(plane, bins - 1.0)
    # Not the maximum: what is no number counts as black.
    place = xp.where(plane > 0.0, plane * float(bins), xp.zeros_like(plane))
    return xp.astype(xp.minimum(place, top), xp.int64)


def _count_generic(plane: Array, mask: Array | None, size: int, bins: int) -> Array:
    """Bin by bin: sums over tiles of "is in it"."""
    from allsky360.arrays.blocks import _sums

    xp = array_api_compat.array_namespace(plane)
    if mask is not None:
        plane = xp.where(mask, plane, xp.zeros_like(plane))
    number = _bin_of(plane, bins)
    if mask is not None:
        number = xp.where(mask, number, -xp.ones_like(number))
    counts = [
        _sums(xp.astype(number == k, xp.float32)[..., None], size)[..., 0] for k in range(bins)
    ]
    return xp.stack(counts, axis=-1)


def _count_cuda(plane: Array, mask: Array | None, size: int, bins: int) -> Array:
    """One ``bincount``: of NumPy and CuPy alike, so that it can be tested without a GPU."""
    xp = array_api_compat.array_namespace(plane)
    h, w = plane.shape
    rows, columns = -(-h // size), -(-w // size)
    tile = (xp.arange(h) // size)[:, None] * columns + (xp.arange(w) // size)[None, :]
    if mask is not None:
        plane = xp.where(mask, plane, xp.zeros_like(plane))
    place = tile * bins + _bin_of(plane, bins)
    if mask is not None:
        # What is hidden is counted in one place more, which is thrown away.
        place = xp.where(mask, place, xp.full_like(place, rows * columns * bins))
    counts = xp.bincount(xp.reshape(place, (-1,)), minlength=rows * columns * bins + 1)
    return xp.reshape(counts[:-1], (rows, columns, bins)).astype(xp.float32)


def _count_cpu(plane: Floats, mask: NDArray[np.bool_] | None, size: int, bins: int) -> Floats:
    h, w = plane.shape
    rows, columns = -(-h // size), -(-w // size)
    known = np.empty((0, 0), np.uint8)
    if mask is not None:
        known = np.ascontiguousarray(mask, np.bool_).view(np.uint8)
    counts = np.zeros((rows, columns, bins), np.float32)
    # Bands of tiles; at least as many rows as in_bands shares out.
    in_bands(_count_rows, h, np.ascontiguousarray(plane), known, size, counts)
    return counts


@compiled
def _count_rows(
    y0: int, y1: int, plane: Floats, known: NDArray[np.uint8], size: int, counts: Floats
) -> None:
    h, w = plane.shape
    bins = counts.shape[2]
    scale, last, zero = np.float32(bins), np.float32(bins - 1), np.float32(0.0)
    one = np.float32(1.0)
    masked = known.shape[0] > 0
    # A tile belongs to the band its first row lies in: no two bands count in one tile.
    for j in range((y0 + size - 1) // size, (y1 + size - 1) // size):
        for y in range(j * size, min(h, (j + 1) * size)):
            row = plane[y]
            for i in range(counts.shape[1]):
                tile = counts[j, i]
                for x in range(i * size, min(w, (i + 1) * size)):
                    if masked and known[y, x] == 0:
                        continue
                    tile[int(min(max(zero, row[x] * scale), last))] += one


def _bend_generic(
    image: Array, curves: Array, size: int, amount: float, mask: Array | None
) -> Array:
    xp = array_api_compat.array_namespace(image)
    h, w = image.shape[:2]
    rows, columns, knots = curves.shape
    old = luminance(image)
    safe = old if mask is None else xp.where(mask, old, xp.zeros_like(old))
    at = xp.minimum(xp.where(safe > 0.0, safe, xp.zeros_like(safe)), xp.ones_like(safe))
    at = at * float(knots - 1)
    index = xp.astype(at, xp.int64)
    index = xp.minimum(index, xp.full_like(index, knots - 2))
    part = at - xp.astype(index, at.dtype)
    flat = xp.reshape(curves, (-1,))

    def look(j: Array, i: Array) -> Array:
        place = xp.reshape((j * columns + i) * knots + index, (-1,))
        low, high = xp.take(flat, place, axis=0), xp.take(flat, place + 1, axis=0)
        return xp.reshape(low, (h, w)) + part * xp.reshape(high - low, (h, w))

    axes = []
    for axis, (pixels, tiles) in enumerate(((h, rows), (w, columns))):
        first, share = positions(pixels, tiles, size)
        after = np.minimum(first + 1, tiles - 1)
        shape = (-1, 1) if axis == 0 else (1, -1)
        axes.append(
            (
                on_device_of(image, first.reshape(shape), "int64"),
                on_device_of(image, after.reshape(shape), "int64"),
                on_device_of(image, share.reshape(shape)),
            )
        )
    (j0, j1, ty), (i0, i1, tx) = axes
    top = look(j0, i0) + tx * (look(j0, i1) - look(j0, i0))
    bottom = look(j1, i0) + tx * (look(j1, i1) - look(j1, i0))
    move = amount * (top + ty * (bottom - top) - safe)
    out = with_luminance(image, old, old + move, limit=RATIO_LIMIT)
    out = xp.minimum(xp.maximum(out, xp.zeros_like(out)), xp.ones_like(out))
    return out if mask is None else xp.where(mask[..., None], out, image)


def _bend_cpu(
    image: Floats, curves: Floats, size: int, amount: float, mask: NDArray[np.bool_] | None
) -> Floats:
    h, w, channels = image.shape
    flat = np.ascontiguousarray(image, np.float32).reshape(h, w * channels)
    known = np.empty((0, 0), np.uint8)
    if mask is not None:
        known = np.ascontiguousarray(mask, np.bool_).view(np.uint8)
    out = np.empty_like(flat)
    numbers = np.array([amount, RATIO_LIMIT, *LUMA], np.float32)
    in_bands(_bend_rows, h, flat, known, _framed(curves), size, channels, numbers, out)
    return out.reshape(image.shape)


@compiled
def _bend_rows(
    y0: int,
    y1: int,
    image: Floats,
    known: NDArray[np.uint8],
    curves: Floats,
    size: int,
    channels: int,
    numbers: Floats,
    out: Floats,
) -> None:
    rows, columns, knots = curves.shape
    amount, limit, kr, kg, kb = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    zero, one, half = np.float32(0.0), np.float32(1.0), np.float32(0.5)
    low, scale, step = one / limit, np.float32(knots - 1), one / np.float32(size)
    w = image.shape[1] // channels
    masked = known.shape[0] > 0
    # The curves of this row at every tile centre; then between two of them along the row.
    tables = np.empty((columns, knots), np.float32)
    lines, index = np.empty((5, w), np.float32), np.empty(w, np.int32)
    old, part, bent, ratio, rest = lines[0], lines[1], lines[2], lines[3], lines[4]
    for y in range(y0, y1):
        at = (np.float32(y) + half) * step + half
        j = min(int(at), rows - 2)
        t = at - np.float32(j)
        for i in range(columns):
            a, b, line = curves[j, i], curves[j + 1, i], tables[i]
            for k in range(knots):
                line[k] = a[k] + t * (b[k] - a[k])
        source, target = image[y], out[y]
        # Three loops over the row: all but the one that looks up curves are vectorised.
        if channels == 3:
            for x in range(w):
                old[x] = kr * source[3 * x] + kg * source[3 * x + 1] + kb * source[3 * x + 2]
        else:
            for x in range(w):
                old[x] = source[x]
        for x in range(w):
            place = min(max(zero, old[x]), one) * scale
            index[x] = min(np.int32(place), np.int32(knots - 2))
            part[x] = place - np.float32(index[x])
        for i in range(columns - 1):
            left, right = tables[i], tables[i + 1]
            # Pixels whose centres lie between the centres of framed tiles i and i + 1.
            first = max(0, (2 * i * size - size + 1) // 2) if i else 0
            last = min(w, ((2 * i + 1) * size + 1) // 2)
            for x in range(first, last):
                k, p = index[x], part[x]
                s = (np.float32(x) + half) * step + half - np.float32(i)
                a0, b0 = left[k], right[k]
                a, b = a0 + p * (left[k + 1] - a0), b0 + p * (right[k + 1] - b0)
                bent[x] = a + s * (b - a)
        for x in range(w):
            new = old[x] + amount * (bent[x] - old[x])
            usable = (old[x] > zero) & (new > zero)
            ratio[x] = min(max(new / old[x], low), limit) if usable else one
            rest[x] = new - old[x] * ratio[x]
        if channels == 3:
            for x in range(w):
                target[3 * x] = min(max(zero, source[3 * x] * ratio[x] + rest[x]), one)
                target[3 * x + 1] = min(max(zero, source[3 * x + 1] * ratio[x] + rest[x]), one)
                target[3 * x + 2] = min(max(zero, source[3 * x + 2] * ratio[x] + rest[x]), one)
        else:
            for x in range(w):
                target[x] = min(max(zero, source[x] * ratio[x] + rest[x]), one)
        if masked:
            for x in range(w):
                if known[y, x] == 0:
                    for c in range(channels):
                        target[channels * x + c] = source[channels * x + c]
