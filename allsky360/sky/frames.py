"""Sidereal time, and the celestial frames as seen from a site."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allsky360.model import Site
from allsky360.sky.ephemeris import place, skyfield_time

Float = NDArray[np.float64]
#: ``icrs``; ``equator`` and ``ecliptic``: true equator and equinox of date; ``galactic``: IAU 1958.
Frame = Literal["icrs", "equator", "ecliptic", "galactic"]


def sidereal_time_h(site: Site, when: datetime) -> float:
    """Return the local apparent sidereal time in hours, [0, 24)."""
    return float((skyfield_time(when).gast + site.longitude_deg / 15.0) % 24.0)


def unit_vectors(longitude_deg: ArrayLike, latitude_deg: ArrayLike) -> Float:
    """Return unit vectors ``(..., 3)`` of spherical coordinates in degrees."""
    lon, lat = np.radians(longitude_deg), np.radians(latitude_deg)
    x, y, z = np.broadcast_arrays(np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat))
    return np.stack([x, y, z], axis=-1)


def horizon_matrix(site: Site, when: datetime, frame: Frame = "icrs") -> Float:
    """Return the rotation from a celestial frame to (north, east, up), ``(3, 3)``.

    Geometric directions: refraction and aberration (20 arcsec) are not in it.
    """
    t = skyfield_time(when)
    to_horizon = np.asarray(place(site).rotation_at(t), dtype=np.float64)
    return np.asarray(to_horizon @ _from_icrs(t, frame).T)


def _from_icrs(t: Any, frame: Frame) -> Float:
    if frame == "icrs":
        return np.eye(3)
    if frame == "equator":
        return np.asarray(t.M, dtype=np.float64)
    from skyfield.framelib import ecliptic_frame, galactic_frame

    chosen = ecliptic_frame if frame == "ecliptic" else galactic_frame
    return np.asarray(chosen.rotation_at(t), dtype=np.float64)
