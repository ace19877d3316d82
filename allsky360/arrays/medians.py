"""Medians over windows, repair of what stands out of them, and the pyramidal median transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat
import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.denoise import TINY, _double_row, double
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import SPILL, pad_mirror
from allsky360.arrays.networks import exchange, median_network
from allsky360.arrays.wavelets import _fold

Array = Any
Floats = NDArray[np.float32]

COLOURED = 0.10
"""Share of a channel's excess that a star shows in every other channel; a defect does not."""
RUN = 256
"""Numbers of a row that are passed over together where none of them stands out."""
HALF_COLOURED = 0.5
"""A defect shows less than this share of its excess in both other channels."""


def median_window(image: Array, size: int) -> Array:
    """Median over a ``size`` x ``size`` window, borders mirrored.

    Parameters
    ----------
    image
        ``(H, W)`` or ``(H, W, C)`` float32; channels apart.
    size
        3 or 5.
    """
    if size not in (3, 5):
        raise ValueError(f"size must be 3 or 5, got {size}")
    return body_for(image, cpu=_window_cpu, generic=_window_generic)(image, size)


def repair_outliers(
    image: Array, size: int, sigmas: float, read_var: Sequence[float], shot: Sequence[float],
    keep_stars: bool,
) -> Array:  # fmt: skip
    """Replace by the window's median what stands out of its surroundings.

    A value stands out where it lies ``sigmas`` beyond the median *and* beyond all four neighbours
    two pixels away. With ``keep_stars`` it must be a defect too: either its four nearest neighbours
    show less than 10 % of its excess, or (in colour) the other channels show none of it, both less
    than half and one less than 10 %.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32; channels apart.
    size
        3 or 5.
    sigmas
        Of the noise at the level compared with.
    read_var, shot
        A channel each: noise variance ``read_var + shot * max(level, 0)``.
    keep_stars
        See above.
    """
    if size not in (3, 5):
        raise ValueError(f"size must be 3 or 5, got {size}")
    return body_for(image, cpu=_repair_cpu, generic=_repair_generic)(
        image, size, float(sigmas), list(read_var), list(shot), keep_stars
    )


def median_details(image: Array, scales: int) -> list[Array]:
    """Split by the pyramidal median transform.

    ``m_1`` is the 3 x 3 median of the image and ``w_1`` what it takes away; the next scale does the
    same to the means of ``m_1`` over 2 x 2 cells, and so on (Starck, Murtagh & Bijaoui 1998, "Image
    Processing and Data Analysis", section 1.5; here with the smallest window and cell means).

    Parameters
    ----------
    image
        ``(H, W, C)`` float32.
    scales
        How many.

    Returns
    -------
    list
        ``w_j, m_j`` by turns, each half the size of the scale before.
    """
    found = []
    for scale in range(scales):
        middle = median_window(image, 3)
        found += [image - middle, middle]
        if scale < scales - 1:
            image = cell_means(middle)
    return found


def median_change(
    image: Array,
    amounts: Sequence[float],
    threshold: float,
    read_var: float,
    shot: float,
    shares: Sequence[Sequence[float]],
) -> Array:
    """Return what taking insignificant details of all scales away adds to an image.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32.
    amounts
        One a scale, 0 to 1: share of what counts as noise that is taken away.
    threshold
        Sigmas up to which a detail counts as noise; from twice that on it is kept.
    read_var, shot
        Noise variance of one pixel, ``read_var + shot * max(median, 0)``.
    shares
        Noise of each scale and channel over that.
    """
    body = body_for(image, cpu=_change_cpu, generic=_change_generic)
    middle = median_window(image, 3)
    coarse = None
    if len(amounts) > 1 and any(amounts[1:]):
        coarse = median_change(
            cell_means(middle), amounts[1:], threshold, read_var, shot, shares[1:]
        )
    weights = [1.0 / max(3.0 * (threshold * s) ** 2, 1e-12) for s in shares[0]]
    change: Array = body(image, middle, coarse, float(amounts[0]), weights, read_var, shot)
    return change


def blend(
    image: Array, change: Array, amount: float, protected: Array | None, mask: Array | None
) -> Array:
    """Return ``image + amount (1 - protected) change``; outside the mask the image.

    Parameters
    ----------
    image, change
        ``(H, W, C)`` float32; ``change`` may be overwritten.
    protected
        Half plane (see :mod:`allsky360.arrays.denoise`), or None.
    mask
        ``(H, W)`` bool, or None.
    """
    body = body_for(image, cpu=_blend_cpu, generic=_blend_generic)
    return body(image, change, float(amount), protected, mask)


def cell_means(image: Array) -> Array:
    """Mean of each 2 x 2 cell of ``(H, W, C)``; an odd edge stands for its missing neighbour."""
    if isinstance(image, np.ndarray):
        h, w = image.shape[:2]
        if h % 2 or w % 2:
            image = cv2.copyMakeBorder(image, 0, h % 2, 0, w % 2, cv2.BORDER_REPLICATE)
        out = cv2.resize(image, ((w + 1) // 2, (h + 1) // 2), interpolation=cv2.INTER_AREA)
        return out[..., None] if out.ndim == 2 else out
    xp = array_api_compat.array_namespace(image)
    for axis in (0, 1):
        if image.shape[axis] % 2:
            last = image[-1:, ...] if axis == 0 else image[:, -1:, ...]
            image = xp.concat([image, last], axis=axis)
    rows = image[0::2, ...] + image[1::2, ...]
    return 0.25 * (rows[:, 0::2, ...] + rows[:, 1::2, ...])


# Array-API bodies.


def _shifted(image: Array, reach: int) -> Any:
    h, w = image.shape[:2]
    padded = pad_mirror(image, reach)

    def at(dy: int, dx: int) -> Array:
        return padded[reach + dy : reach + dy + h, reach + dx : reach + dx + w, ...]

    return at


def _window_generic(image: Array, size: int) -> Array:
    reach = size // 2
    at = _shifted(image, reach)
    near = range(-reach, reach + 1)
    values = [at(dy, dx) for dy in near for dx in near]
    return exchange(values, median_network(size * size))[size * size // 2]


def _repair_generic(
    image: Array,
    size: int,
    sigmas: float,
    read_var: list[float],
    shot: list[float],
    keep_stars: bool,
) -> Array:
    xp = array_api_compat.array_namespace(image)
    at = _shifted(image, 2)
    middle = _window_generic(image, size)
    channels = image.shape[2]
    excess = image - middle
    four = (at(0, -2), at(0, 2), at(-2, 0), at(2, 0))
    high = xp.maximum(xp.maximum(four[0], four[1]), xp.maximum(four[2], four[3]))
    low = xp.minimum(xp.minimum(four[0], four[1]), xp.minimum(four[2], four[3]))
    adjacent = 0.25 * (at(0, -1) + at(0, 1) + at(-1, 0) + at(1, 0))
    ring = ((-2, -1), (2, -1), (-2, 1), (2, 1), (-1, -2), (-1, 2), (1, -2), (1, 2))
    spill = adjacent - 0.125 * sum(at(dy, dx) for dy, dx in ring)
    out = []
    for c in range(channels):
        v, m, e = image[..., c], middle[..., c], excess[..., c]
        zero = xp.zeros_like(v)

        def sigma(level: Array, c: int = c, zero: Array = zero) -> Array:
            return sigmas * xp.sqrt(read_var[c] + shot[c] * xp.maximum(level, zero))

        wrong = (v > high[..., c] + sigma(high[..., c])) & (e > sigma(m))
        wrong = wrong | ((v < low[..., c] - sigma(low[..., c])) & (-e > sigma(m)))
        if keep_stars:
            sign = xp.where(e > 0.0, xp.ones_like(e), -xp.ones_like(e))
            size_of = xp.abs(e)
            defect = spill[..., c] * sign < SPILL * size_of
            if channels == 3:
                a, b = (excess[..., k] * sign for k in range(3) if k != c)
                defect = defect | (
                    (xp.minimum(a, b) < COLOURED * size_of)
                    & (xp.maximum(a, b) < HALF_COLOURED * size_of)
                )
            wrong = wrong & defect
        out.append(xp.where(wrong, m, v))
    return xp.stack(out, axis=-1)


def _double(image: Array, shape: tuple[int, int]) -> Array:
    xp = array_api_compat.array_namespace(image)
    return xp.stack([double(image[..., c], shape) for c in range(image.shape[2])], axis=-1)


def _change_generic(
    image: Array,
    middle: Array,
    coarse: Array | None,
    amount: float,
    weights: list[float],
    read_var: float,
    shot: float,
) -> Array:
    xp = array_api_compat.array_namespace(image)
    w = image - middle
    variance = read_var + shot * xp.maximum(middle, xp.zeros_like(middle)) + TINY
    parts = [w[..., c] ** 2 * q / variance[..., c] for c, q in enumerate(weights)]
    energy = xp.stack(parts, axis=-1) - 1.0 / 3.0
    keep = xp.minimum(xp.maximum(energy, xp.zeros_like(w)), xp.ones_like(w))
    change = amount * (keep - 1.0) * w
    return change if coarse is None else change + _double(coarse, tuple(image.shape[:2]))


def _blend_generic(
    image: Array, change: Array, amount: float, protected: Array | None, mask: Array | None
) -> Array:
    xp = array_api_compat.array_namespace(image)
    if protected is not None:
        change = change * (1.0 - double(protected, tuple(image.shape[:2])))[..., None]
    out = image + amount * change
    return out if mask is None else xp.where(mask[..., None], out, image)


# NumPy bodies.


def _window_cpu(image: Floats, size: int) -> Floats:
    """cv2.medianBlur repeats the edge where we mirror; its border is done again."""
    image = np.ascontiguousarray(image, np.float32)
    out: Floats = cv2.medianBlur(image, size)
    out = out.reshape(image.shape)
    reach, (h, w) = size // 2, image.shape[:2]
    for rows, columns in (
        (slice(0, min(reach, h)), slice(0, w)),
        (slice(max(h - reach, 0), h), slice(0, w)),
        (slice(0, h), slice(0, min(reach, w))),
        (slice(0, h), slice(max(w - reach, 0), w)),
    ):
        y = _mirrored(np.arange(rows.start - reach, rows.stop + reach), h)
        x = _mirrored(np.arange(columns.start - reach, columns.stop + reach), w)
        padded = np.ascontiguousarray(image[np.ix_(y, x)])
        strip = cv2.medianBlur(padded, size).reshape(padded.shape)
        out[rows, columns] = strip[reach:-reach, reach:-reach]
    return out


def _mirrored(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    period = max(2 * (n - 1), 1)
    index = np.abs(index) % period
    return np.where(index < n, index, period - index)


def _repair_cpu(
    image: Floats,
    size: int,
    sigmas: float,
    read_var: list[float],
    shot: list[float],
    keep_stars: bool,
) -> Floats:
    image = np.ascontiguousarray(image, np.float32)
    out = np.empty_like(image)
    in_bands(
        _repair_rows, image.shape[0], image, size // 2, np.float32(sigmas),
        np.asarray(read_var, np.float32), np.asarray(shot, np.float32), keep_stars, out,
    )  # fmt: skip
    return out


@compiled
def _repair_rows(
    y0: int,
    y1: int,
    image: Floats,
    reach: int,
    sigmas: float,
    read_var: Floats,
    shot: Floats,
    keep_stars: bool,
    out: Floats,
) -> None:
    h, w, channels = image.shape
    window = np.empty(25, np.float32)
    least = np.empty(channels, np.float32)
    for c in range(channels):
        least[c] = sigmas * np.sqrt(read_var[c])
    n, jump = w * channels, 2 * channels
    marks = np.zeros(n, np.uint8)
    near = np.empty(n, np.float32)
    for k in range(n):
        near[k] = least[k % channels]
    for y in range(y0, y1):
        row, target = image[y].reshape(-1), out[y].reshape(-1)
        up, down = image[_fold(y - 2, h)].reshape(-1), image[_fold(y + 2, h)].reshape(-1)
        marks[:] = 1
        inner, left, right = row[jump : n - jump], row[: n - 2 * jump], row[2 * jump :]
        above, below, room = up[jump : n - jump], down[jump : n - jump], near[jump : n - jump]
        marked = marks[jump : n - jump]
        # Without branches, so that it vectorises; almost no pixel is left after it.
        for k in range(inner.size):
            v = inner[k]
            high = max(max(left[k], right[k]), max(above[k], below[k])) + room[k]
            low = min(min(left[k], right[k]), min(above[k], below[k])) - room[k]
            marked[k] = np.uint8(v > high) | np.uint8(v < low)
        for k in range(n):
            target[k] = row[k]
        for first in range(0, n, RUN):
            some = marks[first : min(n, first + RUN)]
            found = np.uint8(0)
            for k in range(some.size):
                found |= some[k]
            if not found:
                continue
            for k in range(first, first + some.size):
                if marks[k]:
                    c = k % channels
                    target[k] = _judged(
                        image, y, k // channels, c, reach, sigmas, read_var[c], shot[c],
                        keep_stars, window,
                    )  # fmt: skip


@compiled
def _middle(image: Floats, y: int, x: int, c: int, reach: int, window: Floats) -> Any:
    h, w = image.shape[:2]
    n = 0
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            v = image[_fold(y + dy, h), _fold(x + dx, w), c]
            at = n
            while at > 0 and window[at - 1] > v:
                window[at] = window[at - 1]
                at -= 1
            window[at] = v
            n += 1
    return window[n // 2]


@compiled
def _judged(
    image: Floats, y: int, x: int, c: int, reach: int, sigmas: float, read_var: float, shot: float,
    keep_stars: bool, window: Floats,
) -> Any:  # fmt: skip
    """Value to be written: the median where the pixel stands out, else its own."""
    h, w, channels = image.shape
    zero = np.float32(0.0)
    v = image[y, x, c]
    yu, yd, xl, xr = _fold(y - 2, h), _fold(y + 2, h), _fold(x - 2, w), _fold(x + 2, w)
    p, q, r, s = image[y, xl, c], image[y, xr, c], image[yu, x, c], image[yd, x, c]
    high, low = max(max(p, q), max(r, s)), min(min(p, q), min(r, s))
    hot = v > high + sigmas * np.sqrt(read_var + shot * max(high, zero))
    cold = v < low - sigmas * np.sqrt(read_var + shot * max(low, zero))
    if not (hot or cold):
        return v
    m = _middle(image, y, x, c, reach, window)
    e = v - m if hot else m - v
    if not e > sigmas * np.sqrt(read_var + shot * max(m, zero)):
        return v
    if not keep_stars:
        return m
    sign = np.float32(1.0) if hot else np.float32(-1.0)
    y1, y2, x1, x2 = _fold(y - 1, h), _fold(y + 1, h), _fold(x - 1, w), _fold(x + 1, w)
    adjacent = np.float32(0.25) * (
        image[y, x1, c] + image[y, x2, c] + image[y1, x, c] + image[y2, x, c]
    )
    around = np.float32(0.125) * (
        image[yu, x1, c] + image[yd, x1, c] + image[yu, x2, c] + image[yd, x2, c]
        + image[y1, xl, c] + image[y1, xr, c] + image[y2, xl, c] + image[y2, xr, c]
    )  # fmt: skip
    if (adjacent - around) * sign < np.float32(SPILL) * e:
        return m
    if channels == 3:
        a, b = (c + 1) % 3, (c + 2) % 3
        ea = (image[y, x, a] - _middle(image, y, x, a, reach, window)) * sign
        eb = (image[y, x, b] - _middle(image, y, x, b, reach, window)) * sign
        if min(ea, eb) < np.float32(COLOURED) * e and max(ea, eb) < np.float32(HALF_COLOURED) * e:
            return m
    return v


def _change_cpu(
    image: Floats,
    middle: Floats,
    coarse: Floats | None,
    amount: float,
    weights: list[float],
    read_var: float,
    shot: float,
) -> Floats:
    image = np.ascontiguousarray(image, np.float32)
    h, w, channels = image.shape
    # The change goes where the median was: nobody needs that any more.
    in_bands(
        _change_rows, h, image.reshape(h, w * channels), middle.reshape(h, w * channels),
        np.empty((0, 0), np.float32) if coarse is None else coarse.reshape(coarse.shape[0], -1),
        channels, np.asarray((amount, read_var, shot), np.float32), np.asarray(weights, np.float32),
    )  # fmt: skip
    return middle


@compiled
def _change_rows(
    y0: int,
    y1: int,
    image: Floats,
    middle: Floats,
    coarse: Floats,
    channels: int,
    numbers: Floats,
    weights: Floats,
) -> None:
    amount, read_var, shot = numbers[0], numbers[1], numbers[2]
    zero, one, third = np.float32(0.0), np.float32(1.0), np.float32(1.0 / 3.0)
    near, far, tiny = np.float32(0.75), np.float32(0.25), np.float32(TINY)
    n = image.shape[1]
    weight = np.empty(n, np.float32)
    for k in range(n):
        weight[k] = weights[k % channels]
    rows, m = coarse.shape
    between = np.empty(m + 2 * channels, np.float32)
    line = np.zeros(max(2 * m, n), np.float32)
    for y in range(y0, y1):
        if rows:
            i = y >> 1
            a, b = coarse[i], coarse[min(max(i + (1 if y & 1 else -1), 0), rows - 1)]
            for k in range(m):
                between[k + channels] = near * a[k] + far * b[k]
            for c in range(channels):
                between[c] = between[channels + c]
                between[m + channels + c] = between[m + c]
            before, after = between[:m], between[2 * channels :]
            here = between[channels : channels + m]
            pairs = line[: 2 * m].reshape(m // channels, 2, channels)
            if channels == 3:
                a3, b3, c3 = before.reshape(-1, 3), here.reshape(-1, 3), after.reshape(-1, 3)
                for k in range(m // 3):
                    for c in range(3):
                        pairs[k, 0, c] = near * b3[k, c] + far * a3[k, c]
                        pairs[k, 1, c] = near * b3[k, c] + far * c3[k, c]
            else:
                for k in range(m):
                    pairs[k, 0, 0] = near * here[k] + far * before[k]
                    pairs[k, 1, 0] = near * here[k] + far * after[k]
        v, target = image[y], middle[y]
        for k in range(n):
            w = v[k] - target[k]
            variance = read_var + shot * max(target[k], zero) + tiny
            keep = min(max(w * w * weight[k] / variance - third, zero), one)
            target[k] = amount * (keep - one) * w + line[k]


def _blend_cpu(
    image: Floats,
    change: Floats,
    amount: float,
    protected: Floats | None,
    mask: NDArray[np.bool_] | None,
) -> Floats:
    image = np.ascontiguousarray(image, np.float32)
    change = np.ascontiguousarray(change, np.float32)
    in_bands(
        _blend_rows, image.shape[0], image, np.float32(amount),
        np.empty((0, 0), np.float32) if protected is None else protected,
        np.empty((0, 0), np.bool_) if mask is None else np.ascontiguousarray(mask, np.bool_),
        change,
    )  # fmt: skip
    return change


@compiled
def _blend_rows(
    y0: int,
    y1: int,
    image: Floats,
    amount: float,
    protected: Floats,
    known: NDArray[np.bool_],
    change: Floats,
) -> None:
    w, channels = image.shape[1:]
    zero, one = np.float32(0.0), np.float32(1.0)
    between, line = np.empty(w + 4, np.float32), np.zeros(w + 4, np.float32)
    share = np.full(w, amount, np.float32)
    for y in range(y0, y1):
        if protected.shape[0]:
            _double_row(protected, y, between, line)
            for x in range(w):
                share[x] = amount * (one - line[x])
        if known.shape[0]:
            use = known[y]
            for x in range(w):
                full = share[x] if protected.shape[0] else amount
                share[x] = full if use[x] else zero
        source, target = image[y].reshape(-1), change[y].reshape(-1)
        if channels == 1:
            for x in range(w):
                target[x] = source[x] + share[x] * target[x]
        else:
            colours, changes = image[y], change[y]
            for x in range(w):
                for c in range(3):
                    changes[x, c] = colours[x, c] + share[x] * changes[x, c]
