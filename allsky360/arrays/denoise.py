"""The passes of multi-scale noise reduction; :mod:`allsky360.imaging.filters.acdnr` composes them.

The luminance keeps all its pixels; colour differences, the map of what is protected, and coarse
scales live on *half planes*: ``(ceil(H/2), ceil(W/2))``, each value the mean of a 2 x 2 cell.

Shrinkage is one rule everywhere: with ``v`` the noise variance at the local brightness,
``v = read_var + shot max(level, 0)``, a detail ``w`` of a scale whose noise is ``s`` times that of
one pixel keeps the share ::

    keep = clamp((w^2 / (s^2 v) - k^2) / (3 k^2), 0, 1)

nothing below ``k`` sigmas, all of it above ``2 k``.

The NumPy bodies make no full-size plane: luminance and its two finest smooth versions pass through
a ring of rows that fits into a core's cache, once to find what is protected, once to finish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import array_api_compat
import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import LUMA, maximum3
from allsky360.arrays.wavelets import _fold, smooth, smooths

Array = Any
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

TINY = 1e-30
"""Keeps ratios finite where there is no noise at all."""
SURE = 1.6
"""Full protection begins at this many times the threshold."""


@dataclass(frozen=True)
class Rule:
    """When a detail counts.

    Attributes
    ----------
    read_var, shot
        Noise variance of one pixel: ``read_var + shot * max(level, 0)``.
    sigmas
        ``k`` of the rule above.
    shares
        Noise of each scale over that of one pixel, finest first. A scale of share 0 is left alone.
    """

    read_var: float
    shot: float
    sigmas: float
    shares: tuple[float, ...]

    @property
    def weights(self) -> list[float]:
        """Inverse squares of the shares; huge where the share is 0, so that all is kept."""
        return [1.0 / max(s * s, 1e-12) for s in self.shares]


@dataclass(frozen=True, eq=False)
class Halves:
    """Half planes of an image.

    Attributes
    ----------
    light
        Luminance; only made where there is a mask, else None.
    red, blue
        ``R - G`` and ``B - G``; None for one channel.
    inside
        bool, cells with a pixel inside the mask (the others are 0); None without mask.
    """

    light: Array | None
    red: Array | None
    blue: Array | None
    inside: Array | None


def split_colour(image: Array, mask: Array | None) -> Halves:
    """Reduce an image to half planes; cells take the mean of their pixels inside the mask.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32.
    mask
        ``(H, W)`` bool or None.
    """
    halves: Halves = body_for(image, cpu=_split_cpu, generic=_split_generic)(image, mask)
    return halves


@dataclass(frozen=True, eq=False)
class Source:
    """An image whose luminance goes on outside its mask.

    Attributes
    ----------
    image
        ``(H, W, C)`` float32.
    mask
        ``(H, W)`` bool or None.
    light
        With a mask: half plane of luminance that stands for what is outside.
    """

    image: Array
    mask: Array | None = None
    light: Array | None = None


def fine_planes(source: Source) -> list[Array]:
    """Return luminance and its two finest smooth versions, ``c_0, c_1, c_2``."""
    image = source.image
    light = image[..., 0]
    if image.shape[-1] == 3:
        light = LUMA[0] * light + LUMA[1] * image[..., 1] + LUMA[2] * image[..., 2]
    if source.mask is not None:
        xp = array_api_compat.array_namespace(image)
        light = xp.where(source.mask, light, double(source.light, tuple(light.shape)))
    return smooths(light, 2)


def scan(source: Source, rule: Rule) -> tuple[Array, Array]:
    """Find what is surely there, and reduce the smooth luminance.

    Parameters
    ----------
    source
        What is looked at.
    rule
        For the finest two scales of its luminance. Protection grows from 0 at ``sigmas`` to 1 at
        1.6 times that.

    Returns
    -------
    protected, level
        Half planes float32: the largest protection in each cell, and the cell means of ``c_2``.
    """
    body = body_for(source.image, cpu=_scan_cpu, generic=_scan_generic)
    found: tuple[Array, Array] = body(source, rule)
    return found


def grow(half: Array, steps: int) -> Array:
    """Spread the largest values outward: each step by one cell, alternately as diamond and square.

    So the shape grown is an octagon.
    """
    return body_for(half, cpu=_grow_cpu, generic=_grow_generic)(half, steps) if steps else half


@dataclass(frozen=True, eq=False)
class Field:
    """A plane whose details are to be shrunk.

    Attributes
    ----------
    plane
        ``(h, w)`` float32.
    first
        Level of its first smoothing, see :func:`allsky360.arrays.wavelets.smooth`.
    rule
        One share a scale.
    """

    plane: Array
    first: int
    rule: Rule


def shrink(fields: Sequence[Field], level: Array) -> list[Array]:
    """Return what shrinking all details adds to each plane: ``denoised - plane``.

    Parameters
    ----------
    fields
        Planes of one shape.
    level
        Brightness that sets the noise, same shape.
    """
    changes: list[Array] = body_for(level, cpu=_shrink_cpu, generic=_shrink_generic)(fields, level)
    return changes


@dataclass(frozen=True, eq=False)
class Colour:
    """How :func:`finish` changes colours.

    Attributes
    ----------
    amount
        0 to 1.
    sigmas
        Threshold of the finest colour detail.
    shares
        Its noise over that of one pixel of luminance, red and blue.
    red, blue
        Half planes of ``R - G`` and ``B - G``.
    red_change, blue_change
        What :func:`shrink` adds to them.
    """

    amount: float
    sigmas: float
    shares: tuple[float, float]
    red: Array
    blue: Array
    red_change: Array
    blue_change: Array


def finish(
    source: Source,
    protected: Array,
    change: Array,
    rule: Rule,
    amount: float,
    colour: Colour | None,
) -> Array:
    """Shrink the finest details, add the coarser changes, and put luminance and colour together.

    Parameters
    ----------
    source
        Its image is handed through outside the mask (where that is not finite it may become NaN).
    protected
        Half plane, 1 where nothing may change.
    change
        Half plane: what is added to luminance by coarser scales.
    rule
        Of the first two scales. The finest is judged with the next one: noise seldom agrees in
        both, stars and edges do.
    amount
        Of the change of luminance, 0 to 1.
    colour
        None leaves colours alone; luminance is then added to all channels alike.
    """
    out: Array = body_for(source.image, cpu=_finish_cpu, generic=_finish_generic)(
        source, protected, change, rule, amount, colour
    )
    return out


def double(half: Array, shape: tuple[int, int]) -> Array:
    """Interpolate a half plane bilinearly at the pixels of ``(H, W)``."""
    xp = array_api_compat.array_namespace(half)
    for axis in (0, 1):
        if axis == 0:
            before = xp.concat([half[:1, :], half[:-1, :]], axis=0)
            after = xp.concat([half[1:, :], half[-1:, :]], axis=0)
        else:
            before = xp.concat([half[:, :1], half[:, :-1]], axis=1)
            after = xp.concat([half[:, 1:], half[:, -1:]], axis=1)
        pair = xp.stack([0.75 * half + 0.25 * before, 0.75 * half + 0.25 * after], axis=axis + 1)
        size = list(half.shape)
        size[axis] *= 2
        half = xp.reshape(pair, tuple(size))
    return half[: shape[0], : shape[1]]


# Array-API bodies.


def _cells(plane: Array, fill: float | None = None) -> tuple[Array, Array, Array, Array]:
    """Return the four pixels of each 2 x 2 cell; an odd edge repeats, or is filled."""
    xp = array_api_compat.array_namespace(plane)
    for axis in (0, 1):
        if plane.shape[axis] % 2:
            last = plane[-1:, :] if axis == 0 else plane[:, -1:]
            if fill is not None:
                last = xp.full_like(last, fill)
            plane = xp.concat([plane, last], axis=axis)
    return plane[0::2, 0::2], plane[0::2, 1::2], plane[1::2, 0::2], plane[1::2, 1::2]


def _split_generic(image: Array, mask: Array | None) -> Halves:
    xp = array_api_compat.array_namespace(image)
    first = image[..., 0]
    known = xp.ones_like(first) if mask is None else xp.astype(mask, first.dtype)
    count = sum(_cells(known, 0.0))
    share = 1.0 / xp.maximum(count, xp.ones_like(count))

    def mean(plane: Array) -> Array:
        if mask is not None:
            plane = xp.where(mask, plane, xp.zeros_like(plane))
        return sum(_cells(plane, 0.0)) * share

    inside = None if mask is None else count > 0.0
    if image.shape[-1] == 1:
        return Halves(None if mask is None else mean(first), None, None, inside)
    g, b = image[..., 1], image[..., 2]
    light = None
    if mask is not None:
        light = mean(LUMA[0] * first + LUMA[1] * g + LUMA[2] * b)
    return Halves(light, mean(first - g), mean(b - g), inside)


def _variance(level: Array, rule: Rule) -> Array:
    xp = array_api_compat.array_namespace(level)
    return rule.read_var + rule.shot * xp.maximum(level, xp.zeros_like(level))


def _ramp(x: Array) -> Array:
    xp = array_api_compat.array_namespace(x)
    return xp.minimum(xp.maximum(x, xp.zeros_like(x)), xp.ones_like(x))


def _keep(energy: Array, variance: Array, sigmas: float) -> Array:
    return _ramp(energy / (3.0 * sigmas * sigmas * variance + TINY) - 1.0 / 3.0)


def _scan_generic(source: Source, rule: Rule) -> tuple[Array, Array]:
    c0, c1, c2 = fine_planes(source)
    xp = array_api_compat.array_namespace(c0)
    q1, q2 = rule.weights
    energy = xp.maximum((c0 - c1) ** 2 * q1, (c1 - c2) ** 2 * q2)
    expected = rule.sigmas**2 * _variance(c2, rule) + TINY
    sure = _ramp((energy / expected - 1.0) * (1.0 / (SURE * SURE - 1.0)))
    a, b, c, d = _cells(sure)
    largest = xp.maximum(xp.maximum(a, b), xp.maximum(c, d))
    return largest, 0.25 * sum(_cells(c2))


def _grow_generic(half: Array, steps: int) -> Array:
    xp = array_api_compat.array_namespace(half)
    for step in range(steps):
        if step % 2:
            half = maximum3(half)
            continue
        above = xp.concat([half[:1, :], half[:-1, :]], axis=0)
        below = xp.concat([half[1:, :], half[-1:, :]], axis=0)
        left = xp.concat([half[:, :1], half[:, :-1]], axis=1)
        right = xp.concat([half[:, 1:], half[:, -1:]], axis=1)
        half = xp.maximum(half, xp.maximum(xp.maximum(above, below), xp.maximum(left, right)))
    return half


def _shrink_generic(fields: Sequence[Field], level: Array) -> list[Array]:
    xp = array_api_compat.array_namespace(level)
    changes = []
    for field in fields:
        variance = _variance(level, field.rule)
        total, fine = xp.zeros_like(level), field.plane
        for k, weight in enumerate(field.rule.weights):
            coarse = smooth(fine, field.first + k)
            w = fine - coarse
            total = total + (_keep(w * w * weight, variance, field.rule.sigmas) - 1.0) * w
            fine = coarse
        changes.append(total)
    return changes


def _finish_generic(
    source: Source,
    protected: Array,
    change: Array,
    rule: Rule,
    amount: float,
    colour: Colour | None,
) -> Array:
    image = source.image
    xp = array_api_compat.array_namespace(image)
    shape = tuple(image.shape[:2])
    c0, c1, c2 = fine_planes(source)
    q1, q2 = rule.weights
    w1, w2 = c0 - c1, c1 - c2
    variance = _variance(c2, rule)
    e2 = w2 * w2 * q2
    k1 = _keep(0.5 * (w1 * w1 * q1 + e2), variance, rule.sigmas)
    k2 = _keep(e2, variance, rule.sigmas)
    free = 1.0 - double(protected, shape)
    light = amount * free * ((k1 - 1.0) * w1 + (k2 - 1.0) * w2 + double(change, shape))
    if colour is None:
        out = image + light[..., None]
    else:
        r, g, b = image[..., 0], image[..., 1], image[..., 2]
        moved = []
        for channel, half, half_change, share in (
            (r, colour.red, colour.red_change, colour.shares[0]),
            (b, colour.blue, colour.blue_change, colour.shares[1]),
        ):
            fine = channel - g - double(half, shape)
            kept = _keep(fine * fine * (1.0 / max(share**2, 1e-12)), variance, colour.sigmas)
            moved.append(colour.amount * free * (double(half_change, shape) + (kept - 1.0) * fine))
        base = light - LUMA[0] * moved[0] - LUMA[2] * moved[1]
        out = xp.stack([r + base + moved[0], g + base, b + base + moved[1]], axis=-1)
    return out if source.mask is None else xp.where(source.mask[..., None], out, image)


# NumPy bodies: one pass each.

RING = 16
"""Rows kept of a plane: a power of two, more than the 13 that two smoothings span."""


def _or_empty(plane: Any, dtype: Any) -> Any:
    return np.empty((0, 0), dtype) if plane is None else np.ascontiguousarray(plane, dtype)


def _split_cpu(image: Floats, mask: Bools | None) -> Halves:
    image = np.ascontiguousarray(image, np.float32)
    h, w, channels = image.shape
    shape = ((h + 1) // 2, (w + 1) // 2)
    none, masked = np.empty((0, 0), np.float32), mask is not None
    light = np.empty(shape, np.float32) if masked else none
    inside = np.empty(shape if masked else (0, 0), np.bool_)
    red = np.empty(shape, np.float32) if channels == 3 else none
    blue = np.empty(shape, np.float32) if channels == 3 else none
    if masked or channels == 3:
        known, luma = _or_empty(mask, np.bool_), np.asarray(LUMA, np.float32)
        in_bands(_split_rows, shape[0], image, known, luma, light, red, blue, inside)
    return Halves(
        light if masked else None,
        red if channels == 3 else None,
        blue if channels == 3 else None,
        inside if masked else None,
    )


@compiled
def _split_rows(
    i0: int,
    i1: int,
    image: Floats,
    known: Bools,
    luma: Floats,
    light: Floats,
    red: Floats,
    blue: Floats,
    inside: Bools,
) -> None:
    h, w = image.shape[:2]
    masked, colours = known.shape[0] > 0, red.shape[0] > 0
    zero, one = np.float32(0.0), np.float32(1.0)
    cells = (w + 1) // 2
    # One column more than an odd image has: the missing half of its last cells.
    dl, dr = np.zeros(w + 1, np.float32), np.zeros(w + 1, np.float32)
    db, n = np.zeros(w + 1, np.float32), np.zeros(w + 1, np.float32)
    use = np.ones(w, np.bool_)
    for i in range(i0, i1):
        for row in range(2):
            y = 2 * i + row
            first = row == 0
            if y >= h:
                continue
            if masked:
                use = known[y]
            source = image[y]
            if colours:
                for x in range(w):
                    r, g, b = source[x, 0], source[x, 1], source[x, 2]
                    red_, blue_ = r - g, b - g
                    one_r, one_b = (red_, blue_) if use[x] else (zero, zero)
                    dr[x] = one_r if first else dr[x] + one_r
                    db[x] = one_b if first else db[x] + one_b
                    if masked:
                        mixed = luma[0] * r + luma[1] * g + luma[2] * b
                        one_l = mixed if use[x] else zero
                        dl[x] = one_l if first else dl[x] + one_l
            else:
                for x in range(w):
                    one_l = source[x, 0] if use[x] else zero
                    dl[x] = one_l if first else dl[x] + one_l
            for x in range(w):
                hit = one if use[x] else zero
                n[x] = hit if first else n[x] + hit
        counts = n[: 2 * cells].reshape(cells, 2)
        if colours:
            first_, second_ = red[i], blue[i]
            reds, blues = dr[: 2 * cells].reshape(cells, 2), db[: 2 * cells].reshape(cells, 2)
            for k in range(cells):
                share = one / max(counts[k, 0] + counts[k, 1], one)
                first_[k] = (reds[k, 0] + reds[k, 1]) * share
                second_[k] = (blues[k, 0] + blues[k, 1]) * share
        if masked:
            third_, hits = light[i], inside[i]
            lights = dl[: 2 * cells].reshape(cells, 2)
            for k in range(cells):
                count = counts[k, 0] + counts[k, 1]
                third_[k] = (lights[k, 0] + lights[k, 1]) / max(count, one)
                hits[k] = count > zero


@compiled
def _double_row(half: Floats, y: int, between: Floats, line: Floats) -> None:
    """Interpolate one row of the full plane; ``line`` has two places for each cell."""
    rows, n = half.shape
    i = y >> 1
    other = min(max(i + (1 if y & 1 else -1), 0), rows - 1)
    a, b = half[i], half[other]
    near, far = np.float32(0.75), np.float32(0.25)
    inner = between[1 : n + 1]
    for k in range(n):
        inner[k] = near * a[k] + far * b[k]
    between[0], between[n + 1] = between[1], between[n]
    left, right = between[:n], between[2 : n + 2]
    # Pairs, not line[2 * k]: an index that is computed is checked for being negative.
    pairs = line[: 2 * n].reshape(n, 2)
    for k in range(n):
        pairs[k, 0] = near * inner[k] + far * left[k]
        pairs[k, 1] = near * inner[k] + far * right[k]


@compiled
def _light_into(
    image: Floats, known: Bools, fill: Floats, y: int, luma: Floats, between: Floats,
    outside: Floats, target: Floats,
) -> None:  # fmt: skip
    """One row of luminance, continued outside the mask."""
    source = image[y]
    if image.shape[2] == 3:
        r, g, b = luma[0], luma[1], luma[2]
        for x in range(target.size):
            target[x] = r * source[x, 0] + g * source[x, 1] + b * source[x, 2]
    else:
        for x in range(target.size):
            target[x] = source[x, 0]
    if known.shape[0]:
        use = known[y]
        _double_row(fill, y, between, outside)
        for x in range(target.size):
            target[x] = target[x] if use[x] else outside[x]


@compiled
def _spline_into(ring: Floats, y: int, h: int, step: int, line: Floats, target: Floats) -> None:
    """One row of the smoothed plane from five rows of a ring; the line has 8 places at each end."""
    far, middle, near = np.float32(1 / 16), np.float32(6 / 16), np.float32(4 / 16)
    w = target.size
    centre = ring[y & (RING - 1)]
    up, down = ring[_fold(y - step, h) & (RING - 1)], ring[_fold(y + step, h) & (RING - 1)]
    top = ring[_fold(y - 2 * step, h) & (RING - 1)]
    bottom = ring[_fold(y + 2 * step, h) & (RING - 1)]
    inner = line[8 : 8 + w]
    for x in range(w):
        inner[x] = middle * centre[x] + near * (up[x] + down[x]) + far * (top[x] + bottom[x])
    for k in range(1, 2 * step + 1):
        line[8 - k] = inner[_fold(-k, w)]
        line[7 + w + k] = inner[_fold(w - 1 + k, w)]
    a, b = line[8 - 2 * step : 8 - 2 * step + w], line[8 - step : 8 - step + w]
    d, e = line[8 + step : 8 + step + w], line[8 + 2 * step : 8 + 2 * step + w]
    for x in range(w):
        target[x] = middle * inner[x] + near * (b[x] + d[x]) + far * (a[x] + e[x])


@compiled
def _advance(
    y: int, first: int, image: Floats, known: Bools, fill: Floats, luma: Floats, between: Floats,
    line: Floats, ring0: Floats, ring1: Floats,
) -> None:  # fmt: skip
    """Take row ``y`` of luminance into its ring, and row ``y - 2`` of ``c_1`` into its own."""
    h = image.shape[0]
    if y < h:
        row = ring0[y & (RING - 1)]
        _light_into(image, known, fill, y, luma, between, line, row)
    if first <= y - 2 < h:
        _spline_into(ring0, y - 2, h, 1, line, ring1[(y - 2) & (RING - 1)])


def _scan_cpu(source: Source, rule: Rule) -> tuple[Floats, Floats]:
    h, w = source.image.shape[:2]
    shape = ((h + 1) // 2, (w + 1) // 2)
    sure, level = np.empty(shape, np.float32), np.empty(shape, np.float32)
    numbers = (rule.read_var, rule.shot, *rule.weights, rule.sigmas**2)
    in_bands(
        _scan_rows, shape[0], np.ascontiguousarray(source.image, np.float32),
        _or_empty(source.mask, np.bool_),
        _or_empty(source.light, np.float32), np.asarray(LUMA, np.float32),
        np.asarray(numbers, np.float32), sure, level,
    )  # fmt: skip
    return sure, level


@compiled
def _scan_rows(
    i0: int,
    i1: int,
    image: Floats,
    known: Bools,
    fill: Floats,
    luma: Floats,
    numbers: Floats,
    sure: Floats,
    level: Floats,
) -> None:
    h, w = image.shape[:2]
    read_var, shot, q1, q2, square = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    zero, one, quarter, tiny = np.float32(0.0), np.float32(1.0), np.float32(0.25), np.float32(TINY)
    steep = np.float32(1.0 / (SURE * SURE - 1.0))
    best, mean = np.empty(w + 1, np.float32), np.empty(w + 1, np.float32)
    between, line = np.empty(w + 17, np.float32), np.empty(w + 17, np.float32)
    ring0, ring1 = np.empty((RING, w), np.float32), np.empty((RING, w), np.float32)
    c = np.empty(w, np.float32)
    begin, end = 2 * i0, min(2 * i1, h)
    for y in range(max(begin - 6, 0), begin + 6):
        _advance(y, max(begin - 4, 0), image, known, fill, luma, between, line, ring0, ring1)
    for y in range(begin, end):
        _advance(y + 6, 0, image, known, fill, luma, between, line, ring0, ring1)
        _spline_into(ring1, y, h, 2, line, c)
        a, b = ring0[y & (RING - 1)], ring1[y & (RING - 1)]
        first = y % 2 == 0
        for x in range(w):
            fine, next_ = a[x] - b[x], b[x] - c[x]
            energy = max(fine * fine * q1, next_ * next_ * q2)
            v = square * (read_var + shot * max(c[x], zero)) + tiny
            p = min(max((energy / v - one) * steep, zero), one)
            best[x] = p if first else max(best[x], p)
            mean[x] = c[x] if first else mean[x] + c[x]
        if first and y < h - 1:
            continue
        # A last odd row or column stands for its missing neighbour too.
        share = quarter + quarter if first else quarter
        best[w], mean[w] = best[w - 1], mean[w - 1]
        target, means = sure[y // 2], level[y // 2]
        cells = target.size
        bests, both = best[: 2 * cells].reshape(cells, 2), mean[: 2 * cells].reshape(cells, 2)
        for k in range(cells):
            target[k] = max(bests[k, 0], bests[k, 1])
            means[k] = share * (both[k, 0] + both[k, 1])


def _grow_cpu(half: Floats, steps: int) -> Floats:
    shapes = (cv2.MORPH_CROSS, cv2.MORPH_RECT)
    for step in range(steps):
        half = cv2.dilate(half, cv2.getStructuringElement(shapes[step % 2], (3, 3)))
    return half


def _shrink_cpu(fields: Sequence[Field], level: Floats) -> list[Floats]:
    h = level.shape[0]
    spare = [np.empty_like(level), np.empty_like(level)]
    changes = []
    for field in fields:
        rule = field.rule
        numbers = np.asarray((rule.read_var, rule.shot, 3.0 * rule.sigmas**2), np.float32)
        change = np.empty_like(level)
        fine = np.ascontiguousarray(field.plane, np.float32)
        for k, weight in enumerate(rule.weights):
            coarse = spare[k % 2]
            in_bands(
                _shrink_rows, h, fine, 1 << (field.first + k), level, numbers, np.float32(weight),
                k > 0, coarse, change,
            )  # fmt: skip
            fine = coarse
        changes.append(change)
    return changes


@compiled
def _shrink_rows(
    y0: int,
    y1: int,
    fine: Floats,
    step: int,
    level: Floats,
    numbers: Floats,
    weight: float,
    add: bool,
    coarse: Floats,
    change: Floats,
) -> None:
    h, w = fine.shape
    far, middle, near = np.float32(1 / 16), np.float32(6 / 16), np.float32(4 / 16)
    read_var, shot, triple = numbers[0], numbers[1], numbers[2]
    zero, one, third = np.float32(0.0), np.float32(1.0), np.float32(1.0 / 3.0)
    tiny = np.float32(TINY)
    pad = 2 * step
    line = np.empty(w + 2 * pad, np.float32)
    inner = line[pad : pad + w]
    a, b, d, e = line[:w], line[step : step + w], line[3 * step : 3 * step + w], line[2 * pad :]
    for y in range(y0, y1):
        centre = fine[y]
        up, down = fine[_fold(y - step, h)], fine[_fold(y + step, h)]
        top, bottom = fine[_fold(y - pad, h)], fine[_fold(y + pad, h)]
        for x in range(w):
            inner[x] = middle * centre[x] + near * (up[x] + down[x]) + far * (top[x] + bottom[x])
        for k in range(1, pad + 1):
            line[pad - k] = inner[_fold(-k, w)]
            line[pad + w - 1 + k] = inner[_fold(w - 1 + k, w)]
        target, light, total = coarse[y], level[y], change[y]
        for x in range(w):
            smoothed = middle * inner[x] + near * (b[x] + d[x]) + far * (a[x] + e[x])
            target[x] = smoothed
            detail = centre[x] - smoothed
            v = triple * (read_var + shot * max(light[x], zero)) + tiny
            keep = min(max(detail * detail * weight / v - third, zero), one)
            moved = (keep - one) * detail
            total[x] = total[x] + moved if add else moved


def _finish_cpu(
    source: Source,
    protected: Floats,
    change: Floats,
    rule: Rule,
    amount: float,
    colour: Colour | None,
) -> Floats:
    image = np.ascontiguousarray(source.image, np.float32)
    out = np.empty_like(image)
    numbers = [rule.read_var, rule.shot, *rule.weights, 3.0 * rule.sigmas**2, amount]
    halves = [protected, change]
    if colour is not None:
        scale = (rule.sigmas / colour.sigmas) ** 2
        numbers += [colour.amount, *(scale / max(s * s, 1e-12) for s in colour.shares)]
        halves += [colour.red, colour.blue, colour.red_change, colour.blue_change]
    none = np.empty((0, 0), np.float32)
    halves += [none] * (6 - len(halves))
    in_bands(
        _finish_rows, image.shape[0], image, _or_empty(source.mask, np.bool_),
        _or_empty(source.light, np.float32), np.asarray(LUMA, np.float32), *halves,
        np.asarray(numbers, np.float32), out,
    )  # fmt: skip
    return out


@compiled
def _light_row(
    a: Floats, b: Floats, c: Floats, free: Floats, coarse: Floats, numbers: Floats,
    inverse: Floats, light: Floats,
) -> None:  # fmt: skip
    """Change of luminance of one row."""
    read_var, shot, q1, q2 = numbers[0], numbers[1], numbers[2], numbers[3]
    triple, amount = numbers[4], numbers[5]
    zero, one, half = np.float32(0.0), np.float32(1.0), np.float32(0.5)
    third, tiny = np.float32(1.0 / 3.0), np.float32(TINY)
    for x in range(light.size):
        w1, w2 = a[x] - b[x], b[x] - c[x]
        inv = one / (triple * (read_var + shot * max(c[x], zero)) + tiny)
        e2 = w2 * w2 * q2
        k1 = min(max(half * (w1 * w1 * q1 + e2) * inv - third, zero), one)
        k2 = min(max(e2 * inv - third, zero), one)
        inverse[x] = inv
        light[x] = amount * free[x] * ((k1 - one) * w1 + (k2 - one) * w2 + coarse[x])


@compiled
def _add_row(source: Floats, light: Floats, channels: int, target: Floats) -> None:
    if channels == 1:
        for x in range(light.size):
            target[x] = source[x] + light[x]
    else:
        for x in range(light.size):
            target[3 * x] = source[3 * x] + light[x]
            target[3 * x + 1] = source[3 * x + 1] + light[x]
            target[3 * x + 2] = source[3 * x + 2] + light[x]


@compiled
def _finish_rows(
    y0: int,
    y1: int,
    image: Floats,
    known: Bools,
    fill: Floats,
    luma: Floats,
    protected: Floats,
    change: Floats,
    red: Floats,
    blue: Floats,
    red_change: Floats,
    blue_change: Floats,
    numbers: Floats,
    out: Floats,
) -> None:
    h, w, channels = image.shape
    room = w + 17
    between, line = np.empty(room, np.float32), np.empty(room, np.float32)
    ring0, ring1 = np.empty((RING, w), np.float32), np.empty((RING, w), np.float32)
    c, free, coarse = (
        np.empty(w, np.float32), np.empty(room, np.float32), np.empty(room, np.float32),
    )  # fmt: skip
    first, second = np.empty(room, np.float32), np.empty(room, np.float32)
    first_change, second_change = np.empty(room, np.float32), np.empty(room, np.float32)
    inverse, light = np.empty(w, np.float32), np.empty(w, np.float32)
    zero, one, third = np.float32(0.0), np.float32(1.0), np.float32(1.0 / 3.0)
    colours, masked = red.shape[0] > 0, known.shape[0] > 0
    lr, lb = luma[0], luma[2]
    amount = q_red = q_blue = zero
    if colours:
        amount, q_red, q_blue = numbers[6], numbers[7], numbers[8]
    for y in range(max(y0 - 6, 0), y0 + 6):
        _advance(y, max(y0 - 4, 0), image, known, fill, luma, between, line, ring0, ring1)
    for y in range(y0, y1):
        _advance(y + 6, 0, image, known, fill, luma, between, line, ring0, ring1)
        _spline_into(ring1, y, h, 2, line, c)
        _double_row(protected, y, between, free)
        _double_row(change, y, between, coarse)
        for x in range(w):
            free[x] = one - free[x]
        if masked:
            use = known[y]
            for x in range(w):
                free[x] = free[x] if use[x] else zero
        _light_row(
            ring0[y & (RING - 1)], ring1[y & (RING - 1)], c, free, coarse, numbers, inverse, light
        )
        source, target = image[y], out[y]
        if colours:
            _double_row(red, y, between, first)
            _double_row(blue, y, between, second)
            _double_row(red_change, y, between, first_change)
            _double_row(blue_change, y, between, second_change)
            for x in range(w):
                r, g, b = source[x, 0], source[x, 1], source[x, 2]
                fine_r, fine_b = r - g - first[x], b - g - second[x]
                k_r = min(max(fine_r * fine_r * q_red * inverse[x] - third, zero), one)
                k_b = min(max(fine_b * fine_b * q_blue * inverse[x] - third, zero), one)
                dr = amount * free[x] * (first_change[x] + (k_r - one) * fine_r)
                db = amount * free[x] * (second_change[x] + (k_b - one) * fine_b)
                base = light[x] - lr * dr - lb * db
                target[x, 0] = r + (base + dr)
                target[x, 1] = g + base
                target[x, 2] = b + (base + db)
        else:
            _add_row(source.reshape(-1), light, channels, target.reshape(-1))
