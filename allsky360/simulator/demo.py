"""A place where it is night now, for a first look without any settings."""

from __future__ import annotations

from datetime import datetime

from allsky360.model import Site, as_utc

DEMO_LATITUDE_DEG = 28.76
DEMO_SOLAR_HOUR = 23.0


def night_site_now(now: datetime) -> Site:
    """Return a site where the local mean solar time is nearest 23:00.

    Longitude goes in steps of 15 degrees (one hour), so the site stays the same for up to an hour
    and the Sun is at least 25 degrees below its horizon in every season.
    """
    utc = as_utc(now)
    utc_hour = utc.hour + utc.minute / 60.0 + utc.second / 3600.0
    hours_east = round(DEMO_SOLAR_HOUR - utc_hour)
    longitude = (hours_east * 15 + 180) % 360 - 180
    return Site(
        f"Demo site at {longitude:+d}° longitude (night there now)", DEMO_LATITUDE_DEG, longitude
    )
