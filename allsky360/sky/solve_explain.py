"""What is wrong when the sky fits only with the axis far from the zenith, or at another hour.

A solution found for any site and time says where among the stars the camera's axis points. Seen
from the stated site at the stated time, that place has an hour angle H and a declination d. A
right clock and site have H = 0 and d = latitude, give or take the camera's tilt. A clock ahead by
t hours shows H = 15.041 t (the sky turns about the pole, not about the zenith), a longitude of the
wrong sign H = 2 longitude, a latitude of the wrong sign d = -latitude.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from allsky360.model import Site
from allsky360.sky.ephemeris import horizon_rotation
from allsky360.sky.solve_fit import Geometry

Float = NDArray[np.float64]

DEG_PER_HOUR = 15.041067  # of sidereal turn in an hour of civil time
#: Two explanations whose misfits differ by less than this cannot be told apart.
_ALIKE_DEG = 2.5


@dataclass(frozen=True)
class Explanation:
    """One thing that would bring the axis to the zenith.

    Attributes
    ----------
    reason
        ``wrong-time`` or ``wrong-site``.
    text
        For a person.
    site, when
        What would be right.
    clock_error_h
        How far the clock is ahead, where the clock is to blame.
    tilt_deg
        The tilt of the camera that remains.
    """

    reason: str
    text: str
    site: Site
    when: datetime
    clock_error_h: float | None
    tilt_deg: float


def suspects(site: Site, when: datetime) -> Iterator[Explanation]:
    """Return what may be wrong, the likeliest first; ``tilt_deg`` is not known yet (0)."""
    zone = round(site.longitude_deg / 15.0)
    first = [1, -1, zone, zone + 1, zone - 1, 2, -2]
    hours = list(dict.fromkeys(h for h in first if h and abs(h) <= 12))
    flipped = replace(site, longitude_deg=-site.longitude_deg)
    south = replace(site, latitude_deg=-site.latitude_deg)
    both = replace(flipped, latitude_deg=-site.latitude_deg)
    for hour in hours:
        yield _clock(site, when, hour)
    yield _place(flipped, when, "the longitude looks flipped", f"{flipped.longitude_deg:+.3f}")
    yield _place(south, when, "the latitude looks flipped", f"{south.latitude_deg:+.3f}")
    yield _place(
        both,
        when,
        "latitude and longitude both look flipped",
        f"{both.latitude_deg:+.3f}, {both.longitude_deg:+.3f}",
    )
    if abs(site.longitude_deg) <= 90.0:
        swapped = replace(site, latitude_deg=site.longitude_deg, longitude_deg=site.latitude_deg)
        yield _place(
            swapped,
            when,
            "latitude and longitude look swapped",
            f"{swapped.latitude_deg:+.3f}, {swapped.longitude_deg:+.3f}",
        )
    for hour in sorted((h for h in range(-11, 13) if h), key=abs):
        if hour not in hours:
            yield _clock(site, when, hour)


def _clock(site: Site, when: datetime, hour: int) -> Explanation:
    text = f"the clock looks wrong by {hour:+d} h"
    zone = site.longitude_deg / 15.0
    if abs(hour) >= 2 and abs(hour - zone) <= 1.6:
        text += " (local time taken for UTC?)"
    right = when - timedelta(hours=hour)
    return Explanation("wrong-time", text, site, right, float(hour), 0.0)


def _place(site: Site, when: datetime, what: str, value: str) -> Explanation:
    return Explanation("wrong-site", f"{what} (right would be {value})", site, when, None, 0.0)


def axis_vector(g: Geometry) -> Float:
    """Return the optical axis as an (east, north, up) unit vector."""
    tn, te = np.radians(g.values[4]), np.radians(g.values[5])
    return np.array([np.sin(te), np.sin(tn) * np.cos(te), np.cos(tn) * np.cos(te)])


def axis_tilt_deg(g: Geometry) -> float:
    """Return the angle between the optical axis and the zenith, degrees."""
    return float(np.degrees(np.arccos(np.clip(axis_vector(g)[2], -1.0, 1.0))))


def axis_among_stars(g: Geometry, site: Site, when: datetime) -> Float:
    """Return the ICRS unit vector the axis of a solution points at."""
    east, north, up = axis_vector(g)
    return np.asarray(horizon_rotation(site, when).T @ np.array([north, east, up]))


def zenith_distance_deg(star: Float, site: Site, when: datetime) -> float:
    """Return how far a direction among the stars is from a site's zenith, degrees."""
    up = (horizon_rotation(site, when) @ star)[2]
    return float(np.degrees(np.arccos(np.clip(up, -1.0, 1.0))))


def hour_angle_and_declination(star: Float, site: Site, when: datetime) -> tuple[float, float]:
    """Return hour angle (-180 to 180) and declination of date of an ICRS direction, degrees."""
    north, east, up = horizon_rotation(site, when) @ star
    latitude = np.radians(site.latitude_deg)
    pole = north * np.cos(latitude) + up * np.sin(latitude)
    meridian = -north * np.sin(latitude) + up * np.cos(latitude)
    declination = float(np.degrees(np.arctan2(pole, np.hypot(meridian, east))))
    return float(np.degrees(np.arctan2(-east, meridian))), declination


def explain(star: Float, site: Site, when: datetime, tolerance_deg: float) -> list[Explanation]:
    """Return what would bring the axis within ``tolerance_deg`` of the zenith, best first.

    Empty when nothing does. Those that cannot be told apart from the best come with it; one that
    is not a plain mistake (a clock wrong by 1.37 h, say) is named when no plain one fits.
    """
    found = []
    for suspect in suspects(site, when):
        tilt = zenith_distance_deg(star, suspect.site, suspect.when)
        if tilt <= tolerance_deg:
            found.append(replace(suspect, tilt_deg=tilt))
    found.sort(key=lambda e: e.tilt_deg)
    if found:
        return [e for e in found if e.tilt_deg <= found[0].tilt_deg + _ALIKE_DEG]
    turned, declination = hour_angle_and_declination(star, site, when)
    off = turned / DEG_PER_HOUR
    if abs(declination - site.latitude_deg) <= tolerance_deg:
        longitude = (site.longitude_deg - turned + 180.0) % 360.0 - 180.0
        text = f"the clock looks wrong by {off:+.2f} h, or the longitude is {longitude:+.1f}"
        right = when - timedelta(hours=off)
        tilt = zenith_distance_deg(star, site, right)
        return [Explanation("wrong-time", text, site, right, off, tilt)]
    longitude = (site.longitude_deg - turned + 180.0) % 360.0 - 180.0
    there = replace(site, latitude_deg=declination, longitude_deg=longitude)
    text = (
        f"these stars stand overhead near latitude {declination:+.1f}, longitude {longitude:+.1f}"
    )
    return [Explanation("wrong-site", text, there, when, None, 0.0)]
