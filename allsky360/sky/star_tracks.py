"""Where the catalogue's stars stand over many instants at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from allsky360.model import Site, as_utc
from allsky360.sky.catalogue import EPOCH, Catalogue, aberrated, altaz_of
from allsky360.sky.ephemeris import observer, place, skyfield_time
from allsky360.sky.refraction import pressure_mbar, refraction_deg

Float = NDArray[np.float64]

_JULIAN_YEAR_S = 365.25 * 86400.0
_LIGHT_AU_PER_DAY = 173.1446326846693
_MAS = np.radians(1.0 / 3.6e6)


def apparent_altaz_track(
    catalogue: Catalogue, site: Site, whens: Sequence[datetime], *, refracted: bool = True
) -> tuple[Float, Float]:
    """Return where the stars stand at many instants, degrees.

    The same corrections as :func:`allsky360.sky.catalogue.apparent_altaz`; Skyfield is asked once
    for all instants, which is where the time goes.

    Returns
    -------
    altitude_deg, azimuth_deg
        ``(T, N)`` float64 each: instants down, stars across.
    """
    shape = (len(whens), len(catalogue))
    if 0 in shape:
        return np.empty(shape), np.empty(shape)
    t = skyfield_time(list(whens))
    here = observer(site).at(t)
    position = np.asarray(here.position.au).T
    velocity = np.asarray(here.velocity.au_per_d).T / _LIGHT_AU_PER_DAY
    turn = np.moveaxis(np.asarray(place(site).rotation_at(t), dtype=np.float64), -1, 0)
    toward, motion = catalogue.vectors
    parallax = np.maximum(catalogue.parallax_mas, 0.0)[:, None] * _MAS
    seen = np.empty((*shape, 3))
    for i, when in enumerate(whens):
        years = (as_utc(when) - EPOCH).total_seconds() / _JULIAN_YEAR_S
        u = toward + motion * years - parallax * position[i]
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        seen[i] = aberrated(u, velocity[i]) @ turn[i].T
    altitude, azimuth = altaz_of(seen)
    if refracted:
        lift = refraction_deg(altitude, pressure_mbar=pressure_mbar(site.elevation_m))
        altitude = altitude + lift
    return altitude, azimuth
