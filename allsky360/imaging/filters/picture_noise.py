"""How noisy a picture is: the spread of its fine details in the sky, from a few tiles.

Clouds and the Milky Way have details of several pixels too, and not every tile: the quieter
quarter of the tiles counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, to_host
from allsky360.arrays.luminance import luminance
from allsky360.arrays.wavelets import atrous, white_noise_sigmas

TILE = 64
TILES_PER_AXIS = 8
TO_SIGMA = 1.4826
QUIET = 0.25
"""Quantile of the tiles that is taken for the noise of the sky."""


def detail_sigmas(image: Array, mask: Array | None, *, size: int, scales: int) -> list[float]:
    """Return the standard deviation of each detail plane of the sky's luminance.

    Robust: from median absolute values, which stars do not move. Neither does a gradient: details
    have none. Only tiles wholly inside the mask are looked at; all 0 where there are none.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32 on any device; a few bands of it are downloaded.
    mask
        ``(H, W)`` bool, True = sky, on any device.
    size
        Blocks of this many pixels a side are averaged first.
    scales
        Number of detail planes, see :mod:`allsky360.arrays.wavelets`.
    """
    found: list[list[NDArray[np.float32]]] = [[] for _ in range(scales)]
    h, w = image.shape[:2]
    side = min(TILE, h, w) // size * size
    for y in _corners(h, side) if side >= 3 * size else ():
        light = to_host(luminance(image[y : y + side, ...]))
        usable = np.isfinite(light)
        if mask is not None:
            usable &= to_host(mask[y : y + side, ...])
        for x in _corners(w, side):
            if not usable[:, x : x + side].all():
                continue
            n = side // size
            tile = light[:, x : x + side].reshape(n, size, n, size).mean(axis=(1, 3))
            details, _ = atrous(np.ascontiguousarray(tile, np.float32), scales)
            for values, detail in zip(found, details, strict=True):
                values.append(np.abs(detail))
    return [_quiet(v) for v in found]


def block_sigma(image: Array, mask: Array | None, *, size: int) -> float:
    """Return the noise of the mean of a block of ``size`` pixels a side.

    Measured on blocks, but not more than twice what white noise would leave: noise spread by
    debayering or noise reduction falls more slowly than the root of the number of pixels, structure
    of the sky does not fall at all.
    """
    finest = detail_sigmas(image, mask, size=1, scales=1)[0]
    if size == 1:
        return pixel_sigma(finest)
    blocks = detail_sigmas(image, mask, size=size, scales=1)[0]
    return pixel_sigma(min(blocks, 2.0 * finest / size))


def _quiet(details: list[NDArray[np.float32]]) -> float:
    """Return the standard deviation of noise from the absolute details of each tile."""
    if not details:
        return 0.0
    return TO_SIGMA * float(np.quantile([np.median(d) for d in details], QUIET))


def pixel_sigma(detail_sigma: float) -> float:
    """Return the noise of a pixel whose finest detail plane has this standard deviation."""
    return detail_sigma / white_noise_sigmas(1)[0]


def _corners(n: int, side: int) -> list[int]:
    count = max(1, min(TILES_PER_AXIS, n // side))
    return sorted({int(i) for i in np.linspace(0, n - side, count)})
