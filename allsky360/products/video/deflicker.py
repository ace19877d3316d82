"""Evening out brightness from picture to picture. Pure.

What changes slowly is the sky; what changes within a few frames and is undone at once is exposure
or tone. Codes of a picture are multiplied so that its brightness becomes the local mean of its
neighbours' (a Gaussian in the logarithm), within limits, so that lightning stays lightning.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import ExifTags, Image

MOST = 1.35
"""Largest factor on sRGB codes, and its inverse the smallest; about one stop of light."""
_CODE_EXPONENT = 1 / 2.2
"""sRGB codes go as this power of light, near enough between shadows and highlights."""


def gains(levels: ArrayLike, frames: int) -> NDArray[np.float64]:
    """Return the factor on each picture's codes.

    Parameters
    ----------
    levels
        ``(N,)`` brightness in codes, of any scale; NaN or 0 where unknown, which gets 1.
    frames
        Neighbours on either side that count; the Gaussian's sigma is half of it.

    Returns
    -------
    ndarray
        ``(N,)``; a picture depends on ``frames`` neighbours on either side and on no other.
    """
    level = np.asarray(levels, np.float64)
    if not len(level):
        return np.ones(0)
    known = np.isfinite(level) & (level > 0)
    log = np.where(known, np.log(np.where(known, level, 1.0)), 0.0)
    reach = np.arange(-frames, frames + 1)
    kernel = np.exp(-0.5 * np.square(reach / max(0.5 * frames, 0.5)))
    total = np.convolve(log, kernel)[frames : frames + len(log)]
    weight = np.convolve(known.astype(float), kernel)[frames : frames + len(log)]
    smooth = total / np.where(weight > 0, weight, 1.0)
    bound = np.log(MOST)
    return np.where(known, np.exp(np.clip(smooth - log, -bound, bound)), 1.0)


def exposure_level(exposure_s: float, *, gain_db: float = 0.0) -> float:
    """Return the brightness in codes that an exposure gives a steady sky, up to a factor."""
    light = exposure_s * 10.0 ** (gain_db / 20.0)
    return float(light**_CODE_EXPONENT) if light > 0 else float("nan")


def exif_level(path: Path) -> float:
    """Return the level of a file's EXIF exposure time and ISO; NaN where it has none."""
    try:
        with Image.open(path) as picture:
            tags = picture.getexif().get_ifd(ExifTags.IFD.Exif)
        exposure_s = float(tags[ExifTags.Base.ExposureTime])
        iso = tags.get(ExifTags.Base.ISOSpeedRatings, 100)
        speed = float(iso[0] if isinstance(iso, tuple) else iso) / 100.0
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, ZeroDivisionError):
        return float("nan")
    return exposure_level(exposure_s * speed)


def picture_level(picture: NDArray[np.uint8]) -> float:
    """Return the brightness of ``(H, W)`` or ``(H, W, 3)`` uint8: median of its middle's green."""
    grey = picture if picture.ndim == 2 else picture[..., 1]
    h, w = grey.shape
    reach = int(0.35 * min(h, w))
    middle = grey[h // 2 - reach : h // 2 + reach + 1, w // 2 - reach : w // 2 + reach + 1]
    return _median(middle[::4, ::4] if reach > 200 else middle)


def file_level(path: Path) -> float:
    """Return a file's :func:`picture_level`, decoded small; NaN where it cannot be read."""
    try:
        picture = cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error:
        return float("nan")
    return float("nan") if picture is None else picture_level(np.asarray(picture, np.uint8))


def _median(codes: NDArray[np.uint8]) -> float:
    """Return the median in fractions of a code: a dark sky has few codes."""
    counts = np.bincount(codes.ravel(), minlength=256).astype(np.float64)
    total = counts.cumsum()
    half = total[-1] / 2
    code = int(np.searchsorted(total, half))
    below = total[code - 1] if code else 0.0
    return code - 0.5 + (half - below) / counts[code] if counts[code] else float(code)
