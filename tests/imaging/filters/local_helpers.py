"""What the tests of the local filters share: pictures with a known truth, and the second device."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np

DEVICE = array_api_strict.Device("device1")


def away(array: Any) -> Any:
    """The array on array-api-strict's second device, where a hidden host copy raises."""
    return array_api_strict.asarray(np.asarray(array), device=DEVICE)


def rgb(plane: np.ndarray) -> np.ndarray:
    """Three equal channels."""
    return np.repeat(plane.astype(np.float32)[..., None], 3, axis=2)


def step(
    low: float, high: float, *, soft_px: float = 0.0, h: int = 160, w: int = 320
) -> np.ndarray:
    """A vertical edge in the middle, sharp or a ramp."""
    x = np.arange(w) - (w - 1) / 2
    part = (x > 0).astype(float) if soft_px == 0 else np.clip(0.5 + x / soft_px, 0, 1)
    return rgb(np.tile(low + (high - low) * part, (h, 1)))


def clouds(h: int = 300, w: int = 420, *, level: float = 0.3, contrast: float = 0.05) -> np.ndarray:
    """Smooth random structure of some 15 px about a level, without noise."""
    rng = np.random.default_rng(8)
    spectrum = np.fft.rfft2(rng.standard_normal((h, w)))
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]
    plane = np.fft.irfft2(spectrum * np.exp(-((np.hypot(fy, fx) * 30) ** 2)), s=(h, w))
    return level + contrast * plane / plane.std()


def circle(h: int, w: int, share: float = 0.45) -> np.ndarray:
    y, x = np.mgrid[:h, :w]
    return np.hypot(y - h / 2, x - w / 2) < share * min(h, w)
