"""Blocks of an image: means of its sky alone, and small planes laid back over the full frame.

What a filter knows about anything wider than a few pixels it works out on a copy reduced ``size``
times; here is the way down (:func:`masked_blocks`) and the ways up. Block ``i`` of an axis covers
pixels ``i size … (i + 1) size - 1``; blocks cut by the edge hold what is there. On the way up a
block's value sits at its centre, and values between centres are bilinear; the edge repeats.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import LUMA, on_device_of

Array = Any
Floats = NDArray[np.float32]

RATIO_LIMIT = 8.0
"""Largest ratio by which :func:`shift_luminance` scales a channel; see ``luminance.py``."""


def masked_blocks(image: Array, mask: Array | None, size: int) -> tuple[Array, Array]:
    """Return the mean of what the mask keeps of each block, and how large a share that is.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32. What the mask hides may be anything, NaN included.
    mask
        ``(H, W)`` bool, True = inside; None: all of it.
    size
        Side of a block, px.

    Returns
    -------
    means, share
        ``(h, w, C)`` float32, 0 where a block is wholly outside; ``(h, w)`` float32, 0 to 1.
        ``h = ceil(H / size)``.
    """
    if size < 1:
        raise ValueError(f"the block size must be at least 1 px, got {size}")
    if mask is not None and tuple(mask.shape) != tuple(image.shape[:2]):
        raise ValueError(f"the mask is {tuple(mask.shape)}, the image {tuple(image.shape[:2])}")
    if isinstance(mask, np.ndarray):
        mask = on_device_of(image, mask, "bool")
    means: tuple[Array, Array] = body_for(image, cpu=blocks_cpu, generic=_blocks_generic)(
        image, mask, size
    )
    return means


def lay_over(small: Array, size: int, shape: tuple[int, int]) -> Array:
    """Enlarge ``(h, w)`` or ``(h, w, C)`` block values to ``shape`` pixels, bilinear."""
    cpu = _lay_cpu if small.ndim == 2 else _lay_generic
    return body_for(small, cpu=cpu, generic=_lay_generic)(small, size, shape)


def scale_and_shift(
    image: Array, gain: Array | None, offset: Array, size: int, mask: Array | None
) -> Array:
    """Return ``image * gain + offset`` inside the mask, and the image as it is outside.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32.
    gain
        ``(h, w)`` block values; None: 1.
    offset
        ``(h, w, C)`` block values.
    size
        Side of a block, px.
    mask
        ``(H, W)`` bool or None.
    """
    return body_for(image, cpu=_scale_cpu, generic=_scale_generic)(image, gain, offset, size, mask)


def shift_luminance(image: Array, delta: Array, size: int, mask: Array | None) -> Array:
    """Move the luminance of a display image by ``delta``, colours kept, codes kept within 0…1.

    As :func:`allsky360.arrays.luminance.with_luminance`, in one pass and with small planes.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, display codes.
    delta
        ``(h, w)`` block values of what is added to luminance.
    size
        Side of a block, px.
    mask
        ``(H, W)`` bool or None; outside it the image is left alone.
    """
    return body_for(image, cpu=_shift_cpu, generic=_shift_generic)(image, delta, size, mask)


# --- generic bodies ------------------------------------------------------------------------------


def _blocks_generic(image: Array, mask: Array | None, size: int) -> tuple[Array, Array]:
    xp = array_api_compat.array_namespace(image)
    known = xp.ones_like(image[..., :1])
    if mask is not None:
        known = xp.astype(mask, image.dtype)[..., None]
        image = xp.where(mask[..., None], image, xp.zeros_like(image))
    total, count = _sums(image, size), _sums(known, size)
    one = xp.ones_like(count)
    whole = _sums(xp.ones_like(known), size)
    return total / xp.maximum(count, one), (count / whole)[..., 0]


def _sums(a: Array, size: int) -> Array:
    xp = array_api_compat.array_namespace(a)
    for axis in (0, 1):
        missing = -a.shape[axis] % size
        if missing:
            shape = list(a.shape)
            shape[axis] = missing
            none = xp.zeros(tuple(shape), dtype=a.dtype, device=array_api_compat.device(a))
            a = xp.concat([a, none], axis=axis)
    h, w, c = a.shape
    return xp.sum(xp.sum(xp.reshape(a, (h // size, size, w // size, size, c)), axis=3), axis=1)


def _lay_generic(small: Array, size: int, shape: tuple[int, int]) -> Array:
    for axis in (0, 1):
        small = _enlarge(small, axis, size, shape[axis])
    return small


def positions(pixels: int, blocks: int, size: int) -> tuple[NDArray[np.int64], Floats]:
    """For each pixel of an axis: the block whose centre lies before it, and its share to the next.

    A pixel before the first or beyond the last centre gets that block and a share of 0 or 1.
    """
    at = np.clip((np.arange(pixels) + 0.5) / size - 0.5, 0.0, blocks - 1.0)
    index = np.minimum(np.floor(at), max(blocks - 2, 0)).astype(np.int64)
    return index, (at - index).astype(np.float32)


def _enlarge(a: Array, axis: int, size: int, pixels: int) -> Array:
    xp = array_api_compat.array_namespace(a)
    blocks = a.shape[axis]
    index, share = positions(pixels, blocks, size)
    part = on_device_of(a, share.reshape([-1 if k == axis else 1 for k in range(a.ndim)]))
    first = xp.take(a, on_device_of(a, index, "int64"), axis=axis)
    after = on_device_of(a, np.minimum(index + 1, blocks - 1), "int64")
    return first + part * (xp.take(a, after, axis=axis) - first)


def _scale_generic(
    image: Array, gain: Array | None, offset: Array, size: int, mask: Array | None
) -> Array:
    xp = array_api_compat.array_namespace(image)
    shape = image.shape[:2]
    out = image if gain is None else image * lay_over(gain, size, shape)[..., None]
    out = out + lay_over(offset, size, shape)
    return out if mask is None else xp.where(mask[..., None], out, image)


def _shift_generic(image: Array, delta: Array, size: int, mask: Array | None) -> Array:
    from allsky360.arrays.luminance import luminance, with_luminance

    xp = array_api_compat.array_namespace(image)
    old = luminance(image)
    move = lay_over(delta, size, image.shape[:2])
    out = with_luminance(image, old, old + move, limit=RATIO_LIMIT)
    out = xp.minimum(xp.maximum(out, xp.zeros_like(out)), xp.ones_like(out))
    # A code outside 0…1 is somebody else's; where nothing moves it stays.
    keep = (move == 0.0) if mask is None else (move == 0.0) | ~mask
    return xp.where(keep[..., None], image, out)


# --- NumPy bodies --------------------------------------------------------------------------------


def _flags(mask: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Return the mask as bytes; no rows stand for no mask."""
    if mask is None:
        return np.empty((0, 0), np.uint8)
    return np.ascontiguousarray(mask, np.bool_).view(np.uint8)


def blocks_cpu(image: Floats, mask: NDArray[np.bool_] | None, size: int) -> tuple[Floats, Floats]:
    """As :func:`masked_blocks`."""
    h, w, channels = image.shape
    rows, columns = -(-h // size), -(-w // size)
    flat = np.ascontiguousarray(image, np.float32).reshape(h, w * channels)
    means = np.empty((rows, columns * channels), np.float32)
    share = np.empty((rows, columns), np.float32)
    in_bands(_mean_rows, rows, flat, _flags(mask), channels, size, means, share)
    return means.reshape(rows, columns, channels), share


@compiled
def _mean_rows(
    b0: int,
    b1: int,
    image: Floats,
    known: NDArray[np.uint8],
    channels: int,
    size: int,
    means: Floats,
    share: Floats,
) -> None:
    h, n = image.shape
    w = n // channels
    zero, one = np.float32(0.0), np.float32(1.0)
    masked = known.shape[0] > 0
    line, hits = np.empty(n, np.float32), np.empty(w, np.float32)
    use = np.ones(n, np.uint8)
    for b in range(b0, b1):
        line[:] = zero
        hits[:] = zero
        last = min(h, (b + 1) * size)
        for y in range(b * size, last):
            row = image[y]
            if masked:
                flags = known[y]
                for x in range(w):
                    hits[x] += one if flags[x] != 0 else zero
                if channels == 3:
                    for x in range(w):
                        use[3 * x] = flags[x]
                        use[3 * x + 1] = flags[x]
                        use[3 * x + 2] = flags[x]
                else:
                    for i in range(n):
                        use[i] = flags[i // channels]
                for i in range(n):
                    value = row[i]
                    line[i] += value if use[i] != 0 else zero
            else:
                for i in range(n):
                    line[i] += row[i]
        full = np.float32(last - b * size)
        target, part = means[b], share[b]
        for k in range(part.size):
            x0, x1 = k * size, min(w, (k + 1) * size)
            count = full * np.float32(x1 - x0)
            if masked:
                count = zero
                for x in range(x0, x1):
                    count += hits[x]
            part[k] = count / (full * np.float32(x1 - x0))
            inverse = one / max(count, one)
            for c in range(channels):
                total = zero
                for x in range(x0, x1):
                    total += line[x * channels + c]
                target[k * channels + c] = total * inverse


def _framed(small: Floats) -> Floats:
    """Repeat the edge of block values once on every side: ``(h + 2, w + 2, …)``."""
    pad = ((1, 1), (1, 1), (0, 0))
    return np.pad(np.asarray(small, np.float32), pad[: small.ndim], mode="edge")


def _starts(pixels: int, blocks: int, size: int) -> NDArray[np.int64]:
    """Return the first pixel after each centre of a framed row: runs between two centres."""
    centres = (np.arange(-1, blocks + 1) + 0.5) * size - 0.5
    return np.asarray(np.clip(np.ceil(centres), 0, pixels), np.int64)


def _scale_cpu(
    image: Floats, gain: Floats | None, offset: Floats, size: int, mask: NDArray[np.bool_] | None
) -> Floats:
    h, w, channels = image.shape
    flat = np.ascontiguousarray(image, np.float32).reshape(h, w * channels)
    if gain is None:
        gain = np.ones(offset.shape[:2], np.float32)
    out = np.empty_like(flat)
    starts = _starts(w, offset.shape[1], size)
    kernel = _scale_colour if channels == 3 else _scale_any
    in_bands(kernel, h, flat, _framed(gain), _framed(offset), size, starts, _flags(mask), out)
    return out.reshape(image.shape)


@compiled
def _between(y: int, size: int, rows: int) -> tuple[int, np.float32]:
    """Framed block row before pixel row ``y``, and the share to the next."""
    at = (np.float32(y) + np.float32(0.5)) / np.float32(size) + np.float32(0.5)
    j = min(int(at), rows - 2)
    return j, at - np.float32(j)


@compiled
def _scale_colour(
    y0: int,
    y1: int,
    image: Floats,
    gain: Floats,
    offset: Floats,
    size: int,
    starts: NDArray[np.int64],
    known: NDArray[np.uint8],
    out: Floats,
) -> None:
    w = image.shape[1] // 3
    step = np.float32(1.0) / np.float32(size)
    half = np.float32(0.5)
    masked = known.shape[0] > 0
    factor, terms = np.empty(w, np.float32), np.empty((3, w), np.float32)
    red, green, blue = terms[0], terms[1], terms[2]
    for y in range(y0, y1):
        j, t = _between(y, size, gain.shape[0])
        g0, g1, o0, o1 = gain[j], gain[j + 1], offset[j], offset[j + 1]
        for i in range(starts.size - 1):
            first, last = starts[i], starts[i + 1]
            # Share of the way from centre i to the next at the run's first pixel.
            at = (np.float32(first) + half) * step - np.float32(i - 1) - half
            a = g0[i] + t * (g1[i] - g0[i])
            slope = (g0[i + 1] + t * (g1[i + 1] - g0[i + 1]) - a) * step
            a += at * slope * np.float32(size)
            r = o0[i, 0] + t * (o1[i, 0] - o0[i, 0])
            dr = (o0[i + 1, 0] + t * (o1[i + 1, 0] - o0[i + 1, 0]) - r) * step
            r += at * dr * np.float32(size)
            g = o0[i, 1] + t * (o1[i, 1] - o0[i, 1])
            dg = (o0[i + 1, 1] + t * (o1[i + 1, 1] - o0[i + 1, 1]) - g) * step
            g += at * dg * np.float32(size)
            b = o0[i, 2] + t * (o1[i, 2] - o0[i, 2])
            db = (o0[i + 1, 2] + t * (o1[i + 1, 2] - o0[i + 1, 2]) - b) * step
            b += at * db * np.float32(size)
            for k in range(last - first):
                n = np.float32(k)
                factor[first + k] = a + n * slope
                red[first + k] = r + n * dr
                green[first + k] = g + n * dg
                blue[first + k] = b + n * db
        source, target = image[y], out[y]
        if masked:
            flags = known[y]
            for x in range(w):
                use = flags[x] != 0
                sr, sg, sb = source[3 * x], source[3 * x + 1], source[3 * x + 2]
                f = factor[x]
                tr, tg, tb = sr * f + red[x], sg * f + green[x], sb * f + blue[x]
                target[3 * x] = tr if use else sr
                target[3 * x + 1] = tg if use else sg
                target[3 * x + 2] = tb if use else sb
        else:
            for x in range(w):
                f = factor[x]
                target[3 * x] = source[3 * x] * f + red[x]
                target[3 * x + 1] = source[3 * x + 1] * f + green[x]
                target[3 * x + 2] = source[3 * x + 2] * f + blue[x]


@compiled
def _run(
    row: Floats, below: Floats, t: np.float32, size: int, starts: NDArray[np.int64], line: Floats
) -> None:
    """Fill a full row between two framed block rows of one plane."""
    step = np.float32(1.0) / np.float32(size)
    half = np.float32(0.5)
    for i in range(starts.size - 1):
        first, last = starts[i], starts[i + 1]
        at = (np.float32(first) + half) * step - np.float32(i - 1) - half
        a = row[i] + t * (below[i] - row[i])
        slope = row[i + 1] + t * (below[i + 1] - row[i + 1]) - a
        a += at * slope
        slope *= step
        for k in range(last - first):
            line[first + k] = a + np.float32(k) * slope


def _lay_cpu(small: Floats, size: int, shape: tuple[int, int]) -> Floats:
    out = np.empty(shape, np.float32)
    starts = _starts(shape[1], small.shape[1], size)
    in_bands(_lay_rows, shape[0], _framed(small), size, starts, out)
    return out


@compiled
def _lay_rows(
    y0: int, y1: int, small: Floats, size: int, starts: NDArray[np.int64], out: Floats
) -> None:
    for y in range(y0, y1):
        j, t = _between(y, size, small.shape[0])
        _run(small[j], small[j + 1], t, size, starts, out[y])


@compiled
def _scale_any(
    y0: int,
    y1: int,
    image: Floats,
    gain: Floats,
    offset: Floats,
    size: int,
    starts: NDArray[np.int64],
    known: NDArray[np.uint8],
    out: Floats,
) -> None:
    channels = offset.shape[2]
    w = image.shape[1] // channels
    masked = known.shape[0] > 0
    factor, term = np.empty(w, np.float32), np.empty(w, np.float32)
    for y in range(y0, y1):
        j, t = _between(y, size, gain.shape[0])
        _run(gain[j], gain[j + 1], t, size, starts, factor)
        for c in range(channels):
            _run(offset[j, :, c], offset[j + 1, :, c], t, size, starts, term)
            for x in range(w):
                value = image[y, x * channels + c]
                hidden = masked and known[y, x] == 0
                out[y, x * channels + c] = value if hidden else value * factor[x] + term[x]


def _shift_cpu(image: Floats, delta: Floats, size: int, mask: NDArray[np.bool_] | None) -> Floats:
    h, w, channels = image.shape
    if channels not in (1, 3):
        return np.asarray(_shift_generic(image, delta, size, mask))
    flat = np.ascontiguousarray(image, np.float32).reshape(h, w * channels)
    out = np.empty_like(flat)
    starts = _starts(w, delta.shape[1], size)
    luma = np.asarray(LUMA, np.float32)
    limit = np.float32(RATIO_LIMIT)
    in_bands(_shift_rows, h, flat, _framed(delta), size, starts, _flags(mask), luma, limit, out)
    return out.reshape(image.shape)


@compiled
def _shift_rows(
    y0: int,
    y1: int,
    image: Floats,
    delta: Floats,
    size: int,
    starts: NDArray[np.int64],
    known: NDArray[np.uint8],
    luma: Floats,
    limit: float,
    out: Floats,
) -> None:
    w = starts[starts.size - 1]
    zero, one = np.float32(0.0), np.float32(1.0)
    low = one / limit
    kr, kg, kb = luma[0], luma[1], luma[2]
    masked = known.shape[0] > 0
    line = np.empty(w, np.float32)
    for y in range(y0, y1):
        j, t = _between(y, size, delta.shape[0])
        _run(delta[j], delta[j + 1], t, size, starts, line)
        source, target = image[y], out[y]
        if masked:
            flags = known[y]
            for x in range(w):
                move = line[x]
                line[x] = move if flags[x] != 0 else zero
        if source.size == w:
            for x in range(w):
                value = min(max(source[x] + line[x], zero), one)
                target[x] = value if line[x] != zero else source[x]
            continue
        for x in range(w):
            r, g, b = source[3 * x], source[3 * x + 1], source[3 * x + 2]
            old = kr * r + kg * g + kb * b
            new = old + line[x]
            usable = (old > zero) & (new > zero)
            ratio = new / (old if usable else one)
            ratio = min(max(ratio, low), limit) if usable else one
            rest = new - old * ratio
            moved = line[x] != zero
            tr = min(max(r * ratio + rest, zero), one)
            tg = min(max(g * ratio + rest, zero), one)
            tb = min(max(b * ratio + rest, zero), one)
            target[3 * x] = tr if moved else r
            target[3 * x + 1] = tg if moved else g
            target[3 * x + 2] = tb if moved else b
