"""Sun, Moon and planets for a site: place, brightness, size, phase; one instant or a whole night.

Places are topocentric and apparent (light time, deflection, aberration), from JPL DE421 through
Skyfield. Planet magnitudes: Mallama & Hilton (2018), Astronomy and Computing 25, 10, as Skyfield
evaluates them; the Moon's: Krisciunas & Schaefer (1991), PASP 103, 1033, eq. 9. Radii: IAU 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.errors import AllskyError
from allsky360.model import Site
from allsky360.sky.ephemeris import ephemeris, observer, skyfield_time
from allsky360.sky.refraction import pressure_mbar, refraction_deg

Float = NDArray[np.float64]

#: Name -> (target in DE421, equatorial radius in km).
_TARGETS: dict[str, tuple[str, float]] = {
    "Sun": ("sun", 695_700.0),
    "Moon": ("moon", 1_737.4),
    "Mercury": ("mercury", 2_440.53),
    "Venus": ("venus", 6_051.8),
    "Mars": ("mars", 3_396.19),
    "Jupiter": ("jupiter barycenter", 71_492.0),
    "Saturn": ("saturn barycenter", 60_268.0),
    "Uranus": ("uranus barycenter", 25_559.0),
    "Neptune": ("neptune barycenter", 24_764.0),
}
BODIES: tuple[str, ...] = tuple(_TARGETS)
PLANETS: tuple[str, ...] = BODIES[2:]
SUN_V = -26.74
_AU_KM = 149_597_870.7


class BodyError(AllskyError):
    """A body this ephemeris does not have."""


@dataclass(frozen=True)
class Body:
    """A solar-system body as seen from a site.

    Attributes
    ----------
    altitude_deg, azimuth_deg
        Degrees, azimuth from north through east; with refraction unless it was switched off.
    ra_deg, dec_deg
        Topocentric astrometric place, ICRS, degrees.
    v_mag
        V magnitude above the atmosphere; NaN where no formula holds (Mercury or Venus in front of
        the Sun).
    diameter_arcsec
        Equatorial.
    distance_au
        From the observer.
    illumination
        Lit fraction of the disc, 0 to 1.
    elongation_deg
        Angle from the Sun.
    """

    name: str
    altitude_deg: float
    azimuth_deg: float
    ra_deg: float
    dec_deg: float
    v_mag: float
    diameter_arcsec: float
    distance_au: float
    illumination: float
    elongation_deg: float


@dataclass(frozen=True, eq=False)
class BodyTrack:
    """The fields of :class:`Body` over many instants, each ``(N,)`` float64."""

    name: str
    altitude_deg: Float
    azimuth_deg: Float
    ra_deg: Float
    dec_deg: Float
    v_mag: Float
    diameter_arcsec: Float
    distance_au: Float
    illumination: Float
    elongation_deg: Float


def body(site: Site, when: datetime, name: str, *, refracted: bool = True) -> Body:
    """Return one body of :data:`BODIES`."""
    return bodies(site, when, (name,), refracted=refracted)[0]


def bodies(
    site: Site, when: datetime, names: Sequence[str] = BODIES, *, refracted: bool = True
) -> tuple[Body, ...]:
    """Return several bodies at one instant, wherever they stand, in the order of ``names``."""
    here = observer(site).at(skyfield_time(when))
    sun = here.observe(ephemeris()["sun"])
    found = []
    for name in names:
        seen = _seen(here, sun, site, name, refracted)
        found.append(Body(name, **{key: float(value) for key, value in seen.items()}))
    return tuple(found)


def body_track(
    site: Site, whens: Sequence[datetime], name: str, *, refracted: bool = True
) -> BodyTrack:
    """Return one body over many instants at once."""
    target(name)
    if len(whens) == 0:
        return BodyTrack(name, *(np.empty(0) for _ in range(len(fields(BodyTrack)) - 1)))
    here = observer(site).at(skyfield_time(list(whens)))
    sun = here.observe(ephemeris()["sun"])
    return BodyTrack(name, **_seen(here, sun, site, name, refracted))


def target(name: str) -> tuple[str, float]:
    """Return what DE421 calls a body, and its radius in km."""
    if name not in _TARGETS:
        raise BodyError(f"no body is called {name!r}.", mend=f"Take one of {', '.join(BODIES)}.")
    return _TARGETS[name]


def altitudes_deg(site: Site, whens: Sequence[datetime], name: str) -> Float:
    """Return the geometric (unrefracted) altitude of a body's centre, ``(N,)`` degrees."""
    where = observer(site).at(skyfield_time(list(whens))).observe(ephemeris()[target(name)[0]])
    return np.asarray(where.apparent().altaz()[0].degrees, dtype=np.float64)


def _seen(here: Any, sun: Any, site: Site, name: str, refracted: bool) -> dict[str, Any]:
    key, radius_km = target(name)
    astrometric = sun if name == "Sun" else here.observe(ephemeris()[key])
    altitude, azimuth, distance = astrometric.apparent().altaz()
    ra, dec, _ = astrometric.radec()
    up = np.asarray(altitude.degrees, dtype=np.float64)
    if refracted:
        up = up + refraction_deg(up, pressure_mbar=pressure_mbar(site.elevation_m))
    elongation = np.asarray(astrometric.separation_from(sun).degrees, dtype=np.float64)
    au = np.asarray(distance.au, dtype=np.float64)
    lit = (
        np.ones_like(up)
        if name == "Sun"
        else np.asarray(astrometric.fraction_illuminated(ephemeris()["sun"]), dtype=np.float64)
    )
    return {
        "altitude_deg": up,
        "azimuth_deg": np.asarray(azimuth.degrees, dtype=np.float64),
        "ra_deg": np.asarray(ra.hours, dtype=np.float64) * 15.0,
        "dec_deg": np.asarray(dec.degrees, dtype=np.float64),
        "v_mag": _magnitude(name, astrometric, lit),
        "diameter_arcsec": 7200.0 * np.degrees(np.arcsin(radius_km / (au * _AU_KM))),
        "distance_au": au,
        "illumination": lit,
        "elongation_deg": elongation,
    }


def _magnitude(name: str, astrometric: Any, lit: Float) -> Float:
    if name == "Sun":
        return np.full_like(lit, SUN_V)
    if name == "Moon":
        phase = np.degrees(np.arccos(np.clip(2.0 * lit - 1.0, -1.0, 1.0)))
        return np.asarray(-12.73 + 0.026 * phase + 4e-9 * phase**4)
    from skyfield.magnitudelib import planetary_magnitude

    with np.errstate(invalid="ignore"):
        return np.asarray(planetary_magnitude(astrometric), dtype=np.float64)
