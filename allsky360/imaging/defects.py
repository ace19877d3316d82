"""Hot pixels known from the darks: found there, and repaired in every exposure.

A dark takes away what a hot pixel adds, but not the shot noise of it, and not the jumps of an
unstable one. So such pixels are replaced. A pixel of a pedestal (bias plus scaled dark current) is
hot where it stands above the median of its like-coloured 3x3 neighbourhood by more than
:data:`SIGMAS` robust standard deviations of that difference, and by more than :data:`NOISES` times
the noise of one exposure. Since the pedestal is that of the exposure time, a pixel that is hot in
a minute may be good in a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import median3

SIGMAS = 8.0
NOISES = 5.0

MOST = 0.02
"""Share of hot pixels beyond which it was light that reached the dark, and nothing is repaired."""


@dataclass(frozen=True, eq=False)
class Defects:
    """Pixels to be replaced, as :func:`allsky360.arrays.pedestal.replace_pixels` takes them.

    Attributes
    ----------
    index
        ``(K,)`` flat positions, rising.
    neighbours
        ``(K, 4)`` flat positions of good pixels of the same colour.
    """

    index: NDArray[np.int64]
    neighbours: NDArray[np.int64]


def find_hot(
    pedestal: NDArray[np.float32], *, mosaic: bool, noise_adu: float = 0.0
) -> NDArray[np.int64]:
    """Find hot pixels.

    Parameters
    ----------
    pedestal
        ``(H, W)`` float32 ADU: a master dark, or what is subtracted from an exposure.
    mosaic
        Whether like-coloured neighbours are two pixels away.
    noise_adu
        Standard deviation of one exposure.

    Returns
    -------
    NDArray
        Flat positions, rising.
    """
    if min(pedestal.shape) < 5:
        return np.zeros(0, np.int64)
    excess = pedestal - median3(pedestal, step=2 if mosaic else 1)
    sample = excess[::3, ::3]
    sigma = 1.4826 * float(np.median(np.abs(sample - np.median(sample))))
    least = max(SIGMAS * sigma, NOISES * noise_adu, 1.0)
    return np.flatnonzero(excess > least)


def plan_repair(bad: NDArray[np.int64], shape: tuple[int, int], *, mosaic: bool) -> Defects:
    """Choose for each bad pixel the four nearest good ones of its colour.

    Parameters
    ----------
    bad
        Flat positions, rising.
    shape
        Rows and columns.
    mosaic
        Whether like-coloured neighbours are two pixels away.
    """
    step = 2 if mosaic else 1
    h, w = shape
    is_bad = np.zeros(h * w, bool)
    is_bad[bad] = True
    y, x = np.divmod(bad, w)
    chosen = np.repeat(bad[:, None], 4, axis=1)
    count = np.zeros(bad.size, np.int64)
    for dy, dx in _NEAREST:
        ny, nx = y + dy * step, x + dx * step
        inside = (ny >= 0) & (ny < h) & (nx >= 0) & (nx < w)
        at = np.where(inside, ny * w + nx, 0)
        free = np.flatnonzero(inside & ~is_bad[at] & (count < 4))
        chosen[free, count[free]] = at[free]
        count[free] += 1
    # Where fewer than four are good, those there are count again.
    for slot in range(1, 4):
        short = (count <= slot) & (count > 0)
        chosen[short, slot] = chosen[short, slot % np.maximum(count[short], 1)]
    return Defects(bad, chosen)


_NEAREST = sorted(
    ((dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if dy or dx),
    key=lambda d: d[0] ** 2 + d[1] ** 2,
)
