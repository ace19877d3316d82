"""Which frames show stars: Sun, Moon and clouds."""

from __future__ import annotations

from allsky360.products.frame import ProductFrame
from allsky360.sky.ephemeris import sun_moon


def too_bright_or_cloudy(
    frame: ProductFrame,
    *,
    sun_below_deg: float,
    moon_below_deg: float,
    moon_lit_above: float,
    max_cloud_fraction: float,
) -> str | None:
    """Return why a frame shows too few stars; None where it may be taken.

    What the frame's numbers lack is computed where the site is known; what cannot be known keeps
    no frame out.
    """
    s = frame.scalars
    sun, moon, lit = (
        s.get(n) for n in ("sun_altitude_deg", "moon_altitude_deg", "moon_illumination")
    )
    if frame.site is not None and (sun is None or moon is None or lit is None):
        track = sun_moon(frame.site, frame.middle)
        sun, moon, lit = track.sun_altitude_deg, track.moon_altitude_deg, track.moon_illumination
    if sun is not None and sun >= sun_below_deg:
        return "the Sun is too high"
    if moon is not None and lit is not None and moon >= moon_below_deg and lit >= moon_lit_above:
        return "the Moon is up"
    clouds = s.get("cloud_fraction")
    if clouds is not None and clouds > max_cloud_fraction:
        return "too many clouds"
    return None
