"""How a camera's lens moved between nights: shift, turn and scale, with their sigma.

Parameters cannot be compared one by one: a tilt of the axis and a shift of the centre nearly
cancel. Places can: a grid of directions is projected through both lenses, and the similarity that
brings one set of places to the other is the drift. The sigma follows from both covariances through
the same linear map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from allsky360.errors import AllskyError
from allsky360.sky.solve import LensSolution
from allsky360.sky.solve_fit import geometry_of, jacobian, project, unit_vectors

Float = NDArray[np.float64]

_LOWEST_DEG = 30.0


class DriftError(AllskyError):
    """Solutions that cannot be compared."""


@dataclass(frozen=True)
class LensDrift:
    """The move from a reference solution to another; sigmas are one standard deviation.

    Attributes
    ----------
    when
        First frame of the later solution.
    dx_px, dy_px
        Shift of the picture of the zenith's surroundings, pixels.
    rotation_deg
        Turn about the centre, from x toward y (clockwise as displayed).
    scale
        Ratio of scales minus 1.
    residual_px
        RMS of what shift, turn and scale leave: a changed distortion.
    """

    when: datetime
    dx_px: float
    dy_px: float
    rotation_deg: float
    scale: float
    dx_sigma_px: float
    dy_sigma_px: float
    rotation_sigma_deg: float
    scale_sigma: float
    residual_px: float

    @property
    def significance(self) -> float:
        """Largest of the four moves over its sigma."""
        moves = (
            (self.dx_px, self.dx_sigma_px),
            (self.dy_px, self.dy_sigma_px),
            (self.rotation_deg, self.rotation_sigma_deg),
            (self.scale, self.scale_sigma),
        )
        return max(abs(value) / max(sigma, 1e-12) for value, sigma in moves)


def lens_drift(solutions: Sequence[LensSolution]) -> list[LensDrift]:
    """Compare each solution with the first.

    Raises
    ------
    DriftError
        When frame size or mirroring differ: that is another camera set-up, not a drift.
    """
    if not solutions:
        return []
    first = solutions[0]
    for other in solutions[1:]:
        for name in ("width", "height", "parity"):
            if getattr(other.lens, name) != getattr(first.lens, name):
                raise DriftError(
                    f"{name} changed from {getattr(first.lens, name)} to "
                    f"{getattr(other.lens, name)}: no drift can be measured.",
                    mend="Start a new series of lens files.",
                )
    return [_drift(first, other) for other in solutions[1:]]


def _drift(first: LensSolution, other: LensSolution) -> LensDrift:
    altitude, azimuth = np.meshgrid(np.arange(_LOWEST_DEG, 90.0, 5.0), np.arange(0.0, 360.0, 15.0))
    altitude, azimuth = altitude.ravel(), azimuth.ravel()
    seen = first.lens.project(altitude, azimuth)[2] & other.lens.project(altitude, azimuth)[2]
    if np.count_nonzero(seen) < 12:
        raise DriftError("the two lenses show hardly any common sky.")
    enu = unit_vectors(altitude[seen], azimuth[seen])
    old, new = geometry_of(first.lens), geometry_of(other.lens)
    x, y = project(old, enu)
    x1, y1 = project(new, enu)
    u, v = x - first.lens.cx, y - first.lens.cy
    zero, one = np.zeros_like(u), np.ones_like(u)
    # Moves to first order: shift, turn (u, v) -> (-v, u), scale (u, v) -> (u, v).
    design = np.stack(
        [
            np.concatenate([one, zero]),
            np.concatenate([zero, one]),
            np.concatenate([-v, u]),
            np.concatenate([u, v]),
        ],
        axis=1,
    )
    solve = np.linalg.pinv(design)
    moved = np.concatenate([x1 - x, y1 - y])
    move = solve @ moved
    every = range(9)
    spread = sum(
        solve @ jacobian(g, enu, every) @ s.covariance @ (solve @ jacobian(g, enu, every)).T
        for g, s in ((old, first), (new, other))
    )
    sigma = np.sqrt(np.diag(np.asarray(spread)))
    left = moved - design @ move
    return LensDrift(
        when=other.whens[0],
        dx_px=float(move[0]),
        dy_px=float(move[1]),
        rotation_deg=float(np.degrees(move[2])),
        scale=float(move[3]),
        dx_sigma_px=float(sigma[0]),
        dy_sigma_px=float(sigma[1]),
        rotation_sigma_deg=float(np.degrees(sigma[2])),
        scale_sigma=float(sigma[3]),
        residual_px=float(np.sqrt(2.0 * np.mean(left**2))),
    )
