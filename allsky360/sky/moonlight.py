"""How bright the Moon makes a clear sky.

Krisciunas & Schaefer (1991), PASP 103, 1033: a Rayleigh and a Mie part of the angle to the Moon,
the Moon's own brightness by phase, and extinction of what comes down and of what comes along.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allsky360.sky.airmass import airmass
from allsky360.sky.catalogue import horizon_vectors
from allsky360.sky.ephemeris import SunMoon

Float = NDArray[np.float64]

K_V = 0.16
"""Extinction in V of clear air, magnitudes an airmass."""


def moon_phase_angle_deg(moon: SunMoon) -> float:
    """Return the phase angle: 0 full, 180 new."""
    return float(np.degrees(np.arccos(np.clip(2.0 * moon.moon_illumination - 1.0, -1.0, 1.0))))


def moonlight_nanolamberts(
    cos_to_moon: ArrayLike, airmass: ArrayLike, moon_altitude_deg: float, phase_angle_deg: float
) -> Float:
    """Return the brightness of moonlight scattered by clear air, nanolamberts (their eq. 15).

    Parameters
    ----------
    cos_to_moon
        Cosine of the angle to the Moon.
    airmass
        Of the place looked at, same shape.
    phase_angle_deg
        0 at full Moon.
    """
    cosine = np.asarray(cos_to_moon)
    rho = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    alpha = abs(phase_angle_deg)
    brightness = 10.0 ** (-0.4 * (3.84 + 0.026 * alpha + 4e-9 * alpha**4))
    rayleigh = 10.0**5.36 * (1.06 + cosine**2)
    # Their two branches meet at 8.6 degrees; the larger one keeps it free of a step.
    mie = np.maximum(10.0 ** (6.15 - rho / 40.0), 6.2e7 / np.maximum(rho, 1.0) ** 2)
    moon_z = np.radians(90.0 - max(moon_altitude_deg, 0.0))
    moon_x = 1.0 / np.sqrt(1.0 - 0.96 * np.sin(moon_z) ** 2)
    return np.asarray(
        (rayleigh + mie)
        * brightness
        * 10.0 ** (-0.4 * K_V * moon_x)
        * (1.0 - 10.0 ** (-0.4 * K_V * np.asarray(airmass)))
    )


def mag_of_nanolamberts(brightness: ArrayLike) -> Float:
    """Return V magnitudes per square arcsecond of a brightness in nanolamberts (their eq. 1)."""
    safe = np.maximum(np.asarray(brightness), 1e-9)
    return np.asarray((20.7233 - np.log(safe / 34.08)) / 0.92104)


def moonlit_mag(lights: SunMoon, altitude_deg: Float, azimuth_deg: Float) -> Float:
    """Return the moonlight alone, V magnitudes per square arcsecond, any shape; inf: Moon down."""
    if lights.moon_altitude_deg <= 0.0:
        return np.full(np.shape(altitude_deg), np.inf)
    moon = horizon_vectors(np.array(lights.moon_altitude_deg), np.array(lights.moon_azimuth_deg))
    light = moonlight_nanolamberts(
        horizon_vectors(altitude_deg, azimuth_deg) @ moon,
        airmass(altitude_deg),
        lights.moon_altitude_deg,
        moon_phase_angle_deg(lights),
    )
    return mag_of_nanolamberts(light)
