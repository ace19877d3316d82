"""NumPy bodies of the HDR merge: every exposure is read once, row by row, bands over cores.

What is computed is defined in :mod:`allsky360.arrays.generic` under the same names. Exposures are
``(H, W)`` or ``(H, W, C)``; inside they are ``(H, W * C)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.cpu_demosaic import fold
from allsky360.arrays.generic import FLOOR, OPEN, SHORTEST_FLOOR, SLACK, grid_positions

Floats = NDArray[np.float32]

ALWAYS = 5
"""Exposures the kernels are compiled for: shorter brackets repeat one that is not read."""


def _planes(values: Sequence[Floats]) -> tuple[Floats, ...]:
    h = values[0].shape[0]
    planes = tuple(np.ascontiguousarray(v, dtype=np.float32).reshape(h, -1) for v in values)
    return planes + planes[:1] * (ALWAYS - len(planes))


def block_differences(
    values: Sequence[Floats], ratios: Sequence[float], full: Sequence[float], size: int
) -> tuple[Floats, Floats, Floats]:
    """Sums over blocks; each band takes whole rows of blocks."""
    h, w = values[0].shape[:2]
    channels = values[0].size // (h * w)
    shape = (len(values) - 1, -(-h // size), -(-w // size))
    sums = np.empty((3, *shape), np.float32)
    limits = np.asarray(full, np.float32) * np.float32(OPEN)
    in_bands(
        _block_differences, shape[1], _planes(values), len(values),
        1.0 / np.asarray(ratios, np.float32), limits,
        size, channels * size, 2 if values[0].ndim == 2 else channels, np.float32(SLACK), sums,
    )  # fmt: skip
    return sums[0], sums[1], sums[2]


@compiled
def _block_differences(
    b0: int, b1: int, values: Any, count: int, inverse: Floats, limits: Floats,
    height: int, width: int, step: int, slack: float, out: Floats,
) -> None:  # fmt: skip
    h, w = values[0].shape
    zero, one = np.float32(0.0), np.float32(1.0)
    sums = np.empty((3, count - 1, w), np.float32)
    far = max(w - step, 0)
    rows = np.empty((2, w), np.float32)
    reference, closed = rows[0], rows[1]
    for b in range(b0, b1):
        sums[:] = zero
        for y in range(b * height, min((b + 1) * height, h)):
            first, scale, limit = values[0][y], inverse[0], limits[0]
            for x in range(w):
                reference[x] = first[x] * scale
                closed[x] = one if first[x] >= limit else zero
            for k in range(1, count):
                row, scale, limit = values[k][y], inverse[k], limits[k]
                apart, level, steep = sums[0, k - 1], sums[1, k - 1], sums[2, k - 1]
                beside = reference[step:]
                for x in range(far):
                    steep[x] += abs(beside[x] - reference[x])
                for x in range(w):
                    r, v, shut = reference[x], row[x] * scale, closed[x] > zero
                    level[x] += max(r, zero)
                    apart[x] += min(v - slack * r, zero) if shut else v - r
                    reference[x] = v if shut else r
                    closed[x] = one if (shut and row[x] >= limit) else zero
        for kind in range(3):
            for k in range(count - 1):
                row = sums[kind, k]
                for c in range(out.shape[3]):
                    total = zero
                    for x in range(c * width, min((c + 1) * width, w)):
                        total += row[x]
                    out[kind, k, b, c] = total


def merge_weighted(
    values: Sequence[Floats],
    ratios: Sequence[float],
    full: Sequence[float],
    read_var: float,
    shot: float,
    knee: tuple[float, float],
    keep: Floats | None,
    size: int,
    scale: float,
) -> tuple[Floats, NDArray[np.uint8]]:
    """One pass over all exposures; what saturates is judged on the way."""
    shape = values[0].shape
    h, w = shape[:2]
    channels = values[0].size // (h * w)
    out, clipped = np.empty((h, w * channels), np.float32), np.empty((h, w * channels), np.uint8)
    if keep is None:
        keep = np.ones((len(values), 1, 1), np.float32)
    else:
        keep = np.ascontiguousarray(keep, np.float32)
    below, part_y = grid_positions(h, size, keep.shape[1])
    left, part_x = grid_positions(w, size, keep.shape[2])
    # Rows of blocks in which nothing is left out are merged without looking at the maps.
    quiet = np.all(keep >= 1.0, axis=2)
    busy = ~(quiet[:, below] & quiet[:, np.minimum(below + 1, quiet.shape[1] - 1)])
    in_bands(
        _merge, h, _planes(values), len(values), channels,
        np.asarray(ratios, np.float32), 1.0 / np.asarray(full, np.float32),
        np.float32(read_var), np.float32(shot),
        np.float32(knee[0]), np.float32(1.0 / (knee[1] - knee[0])),
        _floors(ratios), keep, busy, below, part_y.astype(np.float32),
        channels * np.searchsorted(left, np.arange(keep.shape[2] + 1)),
        np.repeat(part_x, channels).astype(np.float32), np.float32(SLACK), np.float32(scale),
        out, clipped,
    )  # fmt: skip
    return out.reshape(shape), clipped.reshape(shape)


def _floors(ratios: Sequence[float]) -> Floats:
    floors = np.full(len(ratios), FLOOR, np.float32)
    floors[int(np.argmin(ratios))] = SHORTEST_FLOOR
    return floors


@compiled
def _brightest(plane: Floats, y: int, channels: int, scratch: Floats, out: Floats) -> None:
    """Brightest of the 3x3 neighbourhood of each sample of a row; of the colours of a pixel."""
    h, w = plane.shape
    row = plane[y]
    if channels > 1:
        for x in range(w // channels):
            top = row[channels * x]
            for c in range(1, channels):
                top = max(top, row[channels * x + c])
            for c in range(channels):
                out[channels * x + c] = top
        return
    above, below = plane[fold(y - 1, h)], plane[fold(y + 1, h)]
    middle = scratch[1 : w + 1]
    for x in range(w):
        middle[x] = max(row[x], max(above[x], below[x]))
    scratch[0], scratch[w + 1] = middle[fold(-1, w)], middle[fold(w, w)]
    left, right = scratch[:w], scratch[2 : w + 2]
    for x in range(w):
        out[x] = max(middle[x], max(left[x], right[x]))


@compiled
def _between(
    blocks: Floats, below: int, down: float, edges: Any, across: Floats, out: Floats
) -> None:
    """Interpolate one row between the centres of blocks; most of it is 1 and skipped."""
    one = np.float32(1.0)
    above, under = blocks[below], blocks[min(below + 1, blocks.shape[0] - 1)]
    last = above.size - 1
    out[:] = one
    a = above[0] + down * (under[0] - above[0])
    for c in range(above.size):
        n = min(c + 1, last)
        b = above[n] + down * (under[n] - above[n])
        if a < one or b < one:
            start, slope = edges[c], b - a
            # Eight at a time: a loop of known length is one vector.
            for e in range((edges[c + 1] - start) // 8):
                to, at = out[start + 8 * e :], across[start + 8 * e :]
                for i in range(8):
                    to[i] = a + at[i] * slope
            for x in range(start + (edges[c + 1] - start) // 8 * 8, edges[c + 1]):
                out[x] = a + across[x] * slope
        a = b


@compiled
def _merge(
    y0: int, y1: int, values: Any, count: int, channels: int, ratios: Floats, inverse_full: Floats,
    read_var: float, shot: float, knee: float, steep: float, floors: Floats,
    keep: Floats, busy: Any, below: Any, part_y: Floats, edges: Any, part_x: Floats,
    slack: float, scale: float, out: Floats, clipped: Any,
) -> None:  # fmt: skip
    w = out.shape[1]
    zero, one, two, three = np.float32(0.0), np.float32(1.0), np.float32(2.0), np.float32(3.0)
    code, half = np.float32(255.0), np.float32(0.5)
    trust = np.empty((count, w), np.float32)
    rows = np.empty((7, w), np.float32)
    peak, light, time, cover, part = rows[0], rows[1], rows[2], rows[3], rows[4]
    bound, seen = rows[5], rows[6]
    scratch = np.empty(w + 2, np.float32)
    for y in range(y0, y1):
        light[:] = zero
        time[:] = zero
        cover[:] = zero
        moving = False
        for k in range(count):
            moving |= busy[k, y]
        if moving:
            bound[:] = zero
            seen[:] = zero
        for k in range(count):
            row, believed = values[k][y], trust[k]
            ratio, inverse, floor = ratios[k], inverse_full[k], floors[k]
            inverse_ratio = one / ratio
            _brightest(values[k], y, channels, scratch, peak)
            for x in range(w):
                t = min(max((peak[x] * inverse - knee) * steep, zero), one)
                believed[x] = one - t * t * (three - two * t)
            if busy[k, y]:
                _between(keep[k], below[y], part_y[y], edges, part_x, part)
                for x in range(w):
                    p = part[x]
                    enough = one if row[x] * inverse_ratio >= slack * bound[x] else p
                    p = enough if seen[x] < half else p
                    cover[x] = max(cover[x], p * believed[x])
                    believed[x] = p * max(believed[x], floor)
            else:
                for x in range(w):
                    cover[x] = max(cover[x], believed[x])
                    believed[x] = max(believed[x], floor)
            if moving:
                for x in range(w):
                    bound[x] = max(bound[x], row[x] * inverse_ratio)
                    seen[x] = max(seen[x], believed[x])
            for x in range(w):
                light[x] += believed[x] * row[x]
                time[x] += believed[x] * ratio
        target, flags = out[y], clipped[y]
        for x in range(w):
            flags[x] = np.uint8(code * (one - cover[x]) + half)
        if count == 1:
            factor, row = scale / ratios[0], values[0][y]
            for x in range(w):
                target[x] = row[x] * factor
            continue
        for x in range(w):
            light[x] = max(light[x] / time[x], zero)
            time[x] = zero
            peak[x] = zero
        for k in range(count):
            row, believed, ratio = values[k][y], trust[k], ratios[k]
            slope = shot * ratio
            for x in range(w):
                weight = believed[x] * ratio / (read_var + slope * light[x])
                peak[x] += weight * row[x]
                time[x] += weight * ratio
        for x in range(w):
            target[x] = scale * peak[x] / time[x]
