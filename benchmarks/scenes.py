"""Frames to time things on: cheap to make, with a sky, a gradient, stars, noise."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from allsky360.model import Bracket, Exposure

BLACK, SATURATION = 500, 60_000


def exposure_of(size: tuple[int, int], exposure_s: float, seed: int) -> Exposure:
    """A raw RGGB frame ``(width, height)``: image circle, gradient, stars, noise."""
    width, height = size
    rng = np.random.default_rng(seed)
    light = star_field(height, width) * np.float32(3000.0 * exposure_s / 10.0)
    light[0::2, 0::2] *= 0.6
    light[1::2, 1::2] *= 0.7
    light += np.sqrt(light + 9.0) * rng.standard_normal(light.shape, dtype=np.float32) + BLACK
    raw = np.clip(light, 0, SATURATION).astype(np.uint16)
    return Exposure(raw, "RGGB", datetime(2026, 1, 1, tzinfo=UTC), exposure_s,
                    saturation_adu=SATURATION)  # fmt: skip


def bracket_of(size: tuple[int, int], count: int) -> Bracket:
    """A bracket of exposures two EV apart."""
    return Bracket(tuple(exposure_of(size, 10.0 / 4**k, k) for k in range(count)))


def linear_of(height: int, width: int) -> NDArray[np.float32]:
    """A linear, balanced frame ``(H, W, 3)``, sky about 1, with noise."""
    rng = np.random.default_rng(9)
    light = star_field(height, width)
    image = np.empty((height, width, 3), np.float32)
    for band, tint in enumerate((0.97, 1.0, 1.05)):
        noise = rng.standard_normal(light.shape, dtype=np.float32)
        image[..., band] = tint * light + 0.03 * noise * np.sqrt(light + 0.1)
    return image


def star_field(height: int, width: int) -> NDArray[np.float32]:
    """Sky about 1 in an image circle, brighter towards its edge, with 3000 stars."""
    rng = np.random.default_rng(7)
    rows, columns = np.ogrid[:height, :width]
    radius2 = ((rows - height / 2) ** 2 + (columns - width / 2) ** 2) / (height / 2) ** 2
    light = np.where(radius2 < 0.96, 1.0 + 0.5 * radius2, 0.0).astype(np.float32)
    yy, xx = np.mgrid[-3:4, -3:4]
    psf = np.exp(-0.5 * (yy**2 + xx**2) / 0.9**2).astype(np.float32)
    for _ in range(3000):
        y, x = rng.integers(4, height - 4), rng.integers(4, width - 4)
        light[y - 3 : y + 4, x - 3 : x + 4] += np.float32(10.0 ** rng.uniform(-0.5, 2.5)) * psf
    return light
