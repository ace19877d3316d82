"""Sun and Moon for a site and time, from Skyfield and a packaged ephemeris; never the network."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.errors import AllskyError
from allsky360.model import Site, as_utc
from allsky360.sky.refraction import refraction_deg

Float = NDArray[np.float64]

#: The years de421 covers, with a margin.
FIRST, LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2053, 1, 1, tzinfo=UTC)


class EphemerisError(AllskyError):
    """A time or place the ephemeris cannot answer for."""


@dataclass(frozen=True)
class SunMoon:
    """Topocentric Sun and Moon, degrees; azimuth from north through east.

    ``moon_illumination`` is the lit fraction of the disc, 0 to 1; ``moon_phase_deg`` the ecliptic
    elongation from the Sun: 0 new, 90 first quarter, 180 full, 270 last quarter.
    """

    sun_altitude_deg: float
    sun_azimuth_deg: float
    moon_altitude_deg: float
    moon_azimuth_deg: float
    moon_illumination: float
    moon_phase_deg: float
    moon_distance_km: float
    moon_radius_deg: float


@dataclass(frozen=True, eq=False)
class SunMoonTrack:
    """The fields of :class:`SunMoon` over many instants, each ``(N,)`` float64."""

    sun_altitude_deg: Float
    sun_azimuth_deg: Float
    moon_altitude_deg: Float
    moon_azimuth_deg: Float
    moon_illumination: Float
    moon_phase_deg: Float
    moon_distance_km: Float
    moon_radius_deg: Float


MOON_RADIUS_KM = 1737.4


@lru_cache(maxsize=1)
def ephemeris() -> Any:
    """Return the packaged JPL DE421 ephemeris, opened once."""
    import skyfield_data
    from skyfield.api import load_file

    with warnings.catch_warnings():
        # It warns about its Earth-orientation table, which is not used here.
        warnings.simplefilter("ignore", RuntimeWarning)
        folder = Path(skyfield_data.get_skyfield_data_path())
    return load_file(str(folder / "de421.bsp"))


@lru_cache(maxsize=1)
def timescale() -> Any:
    """Return Skyfield's built-in timescale."""
    from skyfield.api import load

    return load.timescale(builtin=True)


@lru_cache(maxsize=8)
def place(site: Site) -> Any:
    """Return the site as a Skyfield place on the Earth."""
    from skyfield.api import wgs84

    return wgs84.latlon(site.latitude_deg, site.longitude_deg, elevation_m=site.elevation_m)


@lru_cache(maxsize=8)
def observer(site: Site) -> Any:
    """Return the site as a Skyfield position that can observe."""
    return ephemeris()["earth"] + place(site)


def horizon_rotation(site: Site, when: datetime) -> NDArray[np.float64]:
    """Return the rotation from ICRS axes to (north, east, up) of a site, ``(3, 3)``."""
    return np.asarray(place(site).rotation_at(skyfield_time(when)), dtype=np.float64)


def skyfield_time(when: datetime | Sequence[datetime]) -> Any:
    """Return an instant, or many, as a Skyfield time; refuse what DE421 does not cover."""
    many = [as_utc(w) for w in ([when] if isinstance(when, datetime) else when)]
    for instant in many:
        if not FIRST <= instant < LAST:
            raise EphemerisError(
                f"{instant.isoformat()} lies outside the ephemeris ({FIRST.year} to {LAST.year}).",
                mend="Check the clock of this computer or `clock.start`.",
            )
    scale = timescale()
    return (
        scale.from_datetime(many[0]) if isinstance(when, datetime) else scale.from_datetimes(many)
    )


def _altaz(position: Any, refracted: bool) -> tuple[Any, Any]:
    alt, az, _ = position.apparent().altaz()
    altitude = np.asarray(alt.degrees, dtype=np.float64)
    if refracted:
        altitude = altitude + refraction_deg(altitude)
    return altitude, np.asarray(az.degrees, dtype=np.float64)


def _observe(site: Site, t: Any, refracted: bool) -> dict[str, Any]:
    from skyfield.framelib import ecliptic_frame

    bodies = ephemeris()
    here = observer(site).at(t)
    sun, moon = here.observe(bodies["sun"]), here.observe(bodies["moon"])
    sun_alt, sun_az = _altaz(sun, refracted)
    moon_alt, moon_az = _altaz(moon, refracted)
    _, sun_lon, _ = sun.apparent().frame_latlon(ecliptic_frame)
    _, moon_lon, _ = moon.apparent().frame_latlon(ecliptic_frame)
    distance = np.asarray(moon.distance().km, dtype=np.float64)
    return {
        "sun_altitude_deg": sun_alt,
        "sun_azimuth_deg": sun_az,
        "moon_altitude_deg": moon_alt,
        "moon_azimuth_deg": moon_az,
        "moon_illumination": np.asarray(moon.fraction_illuminated(bodies["sun"]), dtype=np.float64),
        "moon_phase_deg": (moon_lon.degrees - sun_lon.degrees) % 360.0,
        "moon_distance_km": distance,
        "moon_radius_deg": np.degrees(np.arcsin(MOON_RADIUS_KM / distance)),
    }


def sun_moon(site: Site, when: datetime, *, refracted: bool = False) -> SunMoon:
    """Return Sun and Moon as seen from a site, without or with standard refraction."""
    return SunMoon(
        **{k: float(v) for k, v in _observe(site, skyfield_time(when), refracted).items()}
    )


def sun_moon_track(
    site: Site, whens: Sequence[datetime], *, refracted: bool = False
) -> SunMoonTrack:
    """Return Sun and Moon over many instants at once."""
    if len(whens) == 0:
        return SunMoonTrack(*(np.empty(0) for _ in range(8)))
    return SunMoonTrack(**_observe(site, skyfield_time(list(whens)), refracted))


def sun_altitude_deg(site: Site, when: datetime, *, refracted: bool = False) -> float:
    """Return the Sun's altitude in degrees (geometric unless ``refracted``)."""
    position = observer(site).at(skyfield_time(when)).observe(ephemeris()["sun"])
    return float(_altaz(position, refracted)[0])


def sun_altitudes_deg(
    site: Site, whens: Sequence[datetime], *, refracted: bool = False
) -> NDArray[np.float64]:
    """Return the Sun's altitude over many instants, ``(N,)`` degrees."""
    if len(whens) == 0:
        return np.empty(0)
    t = skyfield_time(list(whens))
    altitude, _ = _altaz(observer(site).at(t).observe(ephemeris()["sun"]), refracted)
    return np.asarray(altitude, dtype=np.float64)
