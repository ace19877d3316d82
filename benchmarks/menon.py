"""Demosaicing after Menon, Andriani & Calvagno (2007), written plainly: what ours is compared with.

"Demosaicing With Directional Filtering and a posteriori Decision", IEEE Transactions on Image
Processing 16, 132. With its refining step. Not fast; mirrored borders.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def menon(mosaic: Floats, pattern: str) -> Floats:
    """Demosaic ``(H, W)`` to ``(H, W, 3)``."""
    red, green, blue = (_sites(mosaic.shape, pattern, c) for c in "RGB")
    along = [_line(mosaic, taps, vertical) for vertical in (False, True)
             for taps in ([0, 0.5, 0, 0.5, 0], [-0.25, 0, 0.5, 0, -0.25])]  # fmt: skip
    green_h = np.where(green, mosaic, along[0] + along[1])
    green_v = np.where(green, mosaic, along[2] + along[3])
    chroma_h, chroma_v = mosaic - green_h, mosaic - green_v
    unrest_h = np.abs(chroma_h - np.roll(chroma_h, -2, axis=1))
    unrest_v = np.abs(chroma_v - np.roll(chroma_v, -2, axis=0))
    window = np.zeros((5, 5))
    window[0::2, 0:3:2] = [[1, 1], [3, 3], [1, 1]]
    window[1::2, 1] = 1
    horizontal = _filter(unrest_v, window.T) >= _filter(unrest_h, window)
    g = np.where(horizontal, green_h, green_v)
    planes = {"R": np.where(red, mosaic, 0.0), "B": np.where(blue, mosaic, 0.0)}
    mean = [0.5, 0, 0.5]
    red_rows, blue_rows = red.any(axis=1)[:, None], blue.any(axis=1)[:, None]
    for colour, rows in (("R", red_rows), ("B", blue_rows)):
        p, own = planes[colour], red if colour == "R" else blue
        chroma = np.where(own, p - g, 0.0)
        flat, upright = _line(chroma, mean, False), _line(chroma, mean, True)
        planes[colour] = np.where(green, g + np.where(rows, flat, upright), p)
    difference = planes["R"] - planes["B"]
    for colour, other, own, sign in (("R", "B", blue, 1.0), ("B", "R", red, -1.0)):
        d = np.where(horizontal, _line(difference, mean, False), _line(difference, mean, True))
        planes[colour] = np.where(own, planes[other] + sign * d, planes[colour])
    return _refine(planes["R"], g, planes["B"], (red, green, blue), horizontal)


def _refine(
    r: Floats,
    g: Floats,
    b: Floats,
    sites: tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]],
    horizontal: NDArray[np.bool_],
) -> Floats:
    """Smooth the colour differences along the chosen direction."""
    red, green, blue = sites
    mean, three = [0.5, 0, 0.5], [1 / 3] * 3

    def smooth(d: Floats) -> Floats:
        return np.where(horizontal, _line(d, three, False), _line(d, three, True))

    g = np.where(red, r - smooth(r - g), np.where(blue, b - smooth(b - g), g))
    red_rows, blue_rows = red.any(axis=1)[:, None], blue.any(axis=1)[:, None]
    for rows, columns_of in ((red_rows, "R"), (blue_rows, "B")):
        d = (r if columns_of == "R" else b) - g
        new = g + np.where(rows, _line(d, mean, False), _line(d, mean, True))
        r, b = (np.where(green, new, r), b) if columns_of == "R" else (r, np.where(green, new, b))
    d = smooth(r - b)
    r, b = np.where(blue, b + d, r), np.where(red, r - d, b)
    return np.stack([r, g, b], axis=-1)


def _sites(shape: tuple[int, ...], pattern: str, colour: str) -> NDArray[np.bool_]:
    sites = np.zeros(shape, bool)
    for k, name in enumerate(pattern):
        if name == colour:
            sites[k // 2 :: 2, k % 2 :: 2] = True
    return sites


def _line(image: Floats, taps: Sequence[float], vertical: bool) -> Floats:
    kernel = np.asarray(taps, dtype=np.float64)
    return _filter(image, kernel[:, None] if vertical else kernel[None, :])


def _filter(image: Floats, kernel: Floats) -> Floats:
    out = cv2.filter2D(image, cv2.CV_64F, kernel, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(out)
