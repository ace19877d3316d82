"""Continue the sky outward past its mask, so that a spatial filter sees no horizon.

A blur, a median or a wavelet near the mask's edge would mix in whatever lies outside: black, trees,
lamps. This puts a smooth continuation of the inside there first. It is the push-pull method
(Gortler et al. 1996, "The Lumigraph", section 3.6; Kraus 2009) on a copy reduced :data:`BLOCK`
times, whose blocks are means of the inside alone::

    pull:  S, W   sums of value and count over the inside of 2 x 2 coarser cells, up to one cell
    push:  f_l = t_l S_l / W_l + (1 - t_l) up(f_{l+1}),   t_l = min(1, 32 W_l / cell area)

where ``up`` is bilinear; after each push, cells with ``t < 1`` are relaxed towards the mean of
their neighbours (Laplace), so that the continuation joins the inside without a step. What lies
outside the mask is never read (it may be NaN), and nothing inside changes, bit for bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, namespace
from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for

Floats = NDArray[np.float32]

BLOCK = 8
"""Side of a block of the reduced copy, px."""

TRUST = 32.0
"""A cell counts wholly once this part (1/32) of it lies inside."""

RELAXATIONS = 2
"""Passes in which what is outside becomes the mean of its four neighbours, on each level."""


def extend_outward(image: Array, mask: Array | None) -> Array:
    """Replace what lies outside the mask by a smooth continuation of the inside.

    Parameters
    ----------
    image
        ``(H, W)`` or ``(H, W, C)`` float32; not written to.
    mask
        ``(H, W)`` bool, True = inside; None or all True gives the image itself.

    Returns
    -------
    Array
        As the image. Where the mask is True the same values; zeros where it is nowhere True.
    """
    if mask is None:
        return image
    if tuple(mask.shape) != tuple(image.shape[:2]):
        raise ValueError(
            f"the mask is {mask.shape[1]}x{mask.shape[0]}, "
            f"the image {image.shape[1]}x{image.shape[0]}"
        )
    if image.ndim == 3 and image.shape[2] == 1:
        return extend_outward(image[..., 0], mask)[..., None]
    return body_for(image, cpu=_extend_cpu, generic=_extend_generic)(image, mask)


def _push_pull(total: Array, count: Array) -> Array:
    """Fill the reduced copy.

    Parameters
    ----------
    total
        ``(h, w, C)`` float32, sums over the inside of each block.
    count
        ``(h, w, 1)`` float32, how many pixels that were.

    Returns
    -------
    Array
        ``(h, w, C)`` float32, no holes.
    """
    levels = [(total, count)]
    while max(levels[-1][1].shape[:2]) > 1:
        levels.append((_halve(levels[-1][0]), _halve(levels[-1][1])))
    top_total, top_count = levels[-1]
    xp = namespace(total)
    filled = top_total / xp.maximum(top_count, xp.ones_like(top_count))
    for level in range(len(levels) - 2, -1, -1):
        s, w = levels[level]
        one = xp.ones_like(w)
        trust = xp.minimum(one, w * (TRUST / (BLOCK * BLOCK * 4.0**level)))
        coarse = _double(_double(filled, 0, s.shape[0]), 1, s.shape[1])
        own = s / xp.maximum(w, one)
        filled = coarse + trust * (own - coarse)
        for _ in range(RELAXATIONS):
            around = _neighbours(filled)
            filled = around + trust * (own - around)
    return filled


def _neighbours(a: Array) -> Array:
    """Mean of the four neighbours of each cell of ``(h, w, C)``; the edge repeats."""
    xp = namespace(a)
    rows = xp.concat([a[:1, ...], a, a[-1:, ...]], axis=0)
    columns = xp.concat([a[:, :1, ...], a, a[:, -1:, ...]], axis=1)
    vertical = rows[:-2, ...] + rows[2:, ...]
    return 0.25 * (vertical + columns[:, :-2, ...] + columns[:, 2:, ...])


def _halve(a: Array) -> Array:
    """Sum 2 x 2 cells of ``(h, w, C)``; an odd edge is padded with nothing."""
    xp = namespace(a)
    for axis in (0, 1):
        if a.shape[axis] % 2:
            none = xp.zeros_like(a[:1, ...] if axis == 0 else a[:, :1, ...])
            a = xp.concat([a, none], axis=axis)
    rows = a[0::2, ...] + a[1::2, ...]
    return rows[:, 0::2, ...] + rows[:, 1::2, ...]


def _double(a: Array, axis: int, size: int) -> Array:
    """Bilinear upsampling of ``(h, w, C)`` along one axis; the edge repeats."""
    xp = namespace(a)
    if axis == 0:
        before = xp.concat([a[:1, ...], a[:-1, ...]], axis=0)
        after = xp.concat([a[1:, ...], a[-1:, ...]], axis=0)
    else:
        before = xp.concat([a[:, :1, ...], a[:, :-1, ...]], axis=1)
        after = xp.concat([a[:, 1:, ...], a[:, -1:, ...]], axis=1)
    pair = xp.stack([0.75 * a + 0.25 * before, 0.75 * a + 0.25 * after], axis=axis + 1)
    shape = list(a.shape)
    shape[axis] *= 2
    doubled = xp.reshape(pair, tuple(shape))
    return doubled[:size, ...] if axis == 0 else doubled[:, :size, ...]


def _extend_generic(image: Array, mask: Array) -> Array:
    xp = namespace(image)
    h, w = mask.shape
    known = mask[..., None]
    pixels = image if image.ndim == 3 else image[..., None]
    inside = xp.where(known, pixels, xp.zeros_like(pixels))
    filled = _push_pull(_block_sums(inside), _block_sums(xp.astype(known, pixels.dtype)))
    for axis, size in ((0, h), (1, w)):
        filled = _stretch(filled, axis, size)
    out = xp.where(known, pixels, filled)
    return out if image.ndim == 3 else out[..., 0]


def _block_sums(a: Array) -> Array:
    """Sums over blocks of ``(H, W, C)``; blocks cut by the edge hold what is there."""
    xp = namespace(a)
    for axis in (0, 1):
        missing = -a.shape[axis] % BLOCK
        if missing:
            shape = list(a.shape)
            shape[axis] = missing
            none = xp.zeros(tuple(shape), dtype=a.dtype, device=a.device)
            a = xp.concat([a, none], axis=axis)
    h, w, c = a.shape
    return xp.sum(xp.reshape(a, (h // BLOCK, BLOCK, w // BLOCK, BLOCK, c)), axis=(1, 3))


def _stretch(a: Array, axis: int, size: int) -> Array:
    """Bilinear upsampling :data:`BLOCK` times along one axis of ``(h, w, C)``, cut to ``size``."""
    xp = namespace(a)
    index, share = _positions(size, a.shape[axis])
    lower = xp.asarray(index, device=a.device)
    upper = xp.asarray(np.minimum(index + 1, a.shape[axis] - 1), device=a.device)
    part = xp.asarray(share.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1)), device=a.device)
    first = xp.take(a, lower, axis=axis)
    return first + part * (xp.take(a, upper, axis=axis) - first)


def _positions(size: int, blocks: int) -> tuple[NDArray[np.int64], Floats]:
    """For each pixel: the block centre before it, and its share of the way to the next."""
    at = np.clip((np.arange(size) + 0.5) / BLOCK - 0.5, 0.0, blocks - 1.0)
    index = np.floor(at).astype(np.int64)
    return index, (at - index).astype(np.float32)


def _extend_cpu(image: Floats, mask: NDArray[np.bool_]) -> Floats:
    if image.ndim == 3 and image.shape[2] != 3:
        return np.asarray(_extend_generic(image, mask))
    h, w = mask.shape
    channels = 1 if image.ndim == 2 else 3
    shape = (-(-h // BLOCK), -(-w // BLOCK))
    # A row is one run of numbers, whatever the channels.
    flat = np.ascontiguousarray(image, np.float32).reshape(h, w * channels)
    known = np.ascontiguousarray(mask, np.bool_).view(np.uint8)
    total = np.zeros((*shape, channels), np.float32)
    count = np.zeros((*shape, 1), np.float32)
    sums = _sums_plane if channels == 1 else _sums_colour
    in_bands(sums, shape[0], flat, known, total, count[..., 0])
    inside = int(np.sum(count, dtype=np.float64))
    if inside == h * w:
        return image
    filled = _push_pull(total, count) if inside else total
    out = np.empty_like(flat)
    rows, share = _positions(h, shape[0])
    shares = (np.arange(BLOCK, dtype=np.float32) + np.float32(0.5)) / np.float32(BLOCK)
    kernel = _fill_plane if channels == 1 else _fill_colour
    in_bands(kernel, h, flat, known, filled, rows, share, shares, out)
    return out.reshape(image.shape)


@compiled
def _sums_plane(
    b0: int, b1: int, image: Floats, known: NDArray[np.uint8], total: Floats, count: Floats
) -> None:
    h, w = known.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    line, hits = np.empty(w, np.float32), np.empty(w, np.float32)
    for b in range(b0, b1):
        line[:] = zero
        hits[:] = zero
        for y in range(b * BLOCK, min(h, (b + 1) * BLOCK)):
            row, use = image[y], known[y]
            for x in range(w):
                value = row[x]
                line[x] += value if use[x] != 0 else zero
                hits[x] += one if use[x] != 0 else zero
        sums, counts = total[b], count[b]
        for x in range(w):
            counts[x // BLOCK] += hits[x]
            sums[x // BLOCK, 0] += line[x]


@compiled
def _sums_colour(
    b0: int, b1: int, image: Floats, known: NDArray[np.uint8], total: Floats, count: Floats
) -> None:
    h, w = known.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    line, hits = np.empty(3 * w, np.float32), np.empty(w, np.float32)
    use3 = np.empty(3 * w, np.uint8)
    for b in range(b0, b1):
        line[:] = zero
        hits[:] = zero
        for y in range(b * BLOCK, min(h, (b + 1) * BLOCK)):
            row, use = image[y], known[y]
            for x in range(w):
                use3[3 * x] = use[x]
                use3[3 * x + 1] = use[x]
                use3[3 * x + 2] = use[x]
                hits[x] += one if use[x] != 0 else zero
            for x in range(3 * w):
                value = row[x]
                line[x] += value if use3[x] != 0 else zero
        sums, counts = total[b], count[b]
        for x in range(w):
            at = x // BLOCK
            counts[at] += hits[x]
            for c in range(3):
                sums[at, c] += line[3 * x + c]


@compiled
def _fill_plane(
    y0: int,
    y1: int,
    image: Floats,
    known: NDArray[np.uint8],
    filled: Floats,
    rows: NDArray[np.int64],
    row_share: Floats,
    shares: Floats,
    out: Floats,
) -> None:
    w, last, half = known.shape[1], filled.shape[1] - 1, BLOCK // 2
    # Runs of BLOCK pixels between two block centres, half a run over at either end.
    smooth = np.empty((last + 2) * BLOCK, np.float32)
    for y in range(y0, y1):
        row, use, target, share = image[y], known[y], out[y], row_share[y]
        upper, lower = filled[rows[y]], filled[min(rows[y] + 1, filled.shape[0] - 1)]
        a = upper[0, 0] + share * (lower[0, 0] - upper[0, 0])
        for cell in range(last + 2):
            i = min(cell, last)
            b = upper[i, 0] + share * (lower[i, 0] - upper[i, 0])
            step, run = b - a, smooth[cell * BLOCK : (cell + 1) * BLOCK]
            for k in range(BLOCK):
                run[k] = a + shares[k] * step
            a = b
        between = smooth[half : half + w]
        for x in range(w):
            inside, outside = row[x], between[x]
            target[x] = inside if use[x] != 0 else outside


@compiled
def _fill_colour(
    y0: int,
    y1: int,
    image: Floats,
    known: NDArray[np.uint8],
    filled: Floats,
    rows: NDArray[np.int64],
    row_share: Floats,
    shares: Floats,
    out: Floats,
) -> None:
    w, last, half = known.shape[1], filled.shape[1] - 1, BLOCK // 2
    smooth = np.empty((last + 2) * BLOCK * 3, np.float32)
    use3 = np.empty(3 * w, np.uint8)
    for y in range(y0, y1):
        row, use, target, share = image[y], known[y], out[y], row_share[y]
        upper, lower = filled[rows[y]], filled[min(rows[y] + 1, filled.shape[0] - 1)]
        for cell in range(last + 2):
            i, j = max(cell - 1, 0), min(cell, last)
            run = smooth[cell * BLOCK * 3 : (cell + 1) * BLOCK * 3]
            for c in range(3):
                a = upper[i, c] + share * (lower[i, c] - upper[i, c])
                step = upper[j, c] + share * (lower[j, c] - upper[j, c]) - a
                for k in range(BLOCK):
                    run[3 * k + c] = a + shares[k] * step
        for x in range(w):
            use3[3 * x] = use[x]
            use3[3 * x + 1] = use[x]
            use3[3 * x + 2] = use[x]
        between = smooth[3 * half : 3 * (half + w)]
        for x in range(3 * w):
            inside, outside = row[x], between[x]
            target[x] = inside if use3[x] != 0 else outside
