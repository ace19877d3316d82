"""What stands in the sky, as text for people."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from allsky360.model import Site, as_utc
from allsky360.sky.bodies import Body, bodies
from allsky360.sky.constellations import constellation_at
from allsky360.sky.frames import sidereal_time_h
from allsky360.sky.night import NightTimes, night_phase, night_times

_WINDS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")


def sky_report(site: Site, when: datetime) -> str:
    """Return Sun, Moon, planets, sidereal time and the boundaries of the night, in lines."""
    when = as_utc(when)
    seen = bodies(site, when)
    night = night_times(site, site.night_of(when))
    hours = sidereal_time_h(site, when)
    north, east = "NS"[site.latitude_deg < 0], "EW"[site.longitude_deg < 0]
    lines = [
        f"{site.name or 'site'}  {abs(site.latitude_deg):.4f}° {north}  "
        f"{abs(site.longitude_deg):.4f}° {east}  {site.elevation_m:.0f} m",
        f"{when:%Y-%m-%d %H:%M:%S} UTC  {night_phase(_true_sun(site, when))}  "
        f"sidereal time {int(hours):02d}:{int(hours * 60 % 60):02d}",
        "",
        f"{'':8}{'altitude':>9}{'azimuth':>9}     {'V':>6}{'lit':>6}{'size':>9}  in",
        *(_line(b) for b in seen),
        "",
        *_night_lines(night),
    ]
    return "\n".join(lines)


def _true_sun(site: Site, when: datetime) -> float:
    return bodies(site, when, ("Sun",), refracted=False)[0].altitude_deg


def _line(b: Body) -> str:
    wind = _WINDS[round(b.azimuth_deg / 45.0) % 8]
    magnitude = f"{b.v_mag:.1f}" if np.isfinite(b.v_mag) else "?"
    size = (
        f'{b.diameter_arcsec:.1f}"' if b.diameter_arcsec < 120 else f"{b.diameter_arcsec / 60:.1f}'"
    )
    return (
        f"{b.name:8}{b.altitude_deg:+8.1f}°{b.azimuth_deg:8.1f}° {wind:3} {magnitude:>6}"
        f"{b.illumination:6.0%}{size:>9}  {constellation_at(b.ra_deg, b.dec_deg)}"
    )


def _night_lines(night: NightTimes) -> list[str]:
    names = ("Sun down", "civil", "nautical", "astronomical")
    limits = (night.sun, night.civil, night.nautical, night.astronomical)
    rows = [f"{name:14}{limit.words()}" for name, limit in zip(names, limits, strict=True)]
    return [
        f"Night {night.night} (UTC)",
        *rows,
        f"{'lowest Sun':14}{night.midnight_sun_deg:+.1f}° at {night.midnight:%H:%M}",
        f"{'Moon':14}{night.moon.words()}",
        f"{'dark':14}{night.dark_h:.1f} h with neither Sun nor Moon",
    ]
