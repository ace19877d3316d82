"""The light a lens loses away from its axis, as a smooth radial curve."""

from __future__ import annotations

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


def vignetting_basis(theta_deg: ArrayLike) -> Float:
    """Return t^2 and t^4, ``(2, …)``."""
    t2 = (np.asarray(theta_deg, dtype=np.float64) / 90.0) ** 2
    return np.stack([t2, t2 * t2])
