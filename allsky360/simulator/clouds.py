"""Drifting clouds: an optical depth that is a continuous function of (seed, time, direction).

Two fixed Gaussian random textures tile a shell above the site. Wind carries them; a slow turn of
phase mixes one into the other, so that clouds also form and dissolve, while the mixture stays a
Gaussian field of unit variance. Where it exceeds the quantile that belongs to the wanted cover,
there is cloud.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.model import as_utc

Array = NDArray[np.float32]

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_SIZE = 1024
_LEVELS = 8
_EARTH_KM = 6371.0
_VEIL = 0.31  # a thin rim lies outside the cover: an optical depth of 0.3 is its edge


@dataclass(frozen=True)
class CloudField:
    """The weather of one simulation.

    Attributes
    ----------
    seed
        Picks shapes, wind direction and speed.
    cover
        Mean fraction of the sky under cloud, 0 to 1.
    height_km
        Height of the layer.
    tile_km
        Length after which the texture repeats.
    evolution_s
        Time in which clouds form and dissolve.
    """

    seed: int = 1
    cover: float = 0.15
    height_km: float = 4.0
    tile_km: float = 96.0
    evolution_s: float = 5400.0

    @property
    def wind_km_s(self) -> tuple[float, float]:
        """Wind toward (north, east), km a second; 4 to 12 m/s."""
        rng = np.random.default_rng([self.seed, 77])
        speed, heading = rng.uniform(0.004, 0.012), rng.uniform(0, 2 * np.pi)
        return float(speed * np.cos(heading)), float(speed * np.sin(heading))

    def optical_depth(self, vectors: Array, when: datetime) -> Array:
        """Return the optical depth along each line of sight.

        Parameters
        ----------
        vectors
            ``(H, W, 3)`` float32 (north, east, up) unit vectors; up is taken as at least 0.01.
        when
            Aware UTC instant.

        Returns
        -------
        ``(H, W)`` float32, 0 in clear air, about 0.3 for cirrus, above 5 opaque.
        """
        up = np.maximum(vectors[..., 2], np.float32(0.01))
        if self.cover <= 0.0:
            return np.zeros_like(up)
        seconds = (as_utc(when) - _EPOCH).total_seconds()
        # Distance along the line of sight to a shell above a round Earth.
        b = _EARTH_KM * up
        ratio = self.height_km * (2 * _EARTH_KM + self.height_km)
        distance = ratio / (b + np.sqrt(b * b + ratio))
        scale = _SIZE / self.tile_km
        drift = [seconds * w % self.tile_km for w in self.wind_km_s]
        rows = ((vectors[..., 0] * distance - np.float32(drift[0])) * scale).astype(np.float32)
        columns = ((vectors[..., 1] * distance - np.float32(drift[1])) * scale).astype(np.float32)
        # How much shell one step of 0.65 degree covers: choose the blur that avoids aliasing.
        stretch = distance / self.height_km / np.maximum(up, 0.05)
        level = np.log2(np.maximum(0.0113 * self.height_km * scale * stretch / 2.0, 1.0))
        field = _mixture(self.seed, rows, columns, level.astype(np.float32), self._turn(seconds))
        threshold = NormalDist().inv_cdf(1.0 - min(self.cover, 0.9995))
        excess = np.maximum(field - np.float32(threshold - _VEIL), 0.0)
        depth = 0.3 * excess + 2.2 * excess * excess
        slant = np.minimum(1.0 / up, 2.5)
        return np.asarray(np.minimum(depth * slant, 40.0), dtype=np.float32)

    def _turn(self, seconds: float) -> float:
        return 2 * np.pi * (seconds / (4 * self.evolution_s) % 1.0)


@lru_cache(maxsize=4)
def _pyramids(seed: int) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Return two periodic Gaussian textures of unit variance at several blurs."""
    rng = np.random.default_rng([seed, 4711])
    return _pyramid(rng), _pyramid(rng)


def _pyramid(rng: np.random.Generator) -> tuple[Array, ...]:
    fy = np.fft.fftfreq(_SIZE)[:, None] * _SIZE
    fx = np.fft.rfftfreq(_SIZE)[None, :] * _SIZE
    k = np.hypot(fx, fy)
    amplitude = np.where(k > 0, (1.0 + (k / 5.0) ** 2) ** -0.82, 0.0)
    spectrum = np.fft.rfft2(rng.standard_normal((_SIZE, _SIZE))) * amplitude
    levels = []
    for n in range(_LEVELS):
        blurred = spectrum * np.exp(-((k * 2.0**n / (_SIZE / 2)) ** 2))
        size = _SIZE >> max(n - 1, 0)  # what is blurred needs fewer samples
        half = size // 2
        kept = np.concatenate([blurred[:half], blurred[-half:]])[:, : half + 1]
        layer = np.fft.irfft2(kept, s=(size, size))
        levels.append((layer / layer.std()).astype(np.float32))
    return tuple(levels)


def _mixture(seed: int, rows: Array, columns: Array, level: Array, turn: float) -> Array:
    a, b = _pyramids(seed)
    ca, cb = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    rows, columns = rows % _SIZE, columns % _SIZE
    total = np.zeros_like(rows)
    for n in range(_LEVELS):
        share = np.clip(1.0 - np.abs(np.minimum(level, _LEVELS - 1) - n), 0.0, 1.0)
        if not share.any():
            continue
        texture = ca * a[n] + cb * b[n]
        finer = np.float32(texture.shape[0] / _SIZE)
        total += share * cv2.remap(
            texture, columns * finer, rows * finer, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )
    return total
