"""Wavelet sharpening of luminance in one pass; see ``imaging/filters/sharpen.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.blocks import RATIO_LIMIT, lay_over
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.edges import above_noise, highest, lowest
from allsky360.arrays.generic import LUMA, pad_mirror
from allsky360.arrays.luminance import luminance, with_luminance
from allsky360.arrays.wavelets import _fold, smooths

Array = Any
Floats = NDArray[np.float32]

REACH = 2
"""Radius of the square whose range a sharpened pixel must not leave, px."""

PEAK = 0.5
"""By this share of its height above the pixels 2 px left, right, up and down may a peak rise: a
star is one, the side of an edge or a line is not."""


def sharpen_luminance(
    image: Array,
    plane: Array,
    coarse: Array | None,
    mask: Array | None,
    *,
    gains: Sequence[float],
    least: Sequence[float],
    overshoot: float,
) -> Array:
    """Return the image with the two finest details of its luminance raised.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, display codes, C 1 or 3.
    plane
        ``(H, W)`` float32, its luminance, continued outside the mask.
    coarse
        ``(ceil(H / 2), ceil(W / 2))`` block values to add after that, or None.
    mask
        ``(H, W)`` bool or None; outside it the image is left alone.
    gains, least
        Of the two finest detail planes: how much of them is added, and under which size not.
    overshoot
        By which share of the range of a 5 x 5 square a pixel may leave it.
    """
    body = body_for(image, cpu=_sharpen_cpu, generic=_sharpen_generic)
    return body(image, plane, coarse, mask, tuple(gains), tuple(least), float(overshoot))


def _sharpen_generic(
    image: Array,
    plane: Array,
    coarse: Array | None,
    mask: Array | None,
    gains: tuple[float, float],
    least: tuple[float, float],
    overshoot: float,
) -> Array:
    xp = array_api_compat.array_namespace(image)
    c0, c1, c2 = smooths(plane, 2)
    wanted = c0 + gains[0] * above_noise(c0 - c1, least[0])
    wanted = wanted + gains[1] * above_noise(c1 - c2, least[1])
    top, bottom = highest(plane, REACH), lowest(plane, REACH)
    slack = overshoot * (top - bottom)
    wide = pad_mirror(plane, REACH)
    around = xp.maximum(
        xp.maximum(wide[:-4, 2:-2], wide[4:, 2:-2]), xp.maximum(wide[2:-2, :-4], wide[2:-2, 4:])
    )
    peak = PEAK * xp.maximum(plane - around, xp.zeros_like(plane))
    new = xp.minimum(xp.maximum(wanted, bottom - slack), top + (slack + peak))
    if coarse is not None:
        new = new + lay_over(coarse, 2, plane.shape)
    old = luminance(image)
    out = with_luminance(image, old, old + (new - plane), limit=RATIO_LIMIT)
    out = xp.minimum(xp.maximum(out, xp.zeros_like(out)), xp.ones_like(out))
    keep = new == plane if mask is None else (new == plane) | ~mask
    return xp.where(keep[..., None], image, out)


def _sharpen_cpu(
    image: Floats,
    plane: Floats,
    coarse: Floats | None,
    mask: NDArray[np.bool_] | None,
    gains: tuple[float, float],
    least: tuple[float, float],
    overshoot: float,
) -> Floats:
    h, w, channels = image.shape
    flat = np.ascontiguousarray(image, np.float32).reshape(h, w * channels)
    out = np.empty_like(flat)
    none = np.empty((0, 0), np.float32)
    known = np.empty((0, 0), np.uint8)
    if mask is not None:
        known = np.ascontiguousarray(mask, np.bool_).view(np.uint8)
    numbers = np.array(
        # A threshold of 0 lets everything pass: its inverse need only be large.
        [*gains, *(1.0 / max(v, 1e-7) for v in least), overshoot, RATIO_LIMIT, *LUMA, PEAK],
        np.float32,
    )
    after = none if coarse is None else lay_over(coarse, 2, (h, w))
    in_bands(_sharpen_rows, h, flat, np.ascontiguousarray(plane), after, known, numbers, out)
    return out.reshape(image.shape)


@compiled
def _spline_line(
    a: Floats, b: Floats, c: Floats, d: Floats, e: Floats, step: int, line: Floats, out: Floats
) -> None:
    """The spline's taps over five rows, then along the result with mirrored ends."""
    w = c.size
    far, middle, near = np.float32(1 / 16), np.float32(6 / 16), np.float32(4 / 16)
    pad = 2 * step
    inner = line[pad : pad + w]
    for x in range(w):
        inner[x] = middle * c[x] + near * (b[x] + d[x]) + far * (a[x] + e[x])
    for k in range(1, pad + 1):
        line[pad - k] = inner[_fold(-k, w)]
        line[pad + w - 1 + k] = inner[_fold(w - 1 + k, w)]
    l2, l1, r1, r2 = line[:w], line[step:], line[3 * step :], line[4 * step :]
    for x in range(w):
        out[x] = middle * inner[x] + near * (l1[x] + r1[x]) + far * (l2[x] + r2[x])


@compiled
def _sharpen_rows(
    y0: int,
    y1: int,
    image: Floats,
    plane: Floats,
    after: Floats,
    known: NDArray[np.uint8],
    numbers: Floats,
    out: Floats,
) -> None:
    h, w = plane.shape
    g1, g2, inverse1, inverse2, overshoot, limit = numbers[:6]
    kr, kg, kb, peak = numbers[6], numbers[7], numbers[8], numbers[9]
    zero, one = np.float32(0.0), np.float32(1.0)
    low = one / limit
    colour = image.shape[1] != w
    line = np.empty(w + 8, np.float32)
    # Rows of c1 that c2 needs: four before to four after this one, each kept in its place.
    ring, places = np.empty((9, w), np.float32), 9
    c2 = np.empty(w, np.float32)
    tall_top, tall_bottom = np.empty(w + 4, np.float32), np.empty(w + 4, np.float32)
    moves, beside = np.empty(w, np.float32), np.empty(w + 4, np.float32)
    ready = max(0, y0 - 4)
    for y in range(y0, y1):
        while ready <= min(h - 1, y + 4):
            r = ready
            _spline_line(
                plane[_fold(r - 2, h)], plane[_fold(r - 1, h)], plane[r],
                plane[_fold(r + 1, h)], plane[_fold(r + 2, h)], 1, line, ring[r % places],
            )  # fmt: skip
            ready += 1
        c1 = ring[y % places]
        _spline_line(
            ring[_fold(y - 4, h) % places], ring[_fold(y - 2, h) % places], c1,
            ring[_fold(y + 2, h) % places], ring[_fold(y + 4, h) % places], 2, line, c2,
        )  # fmt: skip
        c0 = plane[y]
        # Mirrored, like everything: the same square, some of it twice.
        up2, up1 = plane[_fold(y - 2, h)], plane[_fold(y - 1, h)]
        down1, down2 = plane[_fold(y + 1, h)], plane[_fold(y + 2, h)]
        top, bottom = tall_top[2 : 2 + w], tall_bottom[2 : 2 + w]
        for x in range(w):
            top[x] = max(max(max(up2[x], up1[x]), max(down1[x], down2[x])), c0[x])
            bottom[x] = min(min(min(up2[x], up1[x]), min(down1[x], down2[x])), c0[x])
        for k in range(1, 3):
            left, right = _fold(-k, w), _fold(w - 1 + k, w)
            tall_top[2 - k], tall_top[w + 1 + k] = top[left], top[right]
            tall_bottom[2 - k], tall_bottom[w + 1 + k] = bottom[left], bottom[right]
            beside[2 - k], beside[w + 1 + k] = c0[left], c0[right]
        beside[2 : 2 + w] = c0
        for x in range(w):
            v, s, t = c0[x], c1[x], c2[x]
            d1, d2 = v - s, s - t
            q1, q2 = d1 * inverse1, d2 * inverse2
            q1, q2 = q1 * q1, q2 * q2
            q1, q2 = q1 * q1, q2 * q2
            wanted = v + g1 * d1 * (q1 / (one + q1)) + g2 * d2 * (q2 / (one + q2))
            hi = max(max(max(tall_top[x], tall_top[x + 1]), max(tall_top[x + 3], tall_top[x + 4])),
                     tall_top[x + 2])  # fmt: skip
            lo = min(
                min(min(tall_bottom[x], tall_bottom[x + 1]), tall_bottom[x + 2]),
                min(tall_bottom[x + 3], tall_bottom[x + 4]),
            )
            slack = overshoot * (hi - lo)
            around = max(max(beside[x], beside[x + 4]), max(up2[x], down2[x]))
            rise = slack + peak * max(v - around, zero)
            moves[x] = min(max(wanted, lo - slack), hi + rise) - v
        if after.shape[0]:
            more = after[y]
            for x in range(w):
                moves[x] += more[x]
        source, target = image[y], out[y]
        if known.shape[0]:
            flags = known[y]
            for x in range(w):
                move = moves[x]
                moves[x] = move if flags[x] != 0 else zero
        if not colour:
            for x in range(w):
                value = min(max(source[x] + moves[x], zero), one)
                target[x] = value if moves[x] != zero else source[x]
            continue
        for x in range(w):
            r, g, b = source[3 * x], source[3 * x + 1], source[3 * x + 2]
            old = kr * r + kg * g + kb * b
            new = old + moves[x]
            usable = (old > zero) & (new > zero)
            ratio = new / (old if usable else one)
            ratio = min(max(ratio, low), limit) if usable else one
            rest = new - old * ratio
            moved = moves[x] != zero
            tr = min(max(r * ratio + rest, zero), one)
            tg = min(max(g * ratio + rest, zero), one)
            tb = min(max(b * ratio + rest, zero), one)
            target[3 * x] = tr if moved else r
            target[3 * x + 1] = tg if moved else g
            target[3 * x + 2] = tb if moved else b
