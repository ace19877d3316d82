"""Light in small circles at given places, with a star-proof local sky: one call for all stars.

The measurement of one place, the same in every body:

* ring: the pixels whose centres lie between two radii and are not blocked, sorted (blocked ones
  count where fewer than a quarter of the ring is left). Its level is the median after
  cutting, three times, what lies more than 2.5 sigma above it; sigma is the distance from the
  median down to the 15.87 % quantile, which stars in the ring do not touch.
* centre: where the brightest of the 3 x 3 pixels about the place stands ``recentre_sigma`` above
  the sky, three steps of a centroid in a Gaussian window (the step is doubled, which makes it
  converge to the peak: Bertin 2010, SExtractor manual, "windowed positions"); a centre that
  wandered further than ``max_shift``, or still moves by a fifth of a pixel, is refused and the
  given place kept.
* circle: each pixel weighs ``radius + 0.5 - distance``, cut to 0 .. 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import on_device_of

Array = Any
Floats = NDArray[np.float32]
Float = NDArray[np.float64]

_COLUMNS = 11
_CLIP_ROUNDS, _CLIP_SIGMA, _LOW_SHARE = 3, 2.5, 0.1587
_CENTRE_STEPS = 3
_SETTLED_PX = 0.2


@dataclass(frozen=True)
class ApertureShape:
    """Radii in pixels: the circle, a larger one for its correction, the sky ring, the window."""

    radius: float
    wide_radius: float
    ring_inner: float
    ring_outer: float
    window_sigma: float
    recentre_sigma: float = 8.0
    max_shift: float = 1.0

    @property
    def reach(self) -> int:
        """Pixels from a place that are looked at."""
        largest = max(self.ring_outer, self.wide_radius + self.max_shift + 0.5)
        return math.ceil(largest + 0.5)


@dataclass(frozen=True, eq=False)
class ApertureSums:
    """One row a place, ``(N,)`` float64 on the host unless said otherwise.

    Attributes
    ----------
    x, y
        Centres used; equal to the given place unless ``recentred``.
    flux, wide_flux
        Sky-subtracted sums over the circle and over the wide circle.
    sky, sky_sigma
        Level and noise of a pixel in the ring.
    ring_pixels
        Pixels that the level comes from.
    peak
        Brightest pixel within the circle, above the sky.
    saturated
        A pixel within the circle is clipped, bool.
    inside
        All pixels looked at lie on the image, bool; where False nothing else means anything.
    recentred
        bool.
    """

    x: Float
    y: Float
    flux: Float
    wide_flux: Float
    sky: Float
    sky_sigma: Float
    ring_pixels: Float
    peak: Float
    saturated: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    recentred: NDArray[np.bool_]


def aperture_sums(
    plane: Array,
    x: Float,
    y: Float,
    shape: ApertureShape,
    *,
    clipped: Array | None = None,
    blocked: Array | None = None,
) -> ApertureSums:
    """Measure circles at ``(x, y)``.

    Parameters
    ----------
    plane
        ``(H, W)`` float32.
    x, y
        ``(N,)`` host arrays; pixel centres are whole numbers. Not finite: not inside.
    clipped
        ``(H, W)`` uint8, over 127 where saturated.
    blocked
        ``(H, W)`` uint8, over 127 where a known star keeps a pixel out of the rings.

    Returns
    -------
    ApertureSums
        On the host: the one download.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.size == 0:
        return _packed(np.zeros((0, _COLUMNS)))
    body = body_for(plane, cpu=_cpu, generic=_generic)
    return _packed(body(plane, x, y, shape, clipped, blocked))


def _packed(table: Float) -> ApertureSums:
    numbers = [np.ascontiguousarray(table[:, k]) for k in range(8)]
    saturated, inside, recentred = (table[:, k] > 0.5 for k in (8, 9, 10))
    x, y, flux, wide, sky, sigma, pixels, peak = numbers
    return ApertureSums(x, y, flux, wide, sky, sigma, pixels, peak, saturated, inside, recentred)


def _cpu(
    plane: Floats,
    x: Float,
    y: Float,
    shape: ApertureShape,
    clipped: NDArray[np.uint8] | None,
    blocked: NDArray[np.uint8] | None,
) -> Float:
    nothing = np.zeros((0, 0), dtype=np.uint8)
    clipped = nothing if clipped is None else clipped
    blocked = nothing if blocked is None else blocked
    out = np.zeros((x.size, _COLUMNS))
    numbers = (
        shape.radius,
        shape.wide_radius,
        shape.ring_inner,
        shape.ring_outer,
        shape.window_sigma,
        shape.recentre_sigma,
        shape.max_shift,
    )
    in_bands(_measure, x.size, plane, clipped, blocked, x, y, numbers, shape.reach, out)
    return out


@compiled
def _measure(
    first: int,
    last: int,
    plane: Floats,
    clipped: NDArray[np.uint8],
    blocked: NDArray[np.uint8],
    x: Float,
    y: Float,
    numbers: tuple[float, float, float, float, float, float, float],
    reach: int,
    out: Float,
) -> None:
    radius, wide, ring0, ring1, window, recentre, max_shift = numbers
    height, width = plane.shape
    ring = np.empty((2 * reach + 1) ** 2, dtype=np.float32)
    for k in range(first, last):
        px, py = x[k], y[k]
        out[k, 0], out[k, 1] = px, py
        if not (px >= reach and py >= reach and px < width - reach and py < height - reach):
            continue
        i0, j0 = int(np.floor(px + 0.5)), int(np.floor(py + 0.5))
        if i0 < reach or j0 < reach or i0 >= width - reach or j0 >= height - reach:
            continue
        out[k, 9] = 1.0
        n, whole = 0, 0
        masked = blocked.size > 0
        for _ in range(2):
            n, whole = 0, 0
            for j in range(j0 - reach, j0 + reach + 1):
                for i in range(i0 - reach, i0 + reach + 1):
                    d2 = (i - px) ** 2 + (j - py) ** 2
                    if d2 >= ring0 * ring0 and d2 < ring1 * ring1:
                        whole += 1
                        if not (masked and blocked[j, i] > 127):
                            ring[n] = plane[j, i]
                            n += 1
            if 4 * n >= whole:
                break
            masked = False
        ordered = np.sort(ring[:n])
        kept: Any = n
        sky = float(ordered[kept // 2])
        sigma = 0.0
        for _ in range(_CLIP_ROUNDS):
            sky = float(ordered[kept // 2])
            sigma = sky - float(ordered[int(_LOW_SHARE * kept)])
            kept = np.searchsorted(ordered[:kept], np.float32(sky + _CLIP_SIGMA * sigma), "right")
        sky = float(ordered[kept // 2])
        brightest = plane[j0, i0]
        for j in range(j0 - 1, j0 + 2):
            for i in range(i0 - 1, i0 + 2):
                brightest = max(brightest, plane[j, i])
        if recentre > 0.0 and brightest - sky > recentre * sigma:
            cx, cy, step = px, py, 0.0
            for _ in range(_CENTRE_STEPS):
                total, sx, sy = 0.0, 0.0, 0.0
                box = int(3.0 * window) + 1
                for j in range(j0 - box, j0 + box + 1):
                    for i in range(i0 - box, i0 + box + 1):
                        dx, dy = i - cx, j - cy
                        w = np.exp(-0.5 * (dx * dx + dy * dy) / (window * window))
                        v = w * (plane[j, i] - sky)
                        total += v
                        sx += v * dx
                        sy += v * dy
                if total <= 0.0:
                    break
                cx += 2.0 * sx / total
                cy += 2.0 * sy / total
                step = 2.0 * np.sqrt(sx * sx + sy * sy) / total
            wander = (cx - x[k]) ** 2 + (cy - y[k]) ** 2
            if step < _SETTLED_PX and wander <= max_shift * max_shift:
                px, py = cx, cy
                out[k, 0], out[k, 1], out[k, 10] = cx, cy, 1.0
        near, far, area, far_area, peak, full = 0.0, 0.0, 0.0, 0.0, -np.inf, 0.0
        span = int(np.ceil(wide + max_shift + 0.5))
        for j in range(j0 - span, j0 + span + 1):
            for i in range(i0 - span, i0 + span + 1):
                d = np.sqrt((i - px) ** 2 + (j - py) ** 2)
                w = min(max(wide + 0.5 - d, 0.0), 1.0)
                if w <= 0.0:
                    continue
                far += w * plane[j, i]
                far_area += w
                w = min(max(radius + 0.5 - d, 0.0), 1.0)
                if w <= 0.0:
                    continue
                near += w * plane[j, i]
                area += w
                peak = max(peak, plane[j, i])
                if clipped.size > 0 and clipped[j, i] > 127:
                    full = 1.0
        out[k, 2] = near - area * sky
        out[k, 3] = far - far_area * sky
        out[k, 4], out[k, 5], out[k, 6] = sky, sigma, kept
        out[k, 7], out[k, 8] = peak - sky, full


def _generic(
    plane: Array,
    x: Float,
    y: Float,
    shape: ApertureShape,
    clipped: Array | None,
    blocked: Array | None,
) -> Float:
    """Cut all places out by one gather ``(N, S, S)``, then arithmetic on whole stacks."""
    from allsky360.arrays import to_host

    xp = array_api_compat.array_namespace(plane)
    height, width = int(plane.shape[0]), int(plane.shape[1])
    reach = shape.reach
    with np.errstate(invalid="ignore"):
        inside = (x >= reach) & (y >= reach) & (x < width - reach) & (y < height - reach)
    i0 = np.floor(np.where(inside, x, reach) + 0.5).astype(np.int64)
    j0 = np.floor(np.where(inside, y, reach) + 0.5).astype(np.int64)
    inside &= (i0 < width - reach) & (j0 < height - reach)
    i0, j0 = np.minimum(i0, width - reach - 1), np.minimum(j0, height - reach - 1)
    dx0 = on_device_of(plane, np.where(inside, x - i0, 0.0))[:, None, None]
    dy0 = on_device_of(plane, np.where(inside, y - j0, 0.0))[:, None, None]
    steps = on_device_of(plane, np.arange(-reach, reach + 1))
    size = 2 * reach + 1
    offset = np.arange(-reach, reach + 1)
    local = on_device_of(plane, (offset[:, None] * width + offset[None, :]).ravel(), "int64")
    start = on_device_of(plane, j0 * width + i0, "int64")
    index = xp.reshape(start[:, None] + local[None, :], (-1,))
    n = x.size

    def cut(image: Array) -> Array:
        return xp.reshape(xp.take(xp.reshape(image, (-1,)), index, axis=0), (n, size, size))

    stamp = cut(plane)
    u, v = steps[None, None, :], steps[None, :, None]
    d2 = (u - dx0) ** 2 + (v - dy0) ** 2
    in_ring = (d2 >= shape.ring_inner**2) & (d2 < shape.ring_outer**2)
    if blocked is not None:
        free = in_ring & (cut(blocked) <= 127)
        left, whole = (xp.sum(xp.astype(m, xp.int64), axis=(1, 2)) for m in (free, in_ring))
        in_ring = xp.where((4 * left >= whole)[:, None, None], free, in_ring)
    sky, sigma, kept = _ring_level(xp, stamp, in_ring)
    above = stamp - sky[:, None, None]

    middle = above[:, reach - 1 : reach + 2, reach - 1 : reach + 2]
    bright = xp.max(middle, axis=(1, 2)) > shape.recentre_sigma * sigma
    bright = bright & (shape.recentre_sigma > 0)
    cx, cy = dx0, dy0
    box = int(3.0 * shape.window_sigma) + 1
    near = (xp.abs(u) <= box) & (xp.abs(v) <= box)
    alive = bright[:, None, None]
    zero = xp.zeros_like(stamp)
    step = xp.zeros_like(cx)
    for _ in range(_CENTRE_STEPS):
        weight = xp.exp(-0.5 * ((u - cx) ** 2 + (v - cy) ** 2) / shape.window_sigma**2)
        light = xp.where(near, weight * above, zero)
        total = xp.sum(light, axis=(1, 2), keepdims=True)
        alive = alive & (total > 0.0)
        safe = xp.where(alive, total, xp.ones_like(total))
        step_x = 2.0 * xp.sum(light * (u - cx), axis=(1, 2), keepdims=True) / safe
        step_y = 2.0 * xp.sum(light * (v - cy), axis=(1, 2), keepdims=True) / safe
        cx = xp.where(alive, cx + step_x, cx)
        cy = xp.where(alive, cy + step_y, cy)
        step = xp.where(alive, xp.sqrt(step_x**2 + step_y**2), step)
    settled = step < _SETTLED_PX
    moved = (
        bright[:, None, None] & settled & ((cx - dx0) ** 2 + (cy - dy0) ** 2 <= shape.max_shift**2)
    )
    cx, cy = xp.where(moved, cx, dx0), xp.where(moved, cy, dy0)

    d = xp.sqrt((u - cx) ** 2 + (v - cy) ** 2)
    one = xp.ones_like(d)
    weight = xp.minimum(xp.maximum(shape.radius + 0.5 - d, zero), one)
    wide = xp.minimum(xp.maximum(shape.wide_radius + 0.5 - d, zero), one)
    inner = weight > 0.0
    peak = xp.max(xp.where(inner, above, zero - 3.0e38), axis=(1, 2))
    full = xp.zeros_like(peak)
    if clipped is not None:
        full = xp.astype(xp.any(inner & (cut(clipped) > 127), axis=(1, 2)), plane.dtype)
    columns = [
        xp.reshape(cx, (n,)),
        xp.reshape(cy, (n,)),
        xp.sum(weight * above, axis=(1, 2)),
        xp.sum(wide * above, axis=(1, 2)),
        sky,
        sigma,
        xp.astype(kept, plane.dtype),
        peak,
        full,
        xp.ones_like(peak),
        xp.astype(xp.reshape(moved, (n,)), plane.dtype),
    ]
    table = np.asarray(to_host(xp.stack(columns, axis=1)), dtype=np.float64)
    table[~inside, 2:] = 0.0
    moved_host = table[:, 10] > 0.5
    table[:, 0] = np.where(moved_host, table[:, 0] + i0, x)
    table[:, 1] = np.where(moved_host, table[:, 1] + j0, y)
    return table


def _ring_level(xp: Any, stamp: Array, in_ring: Array) -> tuple[Array, Array, Array]:
    """Return level, sigma and number of unclipped pixels of each ring, ``(N,)``."""
    n, size, _ = stamp.shape
    far = xp.full_like(stamp, 3.0e38)
    values = xp.reshape(xp.where(in_ring, stamp, far), (n, size * size))
    ordered = xp.sort(values, axis=1)
    flat = xp.reshape(ordered, (-1,))
    count = xp.sum(xp.astype(xp.reshape(in_ring, (n, size * size)), xp.int64), axis=1)
    row = on_device_of(stamp, np.arange(n) * size * size, "int64")
    sigma = xp.zeros_like(ordered[:, 0])
    for _ in range(_CLIP_ROUNDS):
        sky = xp.take(flat, row + count // 2, axis=0)
        low = xp.astype(_LOW_SHARE * xp.astype(count, xp.float32), xp.int64)
        sigma = sky - xp.take(flat, row + low, axis=0)
        limit = sky + _CLIP_SIGMA * sigma
        under = xp.sum(xp.astype(ordered <= limit[:, None], xp.int64), axis=1)
        count = xp.minimum(count, under)
    return xp.take(flat, row + count // 2, axis=0), sigma, count
