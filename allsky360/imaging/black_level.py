"""The pedestal of the sensor, read off the frames themselves where nobody stated it.

A bracket tells it: over exposure time a pixel is a straight line, whose value at zero is the
pedestal. A single exposure tells it where a fisheye leaves a dark border. A pedestal left in would
bend the HDR merge (it does not scale with exposure time) and grey out the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, block_mean, to_host
from allsky360.imaging.border import sky_mask
from allsky360.imaging.scene import SMALL_SIDE

VERSION = 2

LARGEST = 0.10
"""A pedestal is never more than this share of saturation; what looks larger is light."""

DARK_SHARE = 0.3
"""Share of pixels, the darkest, that a bracket's pedestal is read from."""

OPEN = 0.9
"""Share of saturation below which these must lie: what is cut off there lies on no line."""


def estimate_black(
    frames: Sequence[Array], exposure_s: Sequence[float], full_adu: float
) -> tuple[float, str]:
    """Estimate the pedestal of a bracket.

    Parameters
    ----------
    frames
        Raw values, float32 ``(H, W)``; one or more exposures.
    exposure_s
        Their times.
    full_adu
        Saturation.

    Returns
    -------
    level, source
        ADU, and "bracket", "border" or "unknown" (then 0).
    """
    order = sorted(range(len(frames)), key=lambda k: -exposure_s[k])
    shortest = order[-1]
    for k in order:
        long = _sample(frames[k])
        dark = float(np.quantile(long, DARK_SHARE))
        if dark < OPEN * full_adu:
            break
    else:
        return 0.0, "unknown"
    ratio = exposure_s[shortest] / exposure_s[k] if exposure_s[k] > 0 else 1.0
    if ratio <= 0.5:
        level, source = _from_pair(long, _sample(frames[shortest]), ratio, dark), "bracket"
    else:
        level, source = _from_border(frames[k]), "border"
    if level is None or not 0.0 < level < LARGEST * full_adu:
        return 0.0, "unknown"
    return level, source


def _sample(frame: Array) -> NDArray[np.float32]:
    """Every fifth pixel of every fifth row: all colours of a mosaic."""
    return to_host(frame[::5, ::5]).reshape(-1)


def _from_pair(
    long: NDArray[np.float32], short: NDArray[np.float32], ratio: float, dark: float
) -> float | None:
    """Continue the line through two exposures to time 0, where the long one is at most ``dark``."""
    chosen = long <= dark
    values = np.sort((short[chosen] - ratio * long[chosen]) / (1.0 - ratio))
    quarter = values.size // 4
    # The mean of the middle half: robust, and finer than the converter's step.
    middle = values[quarter : values.size - quarter]
    return float(np.mean(middle, dtype=float)) if middle.size else None


def _from_border(frame: Array) -> float | None:
    size = max(2, min(frame.shape) // SMALL_SIDE // 2 * 2)
    if min(frame.shape) < size:
        return None
    small = to_host(block_mean(frame, size)).astype(np.float32, copy=False)
    border = ~sky_mask(small)
    return float(np.median(small[border])) if border.any() else None
