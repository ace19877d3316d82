"""Sun, Moon and planets: where they are and how bright, for the renderer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from allsky360.model import Site
from allsky360.sky.ephemeris import SunMoon, ephemeris, observer, skyfield_time, sun_moon
from allsky360.sky.refraction import pressure_mbar, refraction_deg

# Mean B-V: Mallama, Krobusek & Pavlov (2017), Icarus 282, 19, rounded.
PLANETS: dict[str, tuple[str, float]] = {
    "Mercury": ("mercury", 0.97),
    "Venus": ("venus", 0.81),
    "Mars": ("mars", 1.43),
    "Jupiter": ("jupiter barycenter", 0.87),
    "Saturn": ("saturn barycenter", 1.09),
    "Uranus": ("uranus barycenter", 0.56),
}
SUN_V = -26.74
SUN_RADIUS_DEG = 0.2666


@dataclass(frozen=True)
class Planet:
    """A planet as a point of light; apparent (refracted) degrees."""

    name: str
    altitude_deg: float
    azimuth_deg: float
    v_mag: float
    bv: float


def planets(site: Site, when: datetime) -> tuple[Planet, ...]:
    """Return the naked-eye planets above the horizon."""
    from skyfield.magnitudelib import planetary_magnitude

    here = observer(site).at(skyfield_time(when))
    found = []
    for name, (target, bv) in PLANETS.items():
        seen = here.observe(ephemeris()[target])
        altitude, azimuth, _ = seen.apparent().altaz()
        if altitude.degrees < -1.0:
            continue
        lifted = altitude.degrees + _lift(site, altitude.degrees)
        v = float(planetary_magnitude(seen))
        if np.isfinite(v):
            found.append(Planet(name, lifted, float(azimuth.degrees), v, bv))
    return tuple(found)


def apparent_sun_moon(site: Site, when: datetime) -> SunMoon:
    """Return Sun and Moon lifted by refraction at the site's height."""
    true = sun_moon(site, when)
    fields: dict[str, Any] = {k: getattr(true, k) for k in true.__dataclass_fields__}
    for key in ("sun_altitude_deg", "moon_altitude_deg"):
        fields[key] += _lift(site, fields[key])
    return SunMoon(**fields)


def moon_v(phase_angle_deg: float) -> float:
    """Return the Moon's V magnitude above the atmosphere (Krisciunas & Schaefer 1991, eq. 9)."""
    return -12.73 + 0.026 * abs(phase_angle_deg) + 4e-9 * phase_angle_deg**4


def _lift(site: Site, altitude_deg: float) -> float:
    return float(refraction_deg(altitude_deg, pressure_mbar=pressure_mbar(site.elevation_m)))
