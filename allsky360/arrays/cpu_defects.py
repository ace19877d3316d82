"""NumPy body of the repair of isolated pixels: a search that reads, and writes only what it mends.

What is computed is defined in :func:`allsky360.arrays.generic.repair_isolated`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.cpu_demosaic import fold
from allsky360.arrays.generic import SPILL

Floats = NDArray[np.float32]


def repair_isolated(
    mosaic: Floats, sigmas: float, read_var: float, shot: float, in_place: bool
) -> tuple[Floats, int]:
    """Find the defects in row bands, then put their replacements in."""
    image = np.ascontiguousarray(mosaic, dtype=np.float32)
    numbers = (np.float32(v) for v in (sigmas, read_var, shot, SPILL))
    found = in_bands(_defects, image.shape[0], image, *numbers)
    result = image if in_place or image is not mosaic else image.copy()
    for rows, columns, values in found:
        result[rows, columns] = values
    return result, sum(rows.size for rows, _, _ in found)


@compiled
def _defects(
    y0: int, y1: int, image: Floats, sigmas: float, read_var: float, shot: float, spill: float
) -> Any:
    h, w = image.shape
    room = 1024
    rows, columns = np.empty(room, np.int64), np.empty(room, np.int64)
    values = np.empty(room, np.float32)
    found = 0
    inner = max(w - 4, 0)
    stands_out = np.zeros((inner + 7) // 8 * 8, np.uint8)
    # Eight flags at a look: nearly all are 0.
    eights = stands_out.view(np.uint64)
    suspects = np.empty(w + 8, np.int64)
    suspects[: min(w, 2)] = np.arange(min(w, 2))
    ends = min(w, 2)
    for x in range(inner + 2, w):
        if x >= ends:
            suspects[ends] = x
            ends += 1
    zero, square = np.float32(0.0), sigmas * sigmas
    for y in range(y0, y1):
        above, row, below = image[fold(y - 2, h)], image[y], image[fold(y + 2, h)]
        a0, a1, a2 = above[:inner], above[2 : inner + 2], above[4 : inner + 4]
        b0, b1, b2 = row[:inner], row[2 : inner + 2], row[4 : inner + 4]
        c0, c1, c2 = below[:inner], below[2 : inner + 2], below[4 : inner + 4]
        for x in range(inner):
            high = max(max(max(a0[x], a1[x]), max(a2[x], b0[x])),
                       max(max(b2[x], c0[x]), max(c1[x], c2[x])))  # fmt: skip
            low = min(min(min(a0[x], a1[x]), min(a2[x], b0[x])),
                      min(min(b2[x], c0[x]), min(c1[x], c2[x])))  # fmt: skip
            # One of the two is not above zero.
            up, down = max(b1[x] - high, zero), max(low - b1[x], zero)
            base = high if up > zero else low
            apart = up + down
            bad = apart * apart > square * (read_var + shot * max(base, zero))
            stands_out[x] = np.uint8(bad)
        count = ends
        for k in range(eights.size):
            if eights[k]:
                for x in range(8 * k, 8 * k + 8):
                    if stands_out[x]:
                        suspects[count] = x + 2
                        count += 1
        for k in range(count):
            x = suspects[k]
            wrong, value = _judge(image, y, x, sigmas, read_var, shot, spill)
            if not wrong:
                continue
            if found == room:
                room *= 2
                rows, columns = _grown(rows, room), _grown(columns, room)
                values = _grown(values, room)
            rows[found], columns[found], values[found] = y, x, value
            found += 1
    return rows[:found].copy(), columns[:found].copy(), values[:found].copy()


@compiled
def _grown(old: Any, room: int) -> Any:
    new = np.empty(room, old.dtype)
    new[: old.size] = old
    return new


@compiled
def _judge(
    p: Floats, y: int, x: int, sigmas: float, read_var: float, shot: float, spill: float
) -> Any:
    """Whether a pixel is a defect, and the middle of its like-coloured neighbours."""
    h, w = p.shape
    zero, half = np.float32(0.0), np.float32(0.5)
    v = p[y, x]
    y0, y1, y3, y4 = fold(y - 2, h), fold(y - 1, h), fold(y + 1, h), fold(y + 2, h)
    x0, x1, x3, x4 = fold(x - 2, w), fold(x - 1, w), fold(x + 1, w), fold(x + 2, w)
    like = np.empty(8, np.float32)
    like[0], like[1], like[2] = p[y0, x0], p[y0, x], p[y0, x4]
    like[3], like[4] = p[y, x0], p[y, x4]
    like[5], like[6], like[7] = p[y4, x0], p[y4, x], p[y4, x4]
    like.sort()
    low, high = like[0], like[7]
    middle = half * (like[3] + like[4])
    hot = v > high + sigmas * np.sqrt(read_var + shot * max(high, zero))
    cold = v < low - sigmas * np.sqrt(read_var + shot * max(low, zero))
    if not (hot or cold):
        return False, middle
    adjacent = np.float32(0.25) * (p[y, x1] + p[y, x3] + p[y1, x] + p[y3, x])
    around = np.float32(0.125) * (
        p[y0, x1] + p[y4, x1] + p[y0, x3] + p[y4, x3]
        + p[y1, x0] + p[y1, x4] + p[y3, x0] + p[y3, x4]
    )  # fmt: skip
    light, limit = adjacent - around, spill * (v - middle)
    return (hot and light < limit) or (cold and light > limit), middle
