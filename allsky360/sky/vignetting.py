"""The light a lens loses away from its axis, as a smooth radial curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

PRIOR = (0.30, 0.10)
PRIOR_SIGMA = (0.30, 0.20)
"""What fisheyes lose by the edge of their field, magnitudes: a broad guess to start from."""


@dataclass(frozen=True)
class Vignetting:
    """Loss in magnitudes: ``a t^2 + b t^4`` with t = theta / 90 degrees, 0 on the axis.

    ``a_sigma`` and ``b_sigma`` are 0 where the curve is given, not measured.
    """

    a: float = 0.0
    b: float = 0.0
    a_sigma: float = 0.0
    b_sigma: float = 0.0
    frames: int = 0

    def loss_mag(self, theta_deg: ArrayLike) -> Float:
        """Return magnitudes lost at an angle from the optical axis."""
        basis = vignetting_basis(theta_deg)
        return np.asarray(self.a * basis[0] + self.b * basis[1])


def pool_vignetting(
    fits: Sequence[tuple[tuple[float, float], Float]], *, prior: Vignetting | None = None
) -> Vignetting:
    """Return the curve that many clear frames agree on.

    Parameters
    ----------
    fits
        (a, b) and their ``(2, 2)`` covariance, one a frame: of a
        :class:`allsky360.sky.zero_point.ZeroPointFit`, ``vignetting`` and ``covariance[4:6, 4:6]``.
    prior
        What earlier nights gave; its errors weigh it.

    Raises
    ------
    ValueError
        Without any fit and prior.
    """
    information, right, frames = np.zeros((2, 2)), np.zeros(2), 0
    for values, covariance in fits:
        weight = np.linalg.inv(covariance + np.diag([0.02**2, 0.02**2]))
        information += weight
        right += weight @ np.asarray(values)
        frames += 1
    if prior is not None:
        if not (prior.a_sigma > 0 and prior.b_sigma > 0):
            return prior  # given, not measured: nothing to add
        weight = np.diag([prior.a_sigma**-2, prior.b_sigma**-2])
        information += weight
        right += weight @ np.array([prior.a, prior.b])
        frames += prior.frames
    if frames == 0:
        raise ValueError("no frame to pool the vignetting of")
    inverse = np.linalg.inv(information)
    a, b = inverse @ right
    a_sigma, b_sigma = np.sqrt(np.diag(inverse))
    return Vignetting(float(a), float(b), float(a_sigma), float(b_sigma), frames)


def vignetting_basis(theta_deg: ArrayLike) -> Float:
    """Return t^2 and t^4, ``(2, …)``."""
    t2 = (np.asarray(theta_deg, dtype=np.float64) / 90.0) ** 2
    return np.stack([t2, t2 * t2])
