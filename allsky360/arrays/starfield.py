"""Primitives of star finding: statistics of cells, a level taken off, local maxima, patches.

Only small things come to the host: grids of a few thousand cells, lists of a few thousand pixels,
and the patch around each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_compat
import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import generic, to_host
from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for

Array = Any
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

CLIP = 3.0
SIGMA_QUANTILE = 0.158655
SKEWED = 0.3
"""Mean over median, in sigmas, from which a cell counts as crowded and its median is taken."""


def cell_statistics(plane: Array, mask: Array | None, box: int) -> tuple[Array, Array, Array]:
    """Return level, sigma and the share of pixels used of every ``box`` x ``box`` cell.

    The level is ``2.5 median - 1.5 mean`` after clipping at 3 sigma (the median in crowded cells),
    sigma the distance from the median down to the 15.9 % quantile. Large cells are sampled at
    every third or fifth pixel: an odd step, so that every phase of a Bayer mosaic is met.

    Parameters
    ----------
    plane
        ``(H, W)`` float32; values that are not finite are left out.
    mask
        ``(H, W)`` bool, True = use; None uses all.
    box
        Pixels.

    Returns
    -------
    level, sigma, share
        ``(ceil(H / box), ceil(W / box))`` float32; level and sigma NaN where share is 0.
    """
    body = body_for(plane, cpu=_cells_cpu, generic=_cells_generic)
    result: tuple[Array, Array, Array] = body(plane, mask, int(box), _step(box))
    return result


def _step(box: int) -> int:
    """Sample cells so that some 170 to 1000 pixels are left."""
    return 1 if box <= 32 else (3 if box <= 48 else 5)


def flatten(plane: Array, level: Floats, box: int, mask: Array | None = None) -> Array:
    """Return the plane minus a coarse level (bilinear); 0 where masked or not finite.

    Parameters
    ----------
    plane
        ``(H, W)`` float32.
    level
        ``(gh, gw)`` float32 on the host, cell (j, i) centred on ``(i + 0.5) * box - 0.5``.
    mask
        ``(H, W)`` bool, True = keep.
    """
    return body_for(plane, cpu=_flatten_cpu, generic=_flatten_generic)(plane, level, box, mask)


def over_noise(image: Array, sigma: Floats, box: int) -> Array:
    """Return an image over a coarse noise (bilinear), ``sigma`` as ``level`` in :func:`flatten`."""
    if isinstance(image, np.ndarray):
        return image / np.maximum(enlarge(sigma, box, image.shape), np.float32(1e-30))
    return image / _enlarged_on_device(image, np.maximum(sigma, 1e-30), box)


def local_maxima(image: Array, sigma: Floats, box: int, threshold: float) -> tuple[Ints, Ints]:
    """Return column and row (host) of pixels above their neighbours and ``threshold`` x sigma.

    Of equal neighbours the first in reading order counts. The outermost pixels never do.

    Parameters
    ----------
    image
        ``(H, W)`` float32.
    sigma
        ``(gh, gw)`` float32 on the host, as ``level`` in :func:`flatten`.
    """
    body = body_for(image, cpu=_maxima_cpu, generic=_maxima_generic)
    found: tuple[Ints, Ints] = body(image, sigma, int(box), float(threshold))
    return found


def patches(image: Array, x: Ints, y: Ints, radius: int) -> Floats:
    """Return the square around each pixel, ``(N, 2 radius + 1, 2 radius + 1)`` float32 on the host.

    NaN outside the image.
    """
    if not x.size:
        return np.empty((0, 2 * radius + 1, 2 * radius + 1), np.float32)
    out: Floats = body_for(image, cpu=_patches_cpu, generic=_patches_generic)(image, x, y, radius)
    return out


def changed(image: Array, change: Callable[[Floats], None]) -> Array:
    """Return a copy of an image after ``change`` added something to a host image in place.

    On a device the change is made on zeros on the host and goes up once.
    """
    if isinstance(image, np.ndarray):
        copy = image.copy()
        change(copy)
        return copy
    xp = array_api_compat.array_namespace(image)
    host = np.zeros(image.shape, np.float32)
    change(host)
    return image + xp.asarray(host, device=array_api_compat.device(image))


def enlarge(grid: Floats, box: int, shape: tuple[int, int]) -> Floats:
    """Return a host grid at full resolution, ``shape`` float32 (bilinear)."""
    size = (grid.shape[1] * box, grid.shape[0] * box)
    big = cv2.resize(np.ascontiguousarray(grid, np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(big.reshape(size[1], size[0])[: shape[0], : shape[1]])


def _positions(n: int, box: int, cells: int) -> tuple[Ints, Floats]:
    """Return the cell before each pixel of an axis, and the weight of the next cell."""
    u = np.clip((np.arange(n) + 0.5) / box - 0.5, 0.0, max(cells - 1, 0))
    first = np.minimum(u.astype(np.int64), max(cells - 2, 0))
    return first, (u - first).astype(np.float32)


# --- NumPy ------------------------------------------------------------------------------------


def _cells_cpu(
    plane: Floats, mask: NDArray[np.bool_] | None, box: int, step: int
) -> tuple[Floats, Floats, Floats]:
    h, w = plane.shape
    gh, gw = -(-h // box), -(-w // box)
    out = np.full((3, gh, gw), np.nan, np.float32)
    use = np.ones((1, 1), np.bool_) if mask is None else np.ascontiguousarray(mask, np.bool_)
    plane = np.ascontiguousarray(plane, np.float32)
    in_bands(_cells, h, plane, use, mask is not None, box, step, out)
    return out[0], out[1], out[2]


@compiled
def _cells(
    y0: int,
    y1: int,
    plane: Floats,
    mask: NDArray[np.bool_],
    masked: bool,
    box: int,
    step: int,
    out: Floats,
) -> None:
    h, w = plane.shape
    values = np.empty(box * box, np.float32)
    # Bands are cut in pixels: a cell belongs to the band in which it begins.
    for j in range((y0 + box - 1) // box, (y1 + box - 1) // box):
        for i in range(out.shape[2]):
            n = total = 0
            for y in range(j * box, min((j + 1) * box, h), step):
                row = plane[y]
                for x in range(i * box, min((i + 1) * box, w), step):
                    total += 1
                    if (not masked or mask[y, x]) and np.isfinite(row[x]):
                        values[n] = row[x]
                        n += 1
            out[2, j, i] = n / total
            if n == 0:
                continue
            ordered = np.sort(values[:n])
            median = ordered[(n - 1) // 2]
            spread = median - ordered[int(0.158655 * (n - 1))]
            low, high = median - 3.0 * spread, median + 3.0 * spread
            part, count = 0.0, 0
            for k in range(n):
                if low <= ordered[k] <= high:
                    part += ordered[k]
                    count += 1
            mean = part / count
            level = median
            if abs(mean - median) < 0.3 * spread:
                level = 2.5 * median - 1.5 * mean
            out[0, j, i] = level
            out[1, j, i] = spread


def _flatten_cpu(plane: Floats, level: Floats, box: int, mask: NDArray[np.bool_] | None) -> Floats:
    h, w = plane.shape
    out = np.empty((h, w), np.float32)
    first, part = _positions(w, box, level.shape[1])
    rows, share = _positions(h, box, level.shape[0])
    use = np.ones((1, 1), np.bool_) if mask is None else np.ascontiguousarray(mask, np.bool_)
    in_bands(
        _flatten, h, np.ascontiguousarray(plane, np.float32), np.asarray(level, np.float32),
        first, part, rows, share, use, mask is not None, out,
    )  # fmt: skip
    return out


@compiled
def _row_of(grid: Floats, row: int, share: float, line: Floats) -> None:
    below = min(row + 1, grid.shape[0] - 1)
    for i in range(line.size):
        line[i] = grid[row, i] + share * (grid[below, i] - grid[row, i])


@compiled
def _flatten(
    y0: int,
    y1: int,
    plane: Floats,
    level: Floats,
    first: Ints,
    part: Floats,
    rows: Ints,
    share: Floats,
    mask: NDArray[np.bool_],
    masked: bool,
    out: Floats,
) -> None:
    gw = level.shape[1]
    line = np.empty(gw, np.float32)
    for y in range(y0, y1):
        _row_of(level, rows[y], share[y], line)
        source, target = plane[y], out[y]
        for x in range(target.size):
            i = first[x]
            a, b = line[i], line[min(i + 1, gw - 1)]
            value = source[x] - (a + part[x] * (b - a))
            target[x] = value if np.isfinite(value) else np.float32(0.0)
        if masked:
            keep = mask[y]
            for x in range(target.size):
                if not keep[x]:
                    target[x] = np.float32(0.0)


def _maxima_cpu(image: Floats, sigma: Floats, box: int, threshold: float) -> tuple[Ints, Ints]:
    h, w = image.shape
    first, part = _positions(w, box, sigma.shape[1])
    rows, share = _positions(h, box, sigma.shape[0])
    lines = in_bands(
        _maxima, h, np.ascontiguousarray(image, np.float32),
        np.asarray(threshold * sigma, np.float32), first, part, rows, share,
    )  # fmt: skip
    found = np.concatenate(lines)
    return found % w, found // w


@compiled
def _maxima(
    y0: int,
    y1: int,
    image: Floats,
    limit: Floats,
    first: Ints,
    part: Floats,
    rows: Ints,
    share: Floats,
) -> Ints:
    h, w = image.shape
    gw = limit.shape[1]
    line = np.empty(gw, np.float32)
    found = np.empty(4096, np.int64)
    n = 0
    for y in range(max(y0, 1), min(y1, h - 1)):
        _row_of(limit, rows[y], share[y], line)
        lowest = line.min()
        up, row, down = image[y - 1], image[y], image[y + 1]
        for x in range(1, w - 1):
            v = row[x]
            if not v > lowest:
                continue
            if v <= row[x - 1] or v < row[x + 1] or v <= up[x] or v < down[x]:
                continue
            if v <= up[x - 1] or v <= up[x + 1] or v < down[x - 1] or v < down[x + 1]:
                continue
            a, b = line[first[x]], line[min(first[x] + 1, gw - 1)]
            if v > a + part[x] * (b - a):
                if n == found.size:
                    longer = np.empty(2 * n, np.int64)
                    longer[:n] = found
                    found = longer
                found[n] = y * w + x
                n += 1
    return found[:n].copy()


def _patches_cpu(image: Floats, x: Ints, y: Ints, radius: int) -> Floats:
    out = np.empty((x.size, 2 * radius + 1, 2 * radius + 1), np.float32)
    _patches(np.ascontiguousarray(image, np.float32), x, y, radius, out)
    return out


@compiled
def _patches(image: Floats, x: Ints, y: Ints, radius: int, out: Floats) -> None:
    h, w = image.shape
    for k in range(x.size):
        for j in range(out.shape[1]):
            row = y[k] + j - radius
            for i in range(out.shape[2]):
                column = x[k] + i - radius
                if 0 <= row < h and 0 <= column < w:
                    out[k, j, i] = image[row, column]
                else:
                    out[k, j, i] = np.nan


# --- any array library ------------------------------------------------------------------------


def _cells_generic(
    plane: Array, mask: Array | None, box: int, step: int
) -> tuple[Array, Array, Array]:
    xp = array_api_compat.array_namespace(plane)
    h, w = plane.shape
    gh, gw = -(-h // box), -(-w // box)
    infinite = xp.full_like(plane, float("inf"))
    good = xp.isfinite(plane)
    if mask is not None:
        good = good & mask
    values = xp.where(good, plane, infinite)
    rows, columns = _sampled(h, box, step), _sampled(w, box, step)
    n = len(range(0, box, step))
    inside = np.outer(rows < h, columns < w)
    values = xp.take(values, generic.on_device_of(plane, np.minimum(rows, h - 1), "int64"), axis=0)
    values = xp.take(
        values, generic.on_device_of(plane, np.minimum(columns, w - 1), "int64"), axis=1
    )
    within = generic.on_device_of(plane, inside, "float32") > 0.5
    values = xp.where(within, values, xp.full_like(values, float("inf")))
    values = xp.reshape(values, (gh, n, gw, n))
    values = xp.reshape(xp.permute_dims(values, (0, 2, 1, 3)), (gh * gw, n * n))
    values = xp.sort(values, axis=1)
    finite = values < float("inf")
    count = xp.sum(xp.astype(finite, xp.int64), axis=1)
    last = xp.maximum(count - 1, xp.zeros_like(count))
    offset = xp.arange(gh * gw, device=array_api_compat.device(plane)) * (n * n)
    flat = xp.reshape(values, (-1,))
    median = xp.take(flat, offset + last // 2)
    below = xp.astype(xp.astype(last, xp.float32) * SIGMA_QUANTILE, xp.int64)
    spread = median - xp.take(flat, offset + below)
    near = finite & (xp.abs(values - median[:, None]) <= CLIP * spread[:, None])
    kept = xp.astype(near, xp.float32)
    total = xp.sum(xp.where(near, values, xp.zeros_like(values)), axis=1)
    mean = total / xp.maximum(xp.sum(kept, axis=1), xp.ones_like(median))
    mild = xp.abs(mean - median) < SKEWED * spread
    level = xp.where(mild, 2.5 * median - 1.5 * mean, median)
    nan = xp.full_like(median, float("nan"))
    empty = count == 0
    whole = generic.on_device_of(
        plane, inside.reshape(gh, n, gw, n).sum(axis=(1, 3)).ravel(), "float32"
    )
    share = xp.astype(count, xp.float32) / whole
    level, spread = xp.where(empty, nan, level), xp.where(empty, nan, spread)
    return tuple(xp.reshape(a, (gh, gw)) for a in (level, spread, share))


def _sampled(n: int, box: int, step: int) -> Ints:
    """Return every ``step``-th pixel of each cell of an axis; the last cell may stick out."""
    cells = -(-n // box)
    return (np.arange(cells)[:, None] * box + np.arange(0, box, step)[None, :]).ravel()


def _enlarged_on_device(like: Array, grid: Floats, box: int) -> Array:
    xp = array_api_compat.array_namespace(like)
    first, part = _positions(like.shape[1], box, grid.shape[1])
    rows, share = _positions(like.shape[0], box, grid.shape[0])
    small = generic.on_device_of(like, grid)

    def mixed(array: Array, index: Ints, weight: Floats, axis: int) -> Array:
        after = np.minimum(index + 1, grid.shape[axis] - 1)
        a = xp.take(array, generic.on_device_of(like, index, "int64"), axis=axis)
        b = xp.take(array, generic.on_device_of(like, after, "int64"), axis=axis)
        t = generic.on_device_of(like, weight)
        return a + (t[:, None] if axis == 0 else t[None, :]) * (b - a)

    return mixed(mixed(small, rows, share, 0), first, part, 1)


def _flatten_generic(plane: Array, level: Floats, box: int, mask: Array | None) -> Array:
    xp = array_api_compat.array_namespace(plane)
    flat = plane - _enlarged_on_device(plane, level, box)
    keep = xp.isfinite(flat)
    if mask is not None:
        keep = keep & mask
    return xp.where(keep, flat, xp.zeros_like(flat))


def _maxima_generic(image: Array, sigma: Floats, box: int, threshold: float) -> tuple[Ints, Ints]:
    xp = array_api_compat.array_namespace(image)
    h, w = image.shape
    limit = _enlarged_on_device(image, np.asarray(threshold * sigma, np.float32), box)
    v = image[1:-1, 1:-1]
    peak = v > limit[1:-1, 1:-1]
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if (dy, dx) == (0, 0):
                continue
            other = image[1 + dy : h - 1 + dy, 1 + dx : w - 1 + dx]
            # Earlier neighbours in the CPU body's sense must be lower, later ones may be equal.
            earlier = (dy, dx) in ((0, -1), (-1, 0), (-1, -1), (-1, 1))
            peak = peak & ((v > other) if earlier else (v >= other))
    y, x = xp.nonzero(peak)
    return to_host(x).astype(np.int64) + 1, to_host(y).astype(np.int64) + 1


def _patches_generic(image: Array, x: Ints, y: Ints, radius: int) -> Floats:
    xp = array_api_compat.array_namespace(image)
    h, w = image.shape
    side = np.arange(-radius, radius + 1)
    rows = y[:, None, None] + side[None, :, None]
    columns = x[:, None, None] + side[None, None, :]
    inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
    index = np.clip(rows, 0, h - 1) * w + np.clip(columns, 0, w - 1)
    taken = xp.take(xp.reshape(image, (-1,)), generic.on_device_of(image, index.ravel(), "int64"))
    out = to_host(taken).reshape(index.shape).astype(np.float32)
    return np.where(inside, out, np.float32(np.nan))
