"""Which part of the frame is sky: everything but the dark border around the image circle.

A cheap estimate on a reduced frame, good enough to keep the border out of statistics. It knows no
lens; where the border cannot be told from the sky, everything counts as sky.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

VERSION = 1

PATCH = 0.05
"""Side of the corner patches, as a fraction of the frame."""

RISE = 0.20
"""Share of the way from corner level to centre level at which sky begins."""


def sky_mask(luminance: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Find the sky on a reduced frame.

    Parameters
    ----------
    luminance
        ``(h, w)`` float32, linear; a few hundred pixels wide.

    Returns
    -------
    NDArray
        ``(h, w)`` bool, True = sky.
    """
    everything = np.ones(luminance.shape, dtype=bool)
    h, w = luminance.shape
    if min(h, w) < 16:
        return everything
    ph, pw = max(2, int(PATCH * h)), max(2, int(PATCH * w))
    corners = [luminance[y, x] for y in (slice(ph), slice(-ph, None)) for x in _ends(pw)]
    darkest = min(corners, key=np.median)
    low = float(np.median(darkest))
    spread = 1.4826 * float(np.median(np.abs(darkest - low)))
    rows, columns = np.mgrid[:h, :w]
    middle = (rows - h / 2) ** 2 + (columns - w / 2) ** 2 < (0.35 * min(h, w)) ** 2
    high = float(np.median(luminance[middle]))
    if high - low <= 8.0 * spread:
        return everything
    dark = (luminance < low + RISE * (high - low)).astype(np.uint8)
    # Speckles in a noisy border must not wall parts of it off.
    dark = cv2.morphologyEx(dark, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, label = cv2.connectedComponents(dark, connectivity=4)
    touching = {int(label[y, x]) for y in (0, h - 1) for x in (0, w - 1)} - {0}
    border = np.isin(label, list(touching))
    if not 0.01 < border.mean() < 0.8:
        return everything
    grown = cv2.dilate(border.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(grown == 0)


def _ends(n: int) -> tuple[slice, slice]:
    return slice(n), slice(-n, None)
