"""How much air a line of sight crosses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


def airmass(altitude_deg: ArrayLike) -> Float:
    """Return the airmass at an apparent altitude, 1 at the zenith.

    Kasten & Young (1989), Applied Optics 28, 4735; below the horizon it keeps the horizon's 38.
    """
    h = np.maximum(np.asarray(altitude_deg, dtype=np.float64), 0.0)
    return np.asarray(1.0 / (np.sin(np.radians(h)) + 0.50572 * (h + 6.07995) ** -1.6364))
