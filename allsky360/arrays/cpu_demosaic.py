"""NumPy bodies of demosaicing: rows stream through scratch that stays in cache, bands over cores.

What is computed is defined, and explained, in :func:`allsky360.arrays.generic.demosaic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands

Floats = NDArray[np.float32]

PAD = 6
"""Mirrored samples on each side of a row of scratch: how far the steps reach together."""

RING = 16
"""Rows of scratch kept: a power of two, more than any step looks back."""


def demosaic(
    mosaic: Floats,
    ry: int,
    rx: int,
    method: str,
    noise: float,
    clip: float,
    balance: Sequence[float],
) -> Floats:
    """Interpolate a mosaic whose red samples lie at rows ``ry`` and columns ``rx``, modulo 2."""
    mosaic = np.ascontiguousarray(mosaic, dtype=np.float32)
    h, w = mosaic.shape
    out = np.empty((h, w, 3), np.float32)
    if method == "bilinear":
        in_bands(_bilinear, h, mosaic, ry, rx, out)
    else:
        red, blue = np.float32(balance[0] / balance[1]), np.float32(balance[2] / balance[1])
        level, sigma = np.float32(clip), np.float32(noise)
        in_bands(_edge_aware, h, mosaic, ry, rx, sigma, level, red, blue, out)
    return out


@compiled
def fold(i: int, n: int) -> int:
    """Index mirrored about the edge samples, any distance away."""
    if n == 1:
        return 0
    period = 2 * (n - 1)
    i = abs(i) % period
    return i if i < n else period - i


@compiled
def _load(source: Floats, even: float, odd: float, row: Floats) -> float:
    """Copy a row, even and odd columns times their gains, mirror its ends; its largest value."""
    w = source.size
    middle = row[PAD : PAD + w]
    top = source[0]
    for i in range(w // 2):
        middle[2 * i] = source[2 * i] * even
        middle[2 * i + 1] = source[2 * i + 1] * odd
    if w % 2:
        middle[w - 1] = source[w - 1] * even
    for x in range(w):
        top = max(top, source[x])
    # A mirrored column keeps its parity, so its gain is already in.
    for i in range(1, PAD + 1):
        row[PAD - i] = middle[fold(-i, w)]
        row[PAD + w - 1 + i] = middle[fold(w - 1 + i, w)]
    return float(top)


@compiled
def _second(a: Floats, b: Floats, c: Floats, d: Floats, e: Floats, out: Floats) -> None:
    """Green less the other colour (negative at green samples) from five samples in line."""
    half, quarter = np.float32(0.5), np.float32(0.25)
    for x in range(out.size):
        out[x] = half * (b[x] + d[x] - c[x]) - quarter * (a[x] + e[x])


@compiled
def _change(a: Floats, b: Floats, out: Floats) -> None:
    for x in range(out.size):
        out[x] = abs(a[x] - b[x])


@compiled
def _three(a: Floats, b: Floats, c: Floats, out: Floats) -> None:
    for x in range(out.size):
        out[x] = a[x] + b[x] + c[x]


@compiled
def _smooth(a: Floats, b: Floats, c: Floats, d: Floats, e: Floats, out: Floats) -> None:
    """Mean of five; the differences alternate in sign."""
    fifth = np.float32(0.2)
    for x in range(out.size):
        out[x] = fifth * (a[x] + c[x] + e[x] - b[x] - d[x])


@compiled
def _mix(
    h: Floats, v: Floats, h0: Floats, h1: Floats, h2: Floats, v0: Floats, v1: Floats, v2: Floats,
    floor: float, out: Floats,
) -> None:  # fmt: skip
    """Mix two directions by the inverse squares of their unrest, summed over three rows."""
    for x in range(out.size):
        uh, uv = h0[x] + h1[x] + h2[x], v0[x] + v1[x] + v2[x]
        wh, wv = uv * uv + floor, uh * uh + floor
        out[x] = (wh * h[x] + wv * v[x]) / (wh + wv)


@compiled
def _no_less(q: Floats, up: Floats, down: Floats, slack: float, out: Floats) -> None:
    """Green at a red or blue sample is never below all four green neighbours."""
    n = out.size
    left, middle, right = q[:n], q[1 : n + 1], q[2 : n + 2]
    for x in range(n):
        low = min(min(left[x], right[x]), min(up[x], down[x])) - slack
        out[x] = max(out[x], low - middle[x])


@compiled
def _emit(
    source: Floats, d0: Floats, d1: Floats, d2: Floats, cell: Floats, gain: float,
    inverse: float, inverse_other: float, target: Floats, a: int, b: int,
) -> None:  # fmt: skip
    """Write one row of RGB; its own colour (``cell`` 1) is channel ``a``, the other ``b``."""
    w = target.shape[0]
    half, quarter, zero = np.float32(0.5), np.float32(0.25), np.float32(0.0)
    al, am, ar = d0[:w], d0[1 : w + 1], d0[2 : w + 2]
    bl, bm, br = d1[:w], d1[1 : w + 1], d1[2 : w + 2]
    cl, cm, cr = d2[:w], d2[1 : w + 1], d2[2 : w + 2]
    for x in range(w):
        own = cell[x] > zero
        sample = source[x]
        green = sample * gain + bm[x] if own else sample
        other = quarter * (al[x] + ar[x] + cl[x] + cr[x]) if own else half * (am[x] + cm[x])
        target[x, 1] = green
        target[x, a] = sample if own else (green - half * (bl[x] + br[x])) * inverse
        target[x, b] = (green - other) * inverse_other


@compiled
def _flag(source: Floats, clip: float, some: bool, out: Any) -> None:
    """Mark the saturated samples of a row; ``some`` says whether there are any."""
    if not some:
        out[:] = np.uint8(0)
        return
    for x in range(source.size):
        out[x] = np.uint8(source[x] >= clip)


@compiled
def _near(flags: Any, y: int, reach: int, any_row: Any, eights: Any, out: Any) -> int:
    """Columns within ``reach`` of a saturated sample of rows ``y - reach`` to ``y + reach``."""
    w = out.size
    word = eights[RING]
    word[:] = np.uint64(0)
    for k in range(-reach, reach + 1):
        slot = (y + k) % RING
        if any_row[slot]:
            row = eights[slot]
            for i in range(word.size):
                word[i] |= row[i]
    together, count, following = flags[RING], 0, 0
    for i in range(word.size):
        if word[i]:
            for x in range(8 * i, 8 * i + 8):
                if together[x]:
                    for c in range(max(following, x - reach), min(x + reach + 1, w)):
                        out[count] = c
                        count += 1
                    following = min(x + reach + 1, w)
    return count


@compiled
def _local(mosaic: Floats, y: int, x: int, gain: float, noise: float, clip: float) -> float:
    """Green less the colour of a red or blue sample whose surroundings saturate."""
    h, w = mosaic.shape
    half, quarter, two = np.float32(0.5), np.float32(0.25), np.float32(2.0)
    zero, one = np.float32(0.0), np.float32(1.0)
    row = mosaic[y]
    a, b = row[fold(x - 1, w)], row[fold(x + 1, w)]
    aa, bb = row[fold(x - 2, w)], row[fold(x + 2, w)]
    u, d = mosaic[fold(y - 1, h), x], mosaic[fold(y + 1, h), x]
    uu, dd = mosaic[fold(y - 2, h), x], mosaic[fold(y + 2, h), x]
    c = row[x]
    ch, cv = gain * (two * c - aa - bb), gain * (two * c - uu - dd)
    eh, ev = abs(a - b) + abs(ch), abs(u - d) + abs(cv)
    if max(max(max(a, b), max(aa, bb)), c) >= clip:
        ch = zero
    if max(max(max(u, d), max(uu, dd)), c) >= clip:
        cv = zero
    floor = np.float32(4.0) * noise * noise + np.float32(1e-12)
    wh, wv = one / (eh * eh + floor), one / (ev * ev + floor)
    g = (wh * (half * (a + b) + quarter * ch) + wv * (half * (u + d) + quarter * cv)) / (wh + wv)
    low = min(min(a, b), min(u, d)) - np.float32(3.0) * noise
    return float(max(g, low) - gain * c)


@compiled
def _plain(
    mosaic: Floats, y: int, x: int, own: bool, mine: float, theirs: float,
    target: Floats, a: int, b: int,
) -> None:  # fmt: skip
    """Red and blue of one pixel as plain means of samples, without the purple they make."""
    h, w = mosaic.shape
    half, quarter = np.float32(0.5), np.float32(0.25)
    above, row, below = mosaic[fold(y - 1, h)], mosaic[y], mosaic[fold(y + 1, h)]
    left, right = fold(x - 1, w), fold(x + 1, w)
    green, zero, four = target[x, 1], np.float32(0.0), np.float32(4.0)
    if own:
        other = quarter * (above[left] + above[right] + below[left] + below[right])
        limit = green + four * max(green - mine * row[x], zero)
        target[x, b] = min(other, limit / theirs)
    else:
        first, other = half * (row[left] + row[right]), half * (above[x] + below[x])
        target[x, a] = min(first, (green + four * max(green - theirs * other, zero)) / mine)
        target[x, b] = min(other, (green + four * max(green - mine * first, zero)) / theirs)


@compiled
def _edge_aware(
    y0: int, y1: int, mosaic: Floats, ry: int, rx: int, noise: float, clip: float,
    red: float, blue: float, out: Floats,
) -> None:  # fmt: skip
    h, w = mosaic.shape
    n = w + 2 * PAD
    one = np.float32(1.0)
    rings = np.zeros((6, RING, n), np.float32)
    q, eh, ev, uh, uv, d = rings[0], rings[1], rings[2], rings[3], rings[4], rings[5]
    rows = np.zeros((3, n), np.float32)
    sh, sv, change = rows[0], rows[1], rows[2]
    flags = np.zeros((RING + 1, (w + 7) // 8 * 8), np.uint8)
    eights = flags.view(np.uint64)
    columns = np.empty(w, np.int64)
    saturates = np.zeros(RING, np.bool_)
    floor = np.float32(81.0) * noise * noise + np.float32(1e-12)
    slack = np.float32(3.0) * noise
    cells = np.zeros((2, w), np.float32)
    cells[0, rx % 2 :: 2] = one
    cells[1, (rx + 1) % 2 :: 2] = one
    for t in range(y0 - 5, y1 + 5):
        source = mosaic[fold(t, h)]
        red_row = (t - ry) % 2 == 0
        own = red if red_row else blue
        even = own if (rx % 2 == 0) == red_row else one
        odd = one if (rx % 2 == 0) == red_row else own
        saturates[t % RING] = _load(source, even, odd, q[t % RING]) >= clip
        _flag(source, clip, saturates[t % RING], flags[t % RING])
        if t < y0 - 1:
            continue
        j = (t - 2) % RING
        c = q[j]
        along = eh[j]
        _second(c[: n - 4], c[1 : n - 3], c[2 : n - 2], c[3 : n - 1], c[4:], along[2 : n - 2])
        _second(q[(t - 4) % RING], q[(t - 3) % RING], c, q[(t - 1) % RING], q[t % RING], ev[j])
        _change(along[2 : n - 4], along[4 : n - 2], change[3 : n - 3])
        _three(change[3 : n - 5], change[4 : n - 4], change[5 : n - 3], uh[j][4 : n - 4])
        if t < y0 + 1:
            continue
        _change(ev[(t - 4) % RING], ev[j], change)
        _three(change[: n - 2], change[1 : n - 1], change[2:], uv[(t - 3) % RING][1 : n - 1])
        if t < y0 + 3:
            continue
        y = t - 4
        along, difference = eh[y % RING], d[y % RING]
        _smooth(
            along[2 : n - 6], along[3 : n - 5], along[4 : n - 4], along[5 : n - 3],
            along[6 : n - 2], sh[4 : n - 4],
        )  # fmt: skip
        _smooth(ev[(y - 2) % RING], ev[(y - 1) % RING], ev[y % RING], ev[(y + 1) % RING], ev[j], sv)
        _mix(
            sh, sv, uh[(y - 1) % RING], uh[y % RING], uh[(y + 1) % RING],
            uv[(y - 1) % RING], uv[y % RING], uv[(y + 1) % RING], floor, difference,
        )  # fmt: skip
        _no_less(
            q[y % RING][4 : n - 4], q[(y - 1) % RING][5 : n - 5], q[(y + 1) % RING][5 : n - 5],
            slack, difference[5 : n - 5],
        )  # fmt: skip
        count = _near(flags, y, 4, saturates, eights, columns)
        if count:
            folded = fold(y, h)
            red_row = (y - ry) % 2 == 0
            own = red if red_row else blue
            cell = cells[0 if red_row else 1]
            for k in range(count):
                x = columns[k]
                if cell[x] > 0:
                    difference[PAD + x] = _local(mosaic, folded, x, own, noise, clip)
            difference[PAD - 1] = difference[PAD + fold(-1, w)]
            difference[PAD + w] = difference[PAD + fold(w, w)]
        if t < y0 + 5:
            continue
        y = t - 5
        red_row = (y - ry) % 2 == 0
        a, b = (0, 2) if red_row else (2, 0)
        own, other = (red, blue) if red_row else (blue, red)
        cell, target = cells[0 if red_row else 1], out[y]
        _emit(
            mosaic[y], d[(y - 1) % RING][PAD - 1 : PAD + w + 1],
            d[y % RING][PAD - 1 : PAD + w + 1], d[(y + 1) % RING][PAD - 1 : PAD + w + 1],
            cell, own, one / own, one / other, target, a, b,
        )  # fmt: skip
        for k in range(_near(flags, y, 2, saturates, eights, columns)):
            x = columns[k]
            _plain(mosaic, y, x, cell[x] > 0, own, other, target, a, b)


@compiled
def _bilinear(y0: int, y1: int, mosaic: Floats, ry: int, rx: int, out: Floats) -> None:
    h, w = mosaic.shape
    half, quarter = np.float32(0.5), np.float32(0.25)
    rows = np.empty((3, w + 2 * PAD), np.float32)
    one = np.float32(1.0)
    cells = np.zeros((2, w), np.float32)
    cells[0, rx % 2 :: 2] = one
    cells[1, (rx + 1) % 2 :: 2] = one
    for y in range(y0, y1):
        for k in range(3):
            _load(mosaic[fold(y + k - 1, h)], one, one, rows[k])
        red_row = (y - ry) % 2 == 0
        a, b = (0, 2) if red_row else (2, 0)
        cell, target = cells[0 if red_row else 1], out[y]
        r0 = rows[0]
        al, am, ar = r0[PAD - 1 : PAD - 1 + w], r0[PAD : PAD + w], r0[PAD + 1 : PAD + 1 + w]
        r1 = rows[1]
        bl, bm, br = r1[PAD - 1 : PAD - 1 + w], r1[PAD : PAD + w], r1[PAD + 1 : PAD + 1 + w]
        r2 = rows[2]
        cl, cm, cr = r2[PAD - 1 : PAD - 1 + w], r2[PAD : PAD + w], r2[PAD + 1 : PAD + 1 + w]
        for x in range(w):
            own = cell[x] > 0
            across, along = half * (bl[x] + br[x]), half * (am[x] + cm[x])
            corners = quarter * (al[x] + ar[x] + cl[x] + cr[x])
            target[x, 1] = half * (across + along) if own else bm[x]
            target[x, a] = bm[x] if own else across
            target[x, b] = corners if own else along
