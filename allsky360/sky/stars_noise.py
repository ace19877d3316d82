"""Noise of a plane where faint stars crowd it: what photons alone would make at each level."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from allsky360.sky.background import Background

LEVELS = 10
QUIET_SHARE = 0.25
TOLERANCE, SAME, QUIETER = 1.05, 0.99, 0.8
ENOUGH_CELLS = 24
QUANTILE_SCATTER = 0.62
"""Relative error of a cell's noise times the root of its pixels: 1.48 for the 15.9 % quantile of a
Gaussian sample about its median, less by 2.4 for the median over nine cells."""


def without_confusion(background: Background, correlated_px: float = 1.0) -> Background:
    """Return the background with the noise of crowded cells brought down to that of quiet ones.

    Photon noise is a function of the level: variance = a + b level. The quietest quarter of the
    cells of every level shows it; what other cells of the same level have on top is unresolved
    stars, structure, or an edge, which the ring around a candidate judges better than its cell.
    Cells within the scatter of that line are set on it; much quieter ones keep their own noise.

    Parameters
    ----------
    correlated_px
        Pixels that share their noise, as under a filter: how few a cell really holds says how far
        below the truth its quietest quarter lies.
    """
    use = background.known & (background.sigma > 0.0)
    if use.sum() < ENOUGH_CELLS:
        return background
    level = background.level[use].astype(np.float64)
    variance = background.sigma[use].astype(np.float64) ** 2
    edges = np.quantile(level, np.linspace(0.0, 1.0, LEVELS + 1))
    at, quiet = [], []
    for low, high in pairwise(edges):
        inside = (level >= low) & (level <= high)
        if inside.sum() >= 4:
            at.append(float(np.median(level[inside])))
            quiet.append(float(np.quantile(variance[inside], QUIET_SHARE)))
    offset, slope = _line(np.array(at), np.array(quiet))
    scatter = QUANTILE_SCATTER / np.sqrt(background.box**2 / max(correlated_px, 1.0))
    at_least = float(np.sqrt(np.min(quiet)))
    line = np.sqrt(np.maximum(offset + slope * background.level, at_least**2))
    line /= 1.0 - 0.67 * min(scatter, 0.5)
    sigma = np.clip(background.sigma, SAME * line, TOLERANCE * line)
    sigma = np.where(background.sigma < QUIETER * line, background.sigma, sigma)
    return replace(background, sigma=np.asarray(sigma, np.float32))


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return offset and slope (none falling) of a line through points, weighed by relative error.

    Points far above the line (a level that is crowded everywhere) are left out.
    """
    keep = np.ones(x.size, bool)
    offset, slope = float(np.median(y)), 0.0
    for _ in range(4):
        weight = 1.0 / np.maximum(y[keep], 1e-30)
        if keep.sum() >= 3 and np.ptp(x[keep]) > 0.0:
            design = np.stack([np.ones(keep.sum()), x[keep]], axis=1) * weight[:, None]
            offset, slope = np.linalg.lstsq(design, y[keep] * weight, rcond=None)[0]
        if slope < 0.0:
            offset, slope = float(np.median(y[keep])), 0.0
        keep = y < 1.3 * np.maximum(offset + slope * x, 1e-30)
        if keep.sum() < 3:
            break
    return float(offset), float(slope)
