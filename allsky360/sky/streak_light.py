"""How much light a streak brought, in the plane's unit and as a magnitude."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import to_host
from allsky360.sky.airmass import airmass
from allsky360.sky.lens import LensModel
from allsky360.sky.photometry import Photometry
from allsky360.sky.star_mask import star_mask

Array = Any
Double = NDArray[np.float64]

BV, BV_SIGMA = 0.5, 0.3
"""Colour put down to what is not a star: between a meteor's and sunlight."""

SKY_PX = 10
"""Width of the sky taken on either side, pixels."""


def streak_light(
    plane: Array,
    x: Double,
    y: Double,
    *,
    fwhm_px: float,
    stars: tuple[Double, Double, Double] | None = None,
) -> tuple[float, float]:
    """Return the light of a streak and its standard deviation, plane units summed over pixels.

    The strip within 1.5 FWHM of the path, less the median of the sky beside it. Known stars are
    left out, and the light they hide is taken to be that of the rest.

    Parameters
    ----------
    plane
        ``(H, W)`` measurement plane; only the streak's surroundings are brought to the host.
    x, y
        ``(n,)`` points of its path from end to end, pixels.
    stars
        x, y and light of every star in the picture, as ``Photometry.sources``.
    """
    half, margin = max(round(1.5 * fwhm_px), 2), 4 + SKY_PX + round(3 * fwhm_px)
    left, top = (max(int(v.min()) - margin, 0) for v in (x, y))
    part = to_host(plane[top : int(y.max()) + margin, left : int(x.max()) + margin])
    hidden = np.zeros(part.shape, np.uint8)
    if stars is not None:
        sx, sy, shine = stars[0] - left, stars[1] - top, stars[2]
        near = (sx > -9) & (sy > -9) & (sx < part.shape[1] + 9) & (sy < part.shape[0] + 9)
        hidden = star_mask(part.shape, sx[near], sy[near], shine[near], fwhm_px=fwhm_px)
    px, py, across = _strip_at(x - left, y - top, half, margin)
    part = np.ascontiguousarray(part, np.float32)
    strip = cv2.remap(part, px, py, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    dark = cv2.remap(hidden, px, py, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE) > 0
    values = np.where(dark, np.nan, strip.astype(np.float64))
    core = np.abs(across) <= half
    beside = np.abs(across) > half + 1
    sky = values[beside]
    level, sigma = _middle_and_spread(sky)
    seen = np.isfinite(values[core])
    count, around = int(np.count_nonzero(seen)), int(np.count_nonzero(np.isfinite(sky)))
    if count == 0 or not math.isfinite(level):
        return float("nan"), float("nan")
    share = count / seen.size
    light = float(np.nansum(values[core] - level)) / share
    error = sigma * math.sqrt(count * (1.0 + count / max(around, 1)))
    return light, error / share


def streak_magnitude(
    light: tuple[float, float],
    seconds: float,
    x: float,
    y: float,
    lens: LensModel,
    photometry: Photometry,
) -> tuple[float, float]:
    """Return the V magnitude of a steady source that gave this light in ``seconds``, and sigma.

    Above the atmosphere, on the zero point of the frame's own stars, at the streak's middle (x, y);
    NaN without a zero point or light.
    """
    value, error = light
    if not value > 0 or photometry.zero_point_source == "none":
        return float("nan"), float("nan")
    altitude, _ = lens.unproject(x, y)
    theta = np.degrees(lens.theta(np.hypot(x - lens.cx, y - lens.cy)))
    loss = float(photometry.vignetting.loss_mag(theta))
    air = float(airmass(max(float(altitude), 1.0)))
    c1, c2 = photometry.colour
    magnitude = photometry.zero_point_mag - 2.5 * math.log10(value / seconds) - loss
    magnitude -= photometry.extinction * air + c1 * BV + c2 * BV**2
    parts = (
        1.0857 * error / value,
        photometry.zero_point_sigma,
        photometry.extinction_sigma * air,
        (c1 + 2 * c2 * BV) * BV_SIGMA,
        photometry.scatter_mag if math.isfinite(photometry.scatter_mag) else 0.1,
    )
    return magnitude, math.sqrt(sum(p * p for p in parts if math.isfinite(p)))


def _strip_at(
    x: Double, y: Double, half: int, margin: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return where a strip along a path is sampled, a pixel a step, with ends beyond the light."""
    steps = np.hypot(np.diff(x), np.diff(y))
    at = np.concatenate([[0.0], np.cumsum(steps)])
    t = np.arange(-half, at[-1] + half + 1.0)
    cx, cy = np.interp(t, at, x), np.interp(t, at, y)
    ux, uy = np.gradient(x, at), np.gradient(y, at)
    dx, dy = np.interp(t, at, ux), np.interp(t, at, uy)
    norm = np.maximum(np.hypot(dx, dy), 1e-9)
    dx, dy = dx / norm, dy / norm
    beyond = t - np.clip(t, 0.0, at[-1])
    cx, cy = cx + beyond * dx, cy + beyond * dy
    across = np.arange(-margin + 2, margin - 1)
    px = (cx[None, :] - across[:, None] * dy).astype(np.float32)
    py = (cy[None, :] + across[:, None] * dx).astype(np.float32)
    return px, py, across


def _middle_and_spread(values: Double) -> tuple[float, float]:
    good = values[np.isfinite(values)]
    if good.size < 20:
        return float("nan"), float("nan")
    low, middle = np.quantile(good, [0.1587, 0.5])
    near = good[good < middle + 3.0 * (middle - low)]
    return float(np.median(near)), float(middle - low)
