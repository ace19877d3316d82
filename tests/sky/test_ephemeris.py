from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, get_body
from astropy.time import Time

from allsky360.model import Site
from allsky360.sky.ephemeris import (
    EphemerisError,
    sun_altitude_deg,
    sun_altitudes_deg,
    sun_moon,
    sun_moon_track,
)

LA_PALMA = Site("La Palma", 28.7606, -17.8816, 2326.0)
SUTHERLAND = Site("Sutherland", -32.3783, 20.8117, 1798.0)
SVALBARD = Site("Svalbard", 78.148, 16.043, 520.0)
SOUTH_POLE = Site("South Pole", -89.99, 0.0, 2835.0)

WHENS = [
    datetime(2026, 11, 22, 1, 0, tzinfo=UTC),
    datetime(2024, 6, 21, 12, 34, 56, tzinfo=UTC),
    datetime(2018, 8, 6, 5, 17, 34, tzinfo=UTC),
    datetime(2011, 1, 6, 17, 0, tzinfo=UTC),
]


def astropy_altaz(site: Site, when: datetime, body: str) -> tuple[float, float]:
    where = EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.elevation_m)
    time = Time(when)
    seen = get_body(body, time, where).transform_to(AltAz(obstime=time, location=where))
    return float(seen.alt.to_value(u.deg)), float(seen.az.to_value(u.deg))


@pytest.mark.parametrize("site", [LA_PALMA, SUTHERLAND, SVALBARD, SOUTH_POLE], ids=lambda s: s.name)
@pytest.mark.parametrize("when", WHENS, ids=lambda w: w.date().isoformat())
def test_sun_and_moon_agree_with_astropy(site: Site, when: datetime) -> None:
    found = sun_moon(site, when)
    for body, alt, az in (
        ("sun", found.sun_altitude_deg, found.sun_azimuth_deg),
        ("moon", found.moon_altitude_deg, found.moon_azimuth_deg),
    ):
        want_alt, want_az = astropy_altaz(site, when, body)
        turn = (az - want_az + 180) % 360 - 180
        # Astropy's built-in Moon is good to tens of arcsec; 0.01 deg is 1/50 of its disc.
        assert alt == pytest.approx(want_alt, abs=0.01)
        assert turn * np.cos(np.radians(want_alt)) == pytest.approx(0.0, abs=0.01)


def test_scalar_and_vector_agree() -> None:
    whens = [WHENS[0] + timedelta(minutes=17 * i) for i in range(20)]
    track = sun_moon_track(SUTHERLAND, whens, refracted=True)
    alone = [sun_moon(SUTHERLAND, w, refracted=True) for w in whens]
    for name in alone[0].__dataclass_fields__:
        np.testing.assert_allclose(
            getattr(track, name), [getattr(a, name) for a in alone], rtol=1e-9, atol=1e-7
        )
    np.testing.assert_allclose(
        sun_altitudes_deg(SUTHERLAND, whens),
        [sun_altitude_deg(SUTHERLAND, w) for w in whens],
        atol=1e-7,
    )


def test_no_instants_give_empty_tracks() -> None:
    assert sun_altitudes_deg(LA_PALMA, []).shape == (0,)
    assert sun_moon_track(LA_PALMA, []).moon_phase_deg.shape == (0,)


def test_polar_day_and_polar_night() -> None:
    def day(month: int, dayno: int) -> list[datetime]:
        midnight = datetime(2026, month, dayno, tzinfo=UTC)
        return [midnight + timedelta(minutes=20 * i) for i in range(72)]

    assert sun_altitudes_deg(SVALBARD, day(6, 21)).min() > 11.0
    assert sun_altitudes_deg(SVALBARD, day(12, 21)).max() < -11.0
    assert sun_altitudes_deg(SOUTH_POLE, day(6, 21)).max() < -23.0
    assert sun_altitudes_deg(SOUTH_POLE, day(12, 21)).min() > 23.0


def test_southern_noon_sun_stands_in_the_north() -> None:
    noon = SUTHERLAND.noon_utc(datetime(2026, 6, 21, tzinfo=UTC).date())
    found = sun_moon(SUTHERLAND, noon)
    assert abs((found.sun_azimuth_deg + 180) % 360 - 180) < 3
    assert found.sun_altitude_deg == pytest.approx(90 - 32.378 - 23.44, abs=0.2)


def test_sunset_is_where_almanacs_put_it() -> None:
    # Greenwich, 2025-03-20: sunset 18:13 UTC (upper limb, refracted: centre at -0.833 deg).
    greenwich = Site("Greenwich", 51.4769, 0.0, 0.0)
    assert sun_altitude_deg(greenwich, datetime(2025, 3, 20, 18, 13, tzinfo=UTC)) == pytest.approx(
        -0.833, abs=0.15
    )


def test_moon_phases_of_the_almanac() -> None:
    # Total lunar eclipse 2025-03-14 06:55 UTC; total solar eclipse 2024-04-08 18:21 UTC.
    full = sun_moon(LA_PALMA, datetime(2025, 3, 14, 6, 55, tzinfo=UTC))
    new = sun_moon(LA_PALMA, datetime(2024, 4, 8, 18, 21, tzinfo=UTC))
    quarter = sun_moon(LA_PALMA, datetime(2025, 3, 6, 16, 32, tzinfo=UTC))
    assert full.moon_illumination > 0.998
    assert full.moon_phase_deg == pytest.approx(180, abs=1.5)
    assert new.moon_illumination < 0.002
    assert quarter.moon_illumination == pytest.approx(0.5, abs=0.02)
    assert quarter.moon_phase_deg == pytest.approx(90, abs=1.5)
    assert 0.24 < full.moon_radius_deg < 0.285


def test_refraction_lifts_the_setting_sun() -> None:
    when = datetime(2025, 3, 20, 18, 5, tzinfo=UTC)
    greenwich = Site("Greenwich", 51.4769, 0.0, 0.0)
    lift = sun_altitude_deg(greenwich, when, refracted=True) - sun_altitude_deg(greenwich, when)
    assert 0.4 < lift < 0.6


@pytest.mark.parametrize("year", [1800, 2060])
def test_times_outside_the_ephemeris_are_named(year: int) -> None:
    with pytest.raises(EphemerisError, match=str(year)):
        sun_altitude_deg(LA_PALMA, datetime(year, 1, 1, tzinfo=UTC))


def test_naive_times_are_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        sun_moon(LA_PALMA, datetime(2026, 1, 1))


def test_it_never_reaches_for_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from allsky360.sky import ephemeris

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    ephemeris.ephemeris.cache_clear()
    ephemeris.timescale.cache_clear()
    ephemeris.observer.cache_clear()
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert -90 < sun_altitude_deg(LA_PALMA, WHENS[0]) < 0
