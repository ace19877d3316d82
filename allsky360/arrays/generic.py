"""Array-API bodies of the primitives: shifts of a mirrored array, no library beyond the standard.

They define what a primitive means; the faster bodies are tested against them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np

from allsky360.arrays.networks import MEDIAN9, SORT8, exchange

Array = Any

LUMA = (0.2126, 0.7152, 0.0722)
"""Rec. 709 luminance weights of linear RGB."""


def _xp(array: Array) -> Any:
    return array_api_compat.array_namespace(array)


def on_device_of(array: Array, values: Any, dtype: str = "float32") -> Array:
    """Bring host numbers to the library and device of ``array``."""
    host = np.asarray(values, dtype=dtype)
    if isinstance(array, np.ndarray):
        return host
    return _xp(array).asarray(host, device=array_api_compat.device(array))


def _clamp(x: Array, low: float, high: float) -> Array:
    """Limit values to ``[low, high]``.

    Not ``xp.clip``: array-api-compat writes that one with boolean-mask assignments, for each of
    which CuPy waits for the device.
    """
    xp = _xp(x)
    device = array_api_compat.device(x)
    bottom, top = (xp.asarray(v, dtype=x.dtype, device=device) for v in (low, high))
    return xp.minimum(xp.maximum(x, bottom), top)


def _mirror(n: int, pad: int) -> list[int]:
    """Indices that extend an axis by ``pad`` on both sides, mirrored about the edge samples."""
    if n == 1:
        return [0] * (1 + 2 * pad)
    period = 2 * (n - 1)
    folded = [abs((i + period) % period) for i in range(-pad, n + pad)]
    return [i if i < n else period - i for i in folded]


def pad_mirror(image: Array, pad: int) -> Array:
    """Extend rows and columns by ``pad`` mirrored samples."""
    xp = _xp(image)
    for axis in (0, 1):
        index = on_device_of(image, _mirror(image.shape[axis], pad), "int64")
        image = xp.take(image, index, axis=axis)
    return image


class _Shifts:
    """Views of a mirrored image moved by whole pixels."""

    def __init__(self, image: Array, pad: int) -> None:
        self.h, self.w = image.shape[:2]
        self.pad = pad
        self.padded = pad_mirror(image, pad)

    def __call__(self, dy: int, dx: int) -> Array:
        y, x = self.pad + dy, self.pad + dx
        return self.padded[y : y + self.h, x : x + self.w, ...]


def convolve_separable(image: Array, kernel: Sequence[float]) -> Array:
    """Sum of shifted copies, rows then columns."""
    radius = len(kernel) // 2
    shift = _Shifts(image, radius)
    rows = sum(k * shift(0, i - radius) for i, k in enumerate(kernel))
    shift = _Shifts(rows, radius)
    return sum(k * shift(i - radius, 0) for i, k in enumerate(kernel))


def box_mean(image: Array, radius_px: int) -> Array:
    """Box as a separable kernel."""
    n = 2 * radius_px + 1
    return convolve_separable(image, [1.0 / n] * n)


def _ring(step: int) -> list[tuple[int, int]]:
    return [(y, x) for y in (-step, 0, step) for x in (-step, 0, step) if (y, x) != (0, 0)]


def median3(image: Array, step: int) -> Array:
    """Middle of nine shifted copies."""
    shift = _Shifts(image, step)
    return exchange([image, *(shift(y, x) for y, x in _ring(step))], MEDIAN9)[4]


def maximum3(image: Array) -> Array:
    """Largest of nine shifted copies."""
    xp = _xp(image)
    shift = _Shifts(image, 1)
    result = image
    for y, x in _ring(1):
        result = xp.maximum(result, shift(y, x))
    return result


def block_mean(image: Array, size: int) -> Array:
    """Mean over two reshaped axes."""
    xp = _xp(image)
    h, w = image.shape[0] // size, image.shape[1] // size
    image = image[: h * size, : w * size, ...]
    image = xp.reshape(image, (h, size, w, size, *image.shape[2:]))
    return xp.mean(xp.mean(image, axis=3), axis=1)


def remap(image: Array, x: Array, y: Array) -> Array:
    """Bilinear gather; samples outside the image count as 0."""
    xp = _xp(image)
    h, w = image.shape[:2]
    flat = xp.reshape(image, (h * w, -1))
    x0, y0 = xp.floor(x), xp.floor(y)
    fx, fy = x - x0, y - y0
    ix, iy = xp.astype(x0, xp.int64), xp.astype(y0, xp.int64)
    total = 0.0
    for dy, wy in ((0, 1.0 - fy), (1, fy)):
        for dx, wx in ((0, 1.0 - fx), (1, fx)):
            jx, jy = ix + dx, iy + dy
            inside = (jx >= 0) & (jx < w) & (jy >= 0) & (jy < h)
            index = _clamp(jy, 0, h - 1) * w + _clamp(jx, 0, w - 1)
            weight = wx * wy * xp.astype(inside, image.dtype)
            total = total + xp.take(flat, xp.reshape(index, (-1,)), axis=0) * xp.reshape(
                weight, (-1, 1)
            )
    return xp.reshape(total, (*x.shape, *image.shape[2:]))


BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def pyramid_down(image: Array) -> Array:
    """Binomial blur, every other sample."""
    return convolve_separable(image, BINOMIAL)[::2, ::2, ...]


def pyramid_up(image: Array, shape: tuple[int, int]) -> Array:
    """Zeros between the samples, then the binomial blur times four.

    The image is mirrored before the zeros go in, so that the edges keep their level.
    """
    xp = _xp(image)
    padded = pad_mirror_edge(image, 2)
    h, w = padded.shape[:2]
    wide = xp.zeros(
        (2 * h, 2 * w, *image.shape[2:]),
        dtype=image.dtype,
        device=array_api_compat.device(image),
    )
    wide[::2, ::2, ...] = padded
    blurred = 4.0 * convolve_separable(wide, BINOMIAL)
    return blurred[4 : 4 + shape[0], 4 : 4 + shape[1], ...]


def pad_mirror_edge(image: Array, pad: int) -> Array:
    """Mirror at the leading edge; repeat the last sample at the trailing edge (OpenCV's pyrUp)."""
    xp = _xp(image)
    for axis in (0, 1):
        n = image.shape[axis]
        index = [min(i, n - 1) for i in range(pad, 0, -1)] + [*range(n)] + [n - 1] * pad
        image = xp.take(image, on_device_of(image, index, "int64"), axis=axis)
    return image


def _parity(image: Array, ry: int, rx: int) -> tuple[Array, Array, Array, Array]:
    """Masks of red, green in red rows, green in blue rows, blue."""
    xp = _xp(image)
    device = array_api_compat.device(image)
    h, w = image.shape
    red_row = ((xp.arange(h, device=device) - ry) % 2 == 0)[:, None]
    red_column = ((xp.arange(w, device=device) - rx) % 2 == 0)[None, :]
    return (
        red_row & red_column,
        red_row & ~red_column,
        ~red_row & red_column,
        ~red_row & ~red_column,
    )


def demosaic(
    mosaic: Array,
    ry: int,
    rx: int,
    method: str,
    noise: float,
    clip: float,
    balance: Sequence[float],
) -> Array:
    """Directional colour differences, mixed by their unrest; see :mod:`allsky360.imaging.debayer`.

    In numbers: every pixel gets two estimates of "green less the other colour", along its row and
    along its column, by the filter ``(-1 2 -2 2 -1) / 4``. Each is averaged over five samples
    along its direction. They are mixed by the inverse square of their unrest: the sum over 3x3
    pixels of how much the estimate changes over two pixels along its direction.
    """
    xp = _xp(mosaic)
    masks = _parity(mosaic, ry, rx)
    if method == "bilinear":
        return _plain_colours(mosaic, masks)
    red, green_r, green_b, blue = masks
    own = red | blue
    one, zero = xp.ones_like(mosaic), xp.zeros_like(mosaic)
    gain_r, gain_b = one * (balance[0] / balance[1]), one * (balance[2] / balance[1])
    q = mosaic * xp.where(red, gain_r, xp.where(blue, gain_b, one))
    floor = (9.0 * noise) ** 2 + 1e-12
    smooth, unrest = [], []
    for dy, dx in ((0, 1), (1, 0)):
        s = _Shifts(q, 6)

        def line(values: _Shifts, *taps: float, dy: int = dy, dx: int = dx) -> Array:
            reach = len(taps) // 2
            return sum(
                t * values((i - reach) * dy, (i - reach) * dx) for i, t in enumerate(taps) if t
            )

        e = _Shifts(line(s, -0.25, 0.5, -0.5, 0.5, -0.25), 3)
        # Neighbours see the other colour less green: the differences alternate in sign.
        smooth.append(line(e, 0.2, -0.2, 0.2, -0.2, 0.2))
        change = _Shifts(xp.abs(e(-dy, -dx) - e(dy, dx)), 1)
        unrest.append(sum(change(j, i) for j in (-1, 0, 1) for i in (-1, 0, 1)))
    weights = unrest[1] ** 2 + floor, unrest[0] ** 2 + floor
    mixed = (weights[0] * smooth[0] + weights[1] * smooth[1]) / (weights[0] + weights[1])
    s = _Shifts(q, 1)
    low = xp.minimum(xp.minimum(s(0, -1), s(0, 1)), xp.minimum(s(-1, 0), s(1, 0)))
    mixed = xp.maximum(mixed, low - 3.0 * noise - q)
    near, plain = (_maximum_square(mosaic, reach) >= clip for reach in (4, 2))
    d = xp.where(own, xp.where(near, _local_difference(mosaic, q, noise, clip), mixed), zero)
    green = xp.where(own, q + d, mosaic)
    s = _Shifts(d, 1)
    across, along = 0.5 * (s(0, -1) + s(0, 1)), 0.5 * (s(-1, 0) + s(1, 0))
    corners = 0.25 * (s(-1, -1) + s(-1, 1) + s(1, -1) + s(1, 1))
    r = (green - xp.where(blue, corners, xp.where(green_r, across, along))) / gain_r
    b = (green - xp.where(red, corners, xp.where(green_b, across, along))) / gain_b
    simple = _plain_colours(mosaic, masks)
    # Plain means carry light over the rim of what saturates, which shows as purple: there red may
    # exceed green only as far as blue falls short of it, four times, and blue likewise.
    sr, sb = simple[..., 0] * gain_r, simple[..., 2] * gain_b
    simple = (
        xp.minimum(sr, green + 4.0 * xp.maximum(green - sb, zero)) / gain_r,
        xp.minimum(sb, green + 4.0 * xp.maximum(green - sr, zero)) / gain_b,
    )
    r = xp.where(red, mosaic, xp.where(plain, simple[0], r))
    b = xp.where(blue, mosaic, xp.where(plain, simple[1], b))
    return xp.stack([r, green, b], axis=-1)


def _maximum_square(image: Array, reach: int) -> Array:
    xp = _xp(image)
    s = _Shifts(image, reach)
    result = image
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            result = xp.maximum(result, s(y, x))
    return result


def _local_difference(mosaic: Array, q: Array, noise: float, clip: float) -> Array:
    """Hamilton-Adams, whose reach is short: what is taken where something near saturates."""
    xp = _xp(mosaic)
    s, raw = _Shifts(q, 2), _Shifts(mosaic, 2)
    total = weight = 0.0
    for dy, dx in ((0, 1), (1, 0)):
        a, b = s(-dy, -dx), s(dy, dx)
        curve = 2.0 * q - s(-2 * dy, -2 * dx) - s(2 * dy, 2 * dx)
        change = xp.abs(a - b) + xp.abs(curve)
        top = mosaic
        for k in (-2, -1, 1, 2):
            top = xp.maximum(top, raw(k * dy, k * dx))
        curve = xp.where(top >= clip, xp.zeros_like(curve), curve)
        w = 1.0 / (change**2 + (2.0 * noise) ** 2 + 1e-12)
        total, weight = total + w * (0.5 * (a + b) + 0.25 * curve), weight + w
    low = xp.minimum(xp.minimum(s(0, -1), s(0, 1)), xp.minimum(s(-1, 0), s(1, 0)))
    return xp.maximum(total / weight, low - 3.0 * noise) - q


def _plain_colours(mosaic: Array, masks: tuple[Array, Array, Array, Array]) -> Array:
    """Every colour as the mean of its nearest samples."""
    xp = _xp(mosaic)
    red, green_r, green_b, blue = masks
    s = _Shifts(mosaic, 1)
    across, along = 0.5 * (s(0, -1) + s(0, 1)), 0.5 * (s(-1, 0) + s(1, 0))
    corners = 0.25 * (s(-1, -1) + s(-1, 1) + s(1, -1) + s(1, 1))
    r = xp.where(red, mosaic, xp.where(blue, corners, xp.where(green_r, across, along)))
    b = xp.where(blue, mosaic, xp.where(red, corners, xp.where(green_b, across, along)))
    green = xp.where(red | blue, 0.5 * (across + along), mosaic)
    return xp.stack([r, green, b], axis=-1)


def repair_isolated(
    mosaic: Array, sigmas: float, read_var: float, shot: float, in_place: bool = False
) -> tuple[Array, Array]:
    """Compare with like-coloured and with adjacent pixels; always gives back a new array."""
    xp = _xp(mosaic)
    s = _Shifts(mosaic, 2)
    like = exchange([s(y, x) for y, x in _ring(2)], SORT8)
    low, high = like[0], like[7]
    adjacent = 0.25 * (s(0, -1) + s(0, 1) + s(-1, 0) + s(1, 0))
    around = 0.125 * sum(
        s(y, x) for y, x in ((-2, -1), (2, -1), (-2, 1), (2, 1), (-1, -2), (-1, 2), (1, -2), (1, 2))
    )
    middle = 0.5 * (like[3] + like[4])
    excess, spill = mosaic - middle, adjacent - around
    zero = xp.zeros_like(mosaic)
    hot = (mosaic > high + sigmas * xp.sqrt(read_var + shot * xp.maximum(high, zero))) & (
        spill < SPILL * excess
    )
    cold = (mosaic < low - sigmas * xp.sqrt(read_var + shot * xp.maximum(low, zero))) & (
        spill > SPILL * excess
    )
    wrong = hot | cold
    return xp.where(wrong, middle, mosaic), xp.sum(xp.astype(wrong, xp.int64))


SPILL = 0.10
"""Share of a pixel's excess that its four neighbours must show for it to be light, not a defect.

A star of 1.2 px FWHM centred on a pixel still puts 15-20 % of its peak into each neighbour.
"""

SHORTEST_FLOOR = 1e-9
"""Trust the shortest exposure keeps when everything is saturated."""

FLOOR = 1e-18
"""Trust every exposure keeps: what is left where the shorter ones show something else."""

OPEN = 0.90
"""Fraction of full well below which a value of the reference is a measurement, not a bound."""

SLACK = 0.8
"""A shorter exposure contradicts a saturated one where it shows less than this share of it."""


def grid_positions(n: int, size: int, blocks: int) -> tuple[Any, Any]:
    """Where samples lie between the centres of blocks: index of the block before, and the part."""
    position = np.clip((np.arange(n) + 0.5) / size - 0.5, 0.0, max(blocks - 1, 0))
    before = np.minimum(position.astype(np.int64), max(blocks - 2, 0))
    return before, position - before


def block_differences(
    values: Sequence[Array], ratios: Sequence[float], full: Sequence[float], size: int
) -> tuple[Array, Array, Array]:
    """Compare each exposure with the longest that is open, else with what is a lower bound."""
    xp = _xp(values[0])
    light = values[0] / ratios[0]
    closed = values[0] >= OPEN * full[0]
    step = 2 if light.ndim == 2 else 1
    sums: tuple[list[Array], ...] = ([], [], [])
    for value, ratio, well in zip(values[1:], ratios[1:], full[1:], strict=True):
        zero = xp.zeros_like(light)
        now = value / ratio
        apart = xp.where(closed, xp.minimum(now - SLACK * light, zero), now - light)
        change = xp.abs(light[:, step:, ...] - light[:, :-step, ...])
        change = xp.concat([change, zero[:, :step, ...]], axis=1)
        for kind, plane in enumerate((apart, xp.maximum(light, zero), change)):
            sums[kind].append(_block_sum(plane, size))
        light = xp.where(closed, now, light)
        closed = closed & (value >= OPEN * well)
    return xp.stack(sums[0]), xp.stack(sums[1]), xp.stack(sums[2])


def _block_sum(image: Array, size: int) -> Array:
    """Sum over blocks and channels; blocks at the far edges may be cut."""
    xp = _xp(image)
    h, w = image.shape[:2]
    if image.ndim == 3:
        image = xp.sum(image, axis=2)
    device = array_api_compat.device(image)
    tall, wide = -h % size, -w % size
    if tall:
        below = xp.zeros((tall, w), dtype=image.dtype, device=device)
        image = xp.concat([image, below], axis=0)
    if wide:
        beside = xp.zeros((h + tall, wide), dtype=image.dtype, device=device)
        image = xp.concat([image, beside], axis=1)
    image = xp.reshape(image, ((h + tall) // size, size, (w + wide) // size, size))
    return xp.sum(image, axis=(1, 3))


def merge_weighted(
    values: Sequence[Array],
    ratios: Sequence[float],
    full: Sequence[float],
    read_var: float,
    shot: float,
    knee: tuple[float, float],
    keep: Array | None,
    size: int,
    scale: float,
) -> tuple[Array, Array]:
    """Two passes: pooled first estimate, then inverse-variance weights from it."""
    xp = _xp(values[0])
    shortest = min(range(len(ratios)), key=lambda k: ratios[k])
    trust = []
    cover = bound = seen = xp.zeros_like(values[0])
    for k, value in enumerate(values):
        peak = maximum3(value) if value.ndim == 2 else xp.max(value, axis=2, keepdims=True)
        t = _clamp((peak / full[k] - knee[0]) / (knee[1] - knee[0]), 0.0, 1.0)
        s = xp.broadcast_to(1.0 - t * t * (3.0 - 2.0 * t), value.shape)
        part = xp.ones_like(value)
        if keep is not None:
            # Where all longer exposures saturate, as much light as theirs is no contradiction.
            enough = (value / ratios[k] >= SLACK * bound) & (seen < 0.5)
            part = xp.where(enough, part, part * interpolated(keep[k, ...], value.shape, size))
        cover = xp.maximum(cover, part * s)
        floor = SHORTEST_FLOOR if k == shortest else FLOOR
        trust.append(part * xp.maximum(s, xp.full_like(s, floor)))
        bound, seen = xp.maximum(bound, value / ratios[k]), xp.maximum(seen, trust[-1])
    clipped = xp.astype(xp.round(255.0 * (1.0 - cover)), xp.uint8)
    if len(values) == 1:
        return values[0] * (scale / ratios[0]), clipped
    light = sum(s * v for s, v in zip(trust, values, strict=True))
    time = sum(s * r for s, r in zip(trust, ratios, strict=True))
    first = xp.maximum(light / time, xp.zeros_like(light))
    total = weight = 0.0
    for s, v, r in zip(trust, values, ratios, strict=True):
        w = s * r / (read_var + shot * r * first)
        total = total + w * v
        weight = weight + w * r
    return scale * total / weight, clipped


def interpolated(blocks: Array, shape: tuple[int, ...], size: int) -> Array:
    """Bilinear between the centres of blocks, at every sample."""
    xp = _xp(blocks)
    for axis in (0, 1):
        count = blocks.shape[axis]
        before, part = grid_positions(shape[axis], size, count)
        low = xp.take(blocks, on_device_of(blocks, before, "int64"), axis=axis)
        after = np.minimum(before + 1, count - 1)
        high = xp.take(blocks, on_device_of(blocks, after, "int64"), axis=axis)
        column = on_device_of(blocks, part)
        column = column[:, None] if axis == 0 else column[None, :]
        blocks = low + column * (high - low)
    return blocks if len(shape) == 2 else blocks[..., None]
