"""The star-free level of each block of an image, by the same rule as the sky ring of a star.

The values of a block, but for blocked pixels, are sorted; what lies more than 2 sigma above the
median is cut, three times, sigma being the distance from the median down to the 15.87 % quantile.
What remains has the level of the sky between the stars; the 3 % of sigma by which the cut lowers a
Gaussian's median are added back.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled, in_bands
from allsky360.arrays.dispatch import body_for
from allsky360.arrays.generic import on_device_of

Array = Any
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_ROUNDS, _CUT, _LOW = 3, 2.0, 0.1587
_SHIFT = 0.029  # median of a Gaussian cut at +2 sigma, in sigmas, below its mean
LARGEST_SAMPLE = 16
"""Samples a side taken from a block: 256 tell the level to 8 % of the noise of a pixel."""


def block_level(image: Array, size: int, *, blocked: Array | None = None) -> tuple[Array, Array]:
    """Return level and noise of a pixel of each block.

    Parameters
    ----------
    image
        ``(H, W)`` float32; rows and columns left over are dropped.
    size
        Side of a block in pixels; of larger blocks than 16 every second, third … pixel is taken.
    blocked
        ``(H, W)`` uint8, over 127 where a known star keeps a pixel out; all count in a block of
        which it would leave less than an eighth.

    Returns
    -------
    level, sigma
        ``(H // size, W // size)`` float32, on the image's device.
    """
    rows, columns = int(image.shape[0]) // size, int(image.shape[1]) // size
    if size < 4 or rows < 1 or columns < 1:
        raise ValueError(
            f"blocks of {size} do not fit an image of {image.shape[1]} x {image.shape[0]}"
        )
    step = -(-size // LARGEST_SAMPLE)
    levels: tuple[Array, Array] = body_for(image, cpu=_cpu, generic=_generic)(
        image, size, step, rows, columns, blocked
    )
    return levels


def _cpu(
    image: Floats, size: int, step: int, rows: int, columns: int, blocked: Bytes | None
) -> tuple[Floats, Floats]:
    if blocked is None:
        blocked = np.zeros((0, 0), dtype=np.uint8)
    level = np.empty((rows, columns), dtype=np.float32)
    sigma = np.empty_like(level)
    in_bands(_levels, rows * columns, image, blocked, size, step, level, sigma)
    return level, sigma


@compiled
def _levels(
    first: int, last: int, image: Floats, blocked: Bytes, size: int, step: int, level: Floats,
    sigma: Floats,
) -> None:  # fmt: skip
    columns = level.shape[1]
    side = (size + step - 1) // step
    values = np.empty(side * side, dtype=np.float32)
    for k in range(first, last):
        row, column = k // columns, k % columns
        n = 0
        masked = blocked.size > 0
        for _ in range(2):
            n = 0
            for j in range(row * size, (row + 1) * size, step):
                for i in range(column * size, (column + 1) * size, step):
                    if not (masked and blocked[j, i] > 127):
                        values[n] = image[j, i]
                        n += 1
            if 8 * n >= side * side:
                break
            masked = False
        ordered = np.sort(values[:n])
        kept = n
        spread = np.float32(0.0)
        for _ in range(_ROUNDS):
            middle = ordered[kept // 2]
            spread = middle - ordered[int(_LOW * kept)]
            kept = np.searchsorted(ordered[:kept], middle + np.float32(_CUT) * spread, "right")
        level[row, column] = ordered[kept // 2] + np.float32(_SHIFT) * spread
        sigma[row, column] = spread


def _generic(
    image: Array, size: int, step: int, rows: int, columns: int, blocked: Array | None
) -> tuple[Array, Array]:
    xp = array_api_compat.array_namespace(image)
    side = (size + step - 1) // step

    def cut(whole: Array) -> Array:
        parts = xp.reshape(whole[: rows * size, : columns * size], (rows, size, columns, size))
        parts = xp.permute_dims(parts[:, ::step, :, ::step], (0, 2, 1, 3))
        return xp.reshape(parts, (rows * columns, side * side))

    blocks = cut(image)
    row = on_device_of(image, np.arange(rows * columns) * side * side, "int64")
    kept = xp.full_like(row, side * side)
    if blocked is not None:
        free = cut(blocked) <= 127
        left = xp.sum(xp.astype(free, xp.int64), axis=1)
        use = 8 * left >= side * side
        blocks = xp.where(free | ~use[:, None], blocks, xp.full_like(blocks, 3.0e38))
        kept = xp.where(use, left, kept)
    ordered = xp.sort(blocks, axis=1)
    flat = xp.reshape(ordered, (-1,))
    spread = xp.zeros_like(ordered[:, 0])
    for _ in range(_ROUNDS):
        middle = xp.take(flat, row + kept // 2, axis=0)
        low = xp.astype(_LOW * xp.astype(kept, xp.float32), xp.int64)
        spread = middle - xp.take(flat, row + low, axis=0)
        under = xp.sum(xp.astype(ordered <= (middle + _CUT * spread)[:, None], xp.int64), axis=1)
        kept = xp.minimum(kept, under)
    level = xp.take(flat, row + kept // 2, axis=0) + _SHIFT * spread
    return xp.reshape(level, (rows, columns)), xp.reshape(spread, (rows, columns))
