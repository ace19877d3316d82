"""A sensor noise model measured on the frames themselves.

Photon transfer on small tiles: the variance of what is left after removing a straight line from
like-coloured neighbours, against the mean. Median absolute deviations keep stars out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, namespace, to_host

VERSION = 1

TILE = 32
TILES = 200
"""Tiles of all exposures together: their scatter leaves 1-2 % error on the variance."""

QUANTISATION_VAR = 1.0 / 12.0
ENOUGH_TILES = 12


@dataclass(frozen=True)
class NoiseModel:
    """Variance in ADU squared = ``read_var`` + ``shot`` x signal in ADU.

    ``shot`` is ADU per electron, the inverse of ``egain``.
    """

    read_var: float
    shot: float

    def sigma(self, signal_adu: float) -> float:
        """Standard deviation of one pixel at a signal."""
        return float(np.sqrt(self.read_var + self.shot * max(signal_adu, 0.0)))


def estimate_noise(
    frames: Sequence[Array], full_adu: Sequence[float], *, egain: float | None, mosaic: bool
) -> NoiseModel:
    """Fit the model to all exposures of a bracket at once.

    Parameters
    ----------
    frames
        ``(H, W)`` or ``(H, W, C)`` in ADU above black.
    full_adu
        Full well of each; brighter tiles are left out.
    egain
        Electrons per ADU where the camera tells; then only the read noise is fitted.
    mosaic
        Whether like-coloured neighbours are two pixels apart.
    """
    means, variances = [], []
    for frame, full in zip(frames, full_adu, strict=True):
        mean, variance = _photon_transfer(frame, 2 if mosaic else 1, TILES / len(frames))
        good = (mean < 0.7 * full) & (variance > 0)
        means.append(mean[good])
        variances.append(variance[good])
    mean, variance = np.concatenate(means), np.concatenate(variances)
    if mean.size < ENOUGH_TILES:
        shot = 1.0 / egain if egain else max(full_adu) / 20_000.0
        return NoiseModel(max(QUANTISATION_VAR, 9.0 * shot**2), shot)
    return _fit(np.maximum(mean, 0.0), variance, egain)


def _photon_transfer(
    frame: Array, step: int, tiles: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and robust variance of each of about ``tiles`` tiles and each colour."""
    h, w = frame.shape[:2]
    size = min(TILE, h // 2 * 2, w // 2 * 2)
    if size < 3 * step:
        return np.empty(0), np.empty(0)
    per_axis = max(1, round(tiles**0.5))
    # Even corners keep the Bayer phase; the tiles are all that is downloaded.
    picked = [
        frame[top : top + size, left : left + size, ...]
        for top in _corners(h, size, per_axis)
        for left in _corners(w, size, per_axis)
    ]
    tile = to_host(namespace(frame).stack(picked)).astype(np.float32, copy=False)
    side = size // step
    tile = tile[:, : side * step, : side * step, ...]
    tile = tile.reshape(len(picked), side, step, side, step, -1)
    tile = np.ascontiguousarray(tile.transpose(0, 2, 4, 5, 1, 3)).reshape(-1, side, side)
    rest = tile[:, :, :-2] - 2.0 * tile[:, :, 1:-1] + tile[:, :, 2:]
    rest = rest.reshape(len(rest), -1)
    spread = 1.4826 * _medians(np.abs(rest - _medians(rest)[:, None]))
    return _medians(tile.reshape(len(tile), -1)).astype(float), spread.astype(float) ** 2 / 6.0


def _medians(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each row (NumPy's own is ten times slower on short rows)."""
    n = rows.shape[1]
    ordered = np.sort(rows, axis=1)
    return np.asarray(0.5 * (ordered[:, (n - 1) // 2] + ordered[:, n // 2]), dtype=np.float32)


def _corners(n: int, size: int, per_axis: int) -> list[int]:
    count = max(1, min(per_axis, n // size))
    return sorted({int(i) // 2 * 2 for i in np.linspace(0, n - size, count)})


def _fit(
    mean: NDArray[np.float64], variance: NDArray[np.float64], egain: float | None
) -> NoiseModel:
    """Weighted straight line; tiles with texture lie above it and are clipped away."""
    floor = max(QUANTISATION_VAR, float(np.quantile(variance, 0.02)) * 0.25)
    keep = np.ones(mean.shape, dtype=bool)
    model = NoiseModel(floor, float(np.median(variance) / max(np.median(mean), 1.0)))
    for _ in range(4):
        m, v = mean[keep], variance[keep]
        weight = 1.0 / (model.read_var + model.shot * m)
        if egain:
            shot = 1.0 / egain
            read = float(np.median(v - shot * m))
        elif np.ptp(m) < 0.5 * max(float(np.median(m)), 1e-9):
            # One brightness only: read and shot noise cannot be told apart.
            shot, read = float(np.median(v) / max(np.median(m), 1.0)), floor
        else:
            design = np.stack([np.ones_like(m), m], axis=1) * weight[:, None]
            read, shot = (float(c) for c in np.linalg.lstsq(design, v * weight, rcond=None)[0])
        model = NoiseModel(max(read, floor), max(shot, 1e-6))
        expected = model.read_var + model.shot * mean
        kept = (variance < 1.6 * expected) & (variance > 0.4 * expected)
        if kept.sum() < ENOUGH_TILES:
            break
        keep = kept
    return model
