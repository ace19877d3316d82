"""Atmospheric refraction, both ways.

Bennett (1982), Journal of Navigation 35, 255, gives refraction from the apparent altitude;
Saemundsson (1986), Sky & Telescope 72, 70, from the true one. Both agree with each other to 0.1'
and with Pulkovo tables to 0.07'. Below the horizon they are tapered to zero so that nothing jumps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

_LOWEST = -1.0  # degrees: the formulae hold above this


def _scale(pressure_mbar: float, temperature_c: float) -> float:
    return pressure_mbar / 1010.0 * 283.0 / (273.0 + temperature_c)


def pressure_mbar(elevation_m: float) -> float:
    """Return the standard-atmosphere pressure at a height (ISO 2533 troposphere)."""
    return float(1013.25 * (1.0 - 2.25577e-5 * elevation_m) ** 5.25588)


def refraction_deg(
    altitude_deg: ArrayLike, *, pressure_mbar: float = 1010.0, temperature_c: float = 10.0
) -> Float:
    """Return the lift of a body at true altitude ``altitude_deg`` (Saemundsson), degrees.

    Parameters
    ----------
    altitude_deg
        True (geometric) altitude, degrees, any shape.
    """
    h = np.asarray(altitude_deg, dtype=np.float64)
    clipped = np.maximum(h, _LOWEST)
    lift = 1.02 / 60.0 / np.tan(np.radians(clipped + 10.3 / (clipped + 5.11)))
    taper = np.clip(1.0 + (h - _LOWEST) / 2.0, 0.0, 1.0)
    return np.asarray(
        np.maximum(lift, 0.0) * taper * _scale(pressure_mbar, temperature_c), dtype=np.float64
    )


def unrefraction_deg(
    altitude_deg: ArrayLike, *, pressure_mbar: float = 1010.0, temperature_c: float = 10.0
) -> Float:
    """Return how much an apparent altitude ``altitude_deg`` is lifted (Bennett), degrees."""
    h = np.asarray(altitude_deg, dtype=np.float64)
    clipped = np.maximum(h, _LOWEST)
    lift = 1.0 / 60.0 / np.tan(np.radians(clipped + 7.31 / (clipped + 4.4)))
    taper = np.clip(1.0 + (h - _LOWEST) / 2.0, 0.0, 1.0)
    return np.asarray(
        np.maximum(lift, 0.0) * taper * _scale(pressure_mbar, temperature_c), dtype=np.float64
    )
