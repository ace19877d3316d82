"""The camera's own colour index against Johnson B-V, told by the stars of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

MIN_STARS = 25


@dataclass(frozen=True)
class ColourRelation:
    """-2.5 log10(blue / red) = offset + slope (B-V) + per_airmass X, with the scatter of a star."""

    offset: float
    slope: float
    per_airmass: float
    scatter: float
    stars: int

    def bv(self, red: ArrayLike, blue: ArrayLike) -> Float:
        """Return B-V of light as it reaches the camera (no airmass term); NaN for no light."""
        r, b = np.asarray(red, dtype=np.float64), np.asarray(blue, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            index = np.where((r > 0) & (b > 0), -2.5 * np.log10(b / r), np.nan)
        return np.asarray((index - self.offset) / self.slope)


def fit_colour_relation(colours: Float, bv: Float, airmass: Float) -> ColourRelation | None:
    """Fit the relation to star fluxes ``(N, 3)``, robustly; None where it cannot be told."""
    if bv.size < MIN_STARS:
        return None
    index = -2.5 * np.log10(colours[:, 2] / colours[:, 0])
    design = np.stack([np.ones_like(bv), bv, airmass - 1.0], axis=1)
    weight = np.ones_like(bv)
    answer, spread = np.zeros(3), 0.0
    for _ in range(12):
        root = np.sqrt(weight)[:, None]
        answer, *_ = np.linalg.lstsq(design * root, index * root[:, 0], rcond=None)
        rest = index - design @ answer
        spread = max(1.4826 * float(np.median(np.abs(rest))), 1e-3)
        weight = 1.0 / (1.0 + (rest / (2.0 * spread)) ** 2)  # Cauchy: blends are far off
    if not 0.2 < answer[1] < 4.0 or spread > 0.5:
        return None
    offset = float(answer[0] - answer[2])
    return ColourRelation(offset, float(answer[1]), float(answer[2]), spread, int(bv.size))
