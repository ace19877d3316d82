"""When Sun and Moon rise and set, when twilight ends and begins; anywhere on Earth.

Altitudes are looked at every five minutes and each crossing is refined to a fraction of a second. A
body that comes within 0.004 degrees of a limit and turns again between two samples is not seen to
cross it; real refraction at the horizon varies a hundred times more.

Of a night, the ephemeris is asked at 25 instants only: the sine of an altitude is as smooth as the
Earth turns, and a Chebyshev polynomial through them is right to a millionth of a degree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from allsky360.model import Site, as_utc
from allsky360.sky.bodies import altitudes_deg, body_track, target
from allsky360.sky.ephemeris import sun_moon_track

Float = NDArray[np.float64]
#: Degrees above some limit at many instants.
Margins = Callable[[Sequence[datetime]], Float]
#: Over the window asked for: the body crosses the limit, or stays on one side of it.
Course = Literal["crosses", "always above", "always below"]
NightPhase = Literal["day", "civil twilight", "nautical twilight", "astronomical twilight", "night"]

#: Horizontal refraction, degrees: the almanacs' 34 arcmin.
HORIZON_REFRACTION_DEG = 34.0 / 60.0
#: Geometric altitude of the Sun's centre when its upper limb touches the horizon.
SUNSET_DEG = -50.0 / 60.0
CIVIL_DEG, NAUTICAL_DEG, ASTRONOMICAL_DEG = -6.0, -12.0, -18.0
STEP = timedelta(minutes=5)
NODES = 25


@dataclass(frozen=True)
class Crossings:
    """When a body passes a limit within a window.

    Attributes
    ----------
    course
        ``crosses``, or on which side it stays.
    rises, sets
        Upward and downward passages, UTC, in order; both may be empty, one may be.
    highest, highest_deg, lowest, lowest_deg
        The extremes at the five-minute samples: geometric altitude of the body's centre.
    """

    course: Course
    rises: tuple[datetime, ...]
    sets: tuple[datetime, ...]
    highest: datetime
    highest_deg: float
    lowest: datetime
    lowest_deg: float

    def words(self) -> str:
        """Say it: ``rises 17:03, sets 05:12``, ``never rises``, ``never sets``."""
        if self.course == "always below":
            return "never rises"
        if self.course == "always above":
            return "never sets"
        events = [(t, "rises") for t in self.rises] + [(t, "sets") for t in self.sets]
        return ", ".join(f"{what} {t:%H:%M}" for t, what in sorted(events))


@dataclass(frozen=True)
class Darkness:
    """One boundary of the night: when the Sun goes below it and comes back.

    ``begins`` and ``ends`` frame the Sun's lowest point; each is None where the Sun does not pass
    the limit on that side within the night (noon to noon).
    """

    limit_deg: float
    course: Course
    begins: datetime | None
    ends: datetime | None

    def words(self) -> str:
        """Say it: ``17:03 to 05:12``, ``all night``, ``never``."""
        if self.course == "always below":
            return "all night"
        if self.course == "always above":
            return "never"
        begins = f"{self.begins:%H:%M}" if self.begins else "noon"
        return f"{begins} to {f'{self.ends:%H:%M}' if self.ends else 'noon'}"


@dataclass(frozen=True)
class NightTimes:
    """One night from local mean noon to the next.

    Attributes
    ----------
    night, begins, ends
        Name and window.
    sun, civil, nautical, astronomical
        Sun below the horizon (upper limb, refracted), -6, -12 and -18 degrees.
    midnight, midnight_sun_deg
        Lowest Sun, geometric.
    moon
        Upper limb, refracted, at the Moon's true distance.
    dark
        Stretches with the Sun below -18 degrees and the Moon down.
    dark_h
        Their length together.
    """

    night: date
    begins: datetime
    ends: datetime
    sun: Darkness
    civil: Darkness
    nautical: Darkness
    astronomical: Darkness
    midnight: datetime
    midnight_sun_deg: float
    moon: Crossings
    dark: tuple[tuple[datetime, datetime], ...]
    dark_h: float


def night_phase(sun_altitude_deg: float) -> NightPhase:
    """Return the name of the time of day for a geometric Sun altitude."""
    if sun_altitude_deg >= SUNSET_DEG:
        return "day"
    if sun_altitude_deg >= CIVIL_DEG:
        return "civil twilight"
    if sun_altitude_deg >= NAUTICAL_DEG:
        return "nautical twilight"
    return "astronomical twilight" if sun_altitude_deg >= ASTRONOMICAL_DEG else "night"


def _crossings(
    margin: Margins, whens: Sequence[datetime], above_deg: Float, centre_deg: Float
) -> Crossings:
    """Find where ``above_deg`` (degrees above the limit at ``whens``) changes sign."""
    above = above_deg >= 0
    at = np.flatnonzero(above[1:] != above[:-1])
    passages = _refined(margin, whens, above_deg, at)
    upward = above[at + 1]
    course: Course = "crosses" if at.size else ("always above" if above[0] else "always below")
    highest, lowest = int(np.argmax(centre_deg)), int(np.argmin(centre_deg))
    return Crossings(
        course,
        tuple(t for t, up in zip(passages, upward, strict=True) if up),
        tuple(t for t, up in zip(passages, upward, strict=True) if not up),
        whens[highest],
        float(centre_deg[highest]),
        whens[lowest],
        float(centre_deg[lowest]),
    )


def _refined(
    margin: Margins, whens: Sequence[datetime], h: Float, at: NDArray[np.intp]
) -> list[datetime]:
    """Refine sign changes after samples ``at`` by false position within five minutes, twice."""
    if at.size == 0:
        return []
    step_s = (whens[1] - whens[0]).total_seconds()
    t0, t1 = np.zeros(at.size), np.full(at.size, step_s)
    h0, h1 = h[at], h[at + 1]
    t = t0
    for _ in range(2):
        t = t0 + (t1 - t0) * h0 / np.where(h0 == h1, 1.0, h0 - h1)
        now = [whens[i] + timedelta(seconds=float(s)) for i, s in zip(at, t, strict=True)]
        hn = margin(now)
        left = (hn >= 0) == (h0 >= 0)
        t0, h0 = np.where(left, t, t0), np.where(left, hn, h0)
        t1, h1 = np.where(left, t1, t), np.where(left, h1, hn)
    t = t0 + (t1 - t0) * h0 / np.where(h0 == h1, 1.0, h0 - h1)
    return [whens[i] + timedelta(seconds=float(s)) for i, s in zip(at, t, strict=True)]


def rise_set(site: Site, begin: datetime, name: str, *, hours: float = 24.0) -> Crossings:
    """Return when a body's upper limb rises and sets on a sea horizon at the site.

    Standard horizontal refraction (34'); the dip of the horizon seen from a height is not in it.
    """
    target(name)
    begin = as_utc(begin)
    whens = [begin + STEP * i for i in range(max(2, round(timedelta(hours=hours) / STEP) + 1))]
    centre, above = _upper_limb(site, whens, name)
    return _crossings(lambda times: _upper_limb(site, times, name)[1], whens, above, centre)


def _upper_limb(site: Site, whens: Sequence[datetime], name: str) -> tuple[Float, Float]:
    """Return the centre's geometric altitude and how far the lifted limb is above the horizon."""
    if name == "Sun":
        centre = altitudes_deg(site, whens, name)
        return centre, centre - SUNSET_DEG
    track = body_track(site, whens, name, refracted=False)
    return track.altitude_deg, (
        track.altitude_deg + track.diameter_arcsec / 7200.0 + HORIZON_REFRACTION_DEG
    )


def _through(begin: datetime, end: datetime) -> tuple[list[datetime], Callable[[Float], Margins]]:
    """Return instants, and what makes angles there into a function of time between two instants."""
    half, middle = (end - begin) / 2, begin + (end - begin) / 2
    nodes = [middle + half * x for x in chebyshev.chebpts1(NODES)]

    def place(times: Sequence[datetime]) -> Float:
        return np.array([(t - middle) / half for t in times])

    def curve(angle_deg: Float) -> Margins:
        """Draw through angles between -90 and 90 degrees."""
        sine = chebyshev.chebfit(place(nodes), np.sin(np.radians(angle_deg)), NODES - 1)
        return lambda times: np.degrees(
            np.arcsin(np.clip(chebyshev.chebval(place(times), sine), -1.0, 1.0))
        )

    return nodes, curve


def night_times(site: Site, night: date) -> NightTimes:
    """Return every boundary of a night (see :meth:`allsky360.model.Site.night_of`)."""
    begin = site.noon_utc(night)
    end = begin + timedelta(days=1)
    whens = [begin + STEP * i for i in range(round((end - begin) / STEP) + 1)]
    nodes, curve = _through(begin, end)
    track = sun_moon_track(site, nodes)
    sun_at, moon_at = curve(track.sun_altitude_deg), curve(track.moon_altitude_deg)
    radius_at = curve(track.moon_radius_deg)
    sun = sun_at(whens)

    def boundary(limit_deg: float) -> Darkness:
        found = _crossings(lambda times: sun_at(times) - limit_deg, whens, sun - limit_deg, sun)
        before = [t for t in found.sets if t <= found.lowest]
        after = [t for t in found.rises if t >= found.lowest]
        return Darkness(
            limit_deg, found.course, before[-1] if before else None, after[0] if after else None
        )

    def limb(times: Sequence[datetime]) -> Float:
        return moon_at(times) + radius_at(times) + HORIZON_REFRACTION_DEG

    moon = _crossings(limb, whens, limb(whens), moon_at(whens))
    astronomical = boundary(ASTRONOMICAL_DEG)
    dark = _without_moon(astronomical, moon, begin, end)
    lowest = int(np.argmin(sun))
    return NightTimes(
        night,
        begin,
        end,
        boundary(SUNSET_DEG),
        boundary(CIVIL_DEG),
        boundary(NAUTICAL_DEG),
        astronomical,
        whens[lowest],
        float(sun[lowest]),
        moon,
        dark,
        sum((b - a).total_seconds() for a, b in dark) / 3600.0,
    )


def _without_moon(
    sun: Darkness, moon: Crossings, begin: datetime, end: datetime
) -> tuple[tuple[datetime, datetime], ...]:
    if sun.course == "always above" or moon.course == "always above":
        return ()
    a, b = sun.begins or begin, sun.ends or end
    if moon.course == "always below":
        return ((a, b),)
    edges = sorted([(t, False) for t in moon.rises] + [(t, True) for t in moon.sets])
    down_since: datetime | None = begin if not edges[0][1] else None
    found = []
    for when, goes_down in [*edges, (end, False)]:
        if goes_down:
            down_since = when
        elif down_since is not None:
            start, stop = max(a, down_since), min(b, when)
            if stop > start:
                found.append((start, stop))
            down_since = None
    return tuple(found)
