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

SHARP = 1.35
"""How much steeper than the sky beside it the rim of an image circle is; a vignette has no rim."""

DEEP = 0.4
"""A fall in level by this share counts as a border without a rim (fog in front of the lens)."""


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
    if min(h, w) < 64:
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
    rise = np.clip((luminance - low) / (high - low), -1.0, 2.0)
    dark = (rise < RISE).astype(np.uint8)
    # Speckles in a noisy border must not wall parts of it off.
    dark = cv2.morphologyEx(dark, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, label = cv2.connectedComponents(dark, connectivity=4)
    touching = [int(label[y, x]) for y in (0, h - 1) for x in (0, w - 1)]
    if touching.count(0) > 2:  # an image circle leaves at least two corners dark
        return everything
    border = np.isin(label, [n for n in touching if n])
    if not 0.01 < border.mean() < 0.8:
        return everything
    if high - low < DEEP * high and _rim(rise, border) < SHARP:
        return everything
    grown = cv2.dilate(border.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(grown == 0)


def _rim(rise: NDArray[np.float32], border: NDArray[np.bool_]) -> float:
    """Median slope along the rim of the border over the median slope just inside it."""
    smooth = cv2.GaussianBlur(rise, (0, 0), 1.5)
    slope = np.hypot(*np.gradient(smooth))
    inside = border.astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    rim = cv2.dilate(inside, kernel) != cv2.erode(inside, kernel)
    # Distance from the border, on the sky's side: the rim is compared with what lies next to it.
    distance = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    step = 0.04 * min(border.shape)
    beside = (distance > step) & (distance < 3.0 * step)
    for edge in (rim, beside):
        edge[:3], edge[-3:], edge[:, :3], edge[:, -3:] = False, False, False, False
    if not rim.any() or not beside.any():
        return 0.0
    return float(np.median(slope[rim]) / max(np.median(slope[beside]), 1e-12))


def _ends(n: int) -> tuple[slice, slice]:
    return slice(n), slice(-n, None)
