from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, get_body
from astropy.time import Time
from skyfield import almanac

from allsky360.model import Site
from allsky360.sky.bodies import altitudes_deg
from allsky360.sky.ephemeris import ephemeris, place, timescale
from allsky360.sky.night import (
    HORIZON_REFRACTION_DEG,
    SUNSET_DEG,
    night_phase,
    night_times,
    rise_set,
)

LA_PALMA = Site("La Palma", 28.7606, -17.8816, 2326.0)
SUTHERLAND = Site("Sutherland", -32.3783, 20.8117, 1798.0)
SVALBARD = Site("Svalbard", 78.148, 16.043, 520.0)
SOUTH_POLE = Site("South Pole", -89.99, 0.0, 2835.0)
FIJI = Site("Fiji", -17.7, 178.0, 0.0)
ALL = [LA_PALMA, SUTHERLAND, SVALBARD, SOUTH_POLE, FIJI]


def astropy_altitude(site: Site, whens: list[datetime], body: str) -> np.ndarray:
    where = EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.elevation_m)
    time = Time(whens)
    seen = get_body(body, time, where).transform_to(AltAz(obstime=time, location=where))
    return np.asarray(seen.alt.to_value(u.deg))


@pytest.mark.parametrize("site", ALL, ids=lambda s: s.name)
@pytest.mark.parametrize(
    "night", [date(2026, 11, 22), date(2024, 6, 21), date(2025, 3, 5)], ids=str
)
def test_every_boundary_is_where_astropy_has_the_sun_at_its_limit(site: Site, night: date) -> None:
    times = night_times(site, night)
    assert times.begins == site.noon_utc(night)
    grid = [times.begins + timedelta(minutes=15 * i) for i in range(97)]
    sun = astropy_altitude(site, grid, "sun")
    for found, limit in (
        (times.sun, SUNSET_DEG),
        (times.civil, -6.0),
        (times.nautical, -12.0),
        (times.astronomical, -18.0),
    ):
        edges = [t for t in (found.begins, found.ends) if t is not None]
        if edges:
            assert astropy_altitude(site, edges, "sun") == pytest.approx(limit, abs=2e-3)
        if found.course == "crosses":
            assert (sun > limit - 0.02).any()
            assert (sun < limit + 0.02).any()
        else:
            assert ((sun > limit) if found.course == "always above" else (sun < limit)).all()
    assert times.midnight_sun_deg == pytest.approx(sun.min(), abs=0.05)


def test_closed_answers_of_polar_day_and_polar_night() -> None:
    summer = night_times(SVALBARD, date(2026, 6, 20))
    assert summer.sun.course == "always above"
    assert (summer.sun.begins, summer.sun.ends) == (None, None)
    assert summer.sun.words() == "never"
    assert summer.dark == ()
    winter = night_times(SVALBARD, date(2026, 12, 20))
    assert winter.sun.words() == "all night"
    assert winter.astronomical.course == "crosses"  # brighter twilight at noon even then
    pole = night_times(SOUTH_POLE, date(2026, 6, 20))
    assert pole.astronomical.words() == "all night"
    assert rise_set(SOUTH_POLE, datetime(2026, 12, 20, tzinfo=UTC), "Sun").words() == "never sets"
    assert rise_set(SVALBARD, datetime(2026, 12, 20, tzinfo=UTC), "Sun").words() == "never rises"


@pytest.mark.parametrize("site", [LA_PALMA, SUTHERLAND, FIJI], ids=lambda s: s.name)
@pytest.mark.parametrize("body", ["Sun", "Moon", "Jupiter"])
def test_risings_and_settings_agree_with_skyfields_almanac(site: Site, body: str) -> None:
    begin = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
    found = rise_set(site, begin, body, hours=72)
    scale, planets = timescale(), ephemeris()
    key = "jupiter barycenter" if body == "Jupiter" else body.lower()
    observer = planets["earth"] + place(site)
    span = scale.from_datetime(begin), scale.from_datetime(begin + timedelta(hours=72))
    for mine, finder in (
        (found.rises, almanac.find_risings),
        (found.sets, almanac.find_settings),
    ):
        times, real = finder(observer, planets[key], *span)
        assert len(mine) == len(times) == int(real.sum())
        for a, b in zip(mine, times.utc_datetime(), strict=True):
            # Skyfield takes 34' and for the Sun 16' as well, for the Moon its real radius
            assert abs((a - b).total_seconds()) < 5


def test_a_moon_that_does_not_cross_says_on_which_side_it_stays() -> None:
    begin = datetime(2026, 12, 20, tzinfo=UTC)
    seen = set()
    for day in range(0, 28, 3):
        found = rise_set(SVALBARD, begin + timedelta(days=day), "Moon")
        seen.add(found.course)
        grid = [begin + timedelta(days=day, minutes=30 * i) for i in range(49)]
        moon = astropy_altitude(SVALBARD, grid, "moon") + HORIZON_REFRACTION_DEG + 0.26
        if found.course != "crosses":
            assert ((moon > -0.1) if found.course == "always above" else (moon < 0.1)).all()
            assert found.words() in ("never rises", "never sets")
        assert found.highest_deg == pytest.approx(
            moon.max() - HORIZON_REFRACTION_DEG - 0.26, abs=0.1
        )
        assert found.lowest_deg <= found.highest_deg
    assert seen == {"crosses", "always above", "always below"}


@pytest.mark.parametrize("site", [LA_PALMA, SUTHERLAND, SVALBARD], ids=lambda s: s.name)
def test_dark_stretches_have_neither_sun_nor_moon(site: Site) -> None:
    total = 0.0
    for day in range(0, 30, 9):
        times = night_times(site, date(2026, 11, 1) + timedelta(days=day))
        grid = [times.begins + timedelta(minutes=5 * i) for i in range(289)]
        sun = altitudes_deg(site, grid, "Sun")
        moon = altitudes_deg(site, grid, "Moon") + 0.27 + HORIZON_REFRACTION_DEG
        dark = (sun < -18) & (moon < 0)
        mine = np.array([any(a <= t <= b for a, b in times.dark) for t in grid])
        assert (dark != mine).sum() <= 4  # samples beside an edge
        assert times.dark_h == pytest.approx(dark.sum() / 12, abs=0.35)
        total += times.dark_h
    assert total > 5


@pytest.mark.parametrize(
    ("sun", "phase"),
    [
        (30.0, "day"),
        (-0.5, "day"),
        (-0.9, "civil twilight"),
        (-6.1, "nautical twilight"),
        (-12.1, "astronomical twilight"),
        (-18.1, "night"),
    ],
)
def test_phase_names(sun: float, phase: str) -> None:
    assert night_phase(sun) == phase


def test_words_tell_what_happens() -> None:
    found = rise_set(LA_PALMA, datetime(2026, 11, 22, 12, 0, tzinfo=UTC), "Sun")
    assert found.words() == "sets 18:15, rises 07:40"
    night = night_times(LA_PALMA, date(2026, 11, 22))
    assert night.sun.words() == "18:15 to 07:40"
