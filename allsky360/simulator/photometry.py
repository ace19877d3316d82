"""From magnitudes to electrons: bands, colours, extinction.

Radiance is counted in "zero-magnitude stars per steradian" (V = 0, B-V = 0), so that one zero point
a band turns stars and sky alike into electrons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allsky360.model import BayerPattern

Float = NDArray[np.float64]

ARCSEC2_PER_SR = (180.0 * 3600.0 / np.pi) ** 2


@dataclass(frozen=True)
class Band:
    """One colour of the sensor.

    Attributes
    ----------
    name
        R, G, B, or L for a mono sensor.
    response
        Electrons of a V = 0, B-V = 0 star relative to green.
    bv_slope
        Band magnitude minus V, per magnitude of B-V. A red star is fainter in blue (positive).
    extinction
        Magnitudes lost per airmass at sea level in clear air.
    """

    name: str
    response: float
    bv_slope: float
    extinction: float

    def colour_factor(self, bv: ArrayLike) -> Float:
        """Return the electrons of a source of colour ``bv`` over those of V alone, any shape."""
        return np.asarray(self.response * 10.0 ** (-0.4 * self.bv_slope * np.asarray(bv)))


# Slopes close to those of DSLR photometry (AAVSO DSLR Observing Manual, transformation chapter);
# responses are those of a Sony back-illuminated colour sensor behind an infrared cut filter.
COLOUR_BANDS = (
    Band("R", 0.60, -0.42, 0.11),
    Band("G", 1.00, 0.10, 0.16),
    Band("B", 0.82, 0.72, 0.25),
)
MONO_BANDS = (Band("L", 2.6, 0.08, 0.16),)

_CFA: dict[BayerPattern, tuple[int, int, int, int]] = {
    "RGGB": (0, 1, 1, 2),
    "BGGR": (2, 1, 1, 0),
    "GRBG": (1, 0, 2, 1),
    "GBRG": (1, 2, 0, 1),
}


def bands_of(pattern: BayerPattern | None) -> tuple[Band, ...]:
    """Return the bands of a sensor."""
    return MONO_BANDS if pattern is None else COLOUR_BANDS


def cfa_of(pattern: BayerPattern | None) -> NDArray[np.int64]:
    """Return the band index of each pixel of the top-left 2x2 cell, ``(2, 2)``."""
    if pattern is None:
        return np.zeros((2, 2), dtype=np.int64)
    return np.array(_CFA[pattern], dtype=np.int64).reshape(2, 2)


def flux(magnitude: ArrayLike) -> Float:
    """Return flux in zero-magnitude stars."""
    return np.asarray(10.0 ** (-0.4 * np.asarray(magnitude, dtype=np.float64)))


def radiance(mag_arcsec2: ArrayLike) -> Float:
    """Return radiance in zero-magnitude stars per steradian."""
    return np.asarray(flux(mag_arcsec2) * ARCSEC2_PER_SR)


def mag_arcsec2(radiance_sr: ArrayLike) -> Float:
    """Return surface brightness of a radiance in zero-magnitude stars per steradian."""
    floor = np.maximum(np.asarray(radiance_sr, dtype=np.float64), 1e-30)
    return np.asarray(-2.5 * np.log10(floor / ARCSEC2_PER_SR))


def airmass(altitude_deg: ArrayLike) -> Float:
    """Return airmass of an apparent altitude (Kasten & Young 1989, Applied Optics 28, 4735)."""
    h = np.maximum(np.asarray(altitude_deg, dtype=np.float64), 0.0)
    return np.asarray(1.0 / (np.sin(np.radians(h)) + 0.50572 * (h + 6.07995) ** -1.6364))
