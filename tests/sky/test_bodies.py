from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import skyfield_data
from astropy.coordinates import (
    AltAz,
    EarthLocation,
    GeocentricTrueEcliptic,
    SkyCoord,
    get_body,
    solar_system_ephemeris,
)
from astropy.time import Time

from allsky360.model import Site
from allsky360.sky.bodies import BODIES, PLANETS, BodyError, bodies, body, body_track
from allsky360.sky.catalogue import altaz_of
from allsky360.sky.frames import horizon_matrix, sidereal_time_h, unit_vectors

LA_PALMA = Site("La Palma", 28.7606, -17.8816, 2326.0)
SUTHERLAND = Site("Sutherland", -32.3783, 20.8117, 1798.0)
SVALBARD = Site("Svalbard", 78.148, 16.043, 520.0)
WHENS = [datetime(2024, 6, 21, 12, 34, 56, tzinfo=UTC), datetime(2018, 8, 6, 5, 17, tzinfo=UTC)]


@pytest.fixture
def _de421() -> Iterator[None]:
    kernel = Path(skyfield_data.__file__).parent / "data" / "de421.bsp"
    with solar_system_ephemeris.set(str(kernel)):
        yield


def location(site: Site) -> EarthLocation:
    return EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.elevation_m)


@pytest.mark.usefixtures("_de421")
@pytest.mark.parametrize("site", [LA_PALMA, SUTHERLAND, SVALBARD], ids=lambda s: s.name)
@pytest.mark.parametrize("when", WHENS, ids=lambda w: w.date().isoformat())
def test_every_body_agrees_with_astropy(site: Site, when: datetime) -> None:
    time, where = Time(when), location(site)
    for found in bodies(site, when, refracted=False):
        want = get_body(found.name.lower(), time, where)
        seen = want.transform_to(AltAz(obstime=time, location=where))
        apart = SkyCoord(
            found.azimuth_deg * u.deg, found.altitude_deg * u.deg, frame=seen.frame
        ).separation(seen)
        # the same DE421 in both: what is left is nutation model, DUT1 and light deflection
        assert apart.to_value(u.arcsec) < 1.0, found.name
        assert found.distance_au == pytest.approx(want.distance.to_value(u.au), rel=1e-5)


def test_magnitudes_sizes_and_phases_of_known_events() -> None:
    # Venus near greatest brilliancy on 2023-07-07 and 38 % / 26 % lit (Astronomical Almanac 2023)
    venus = body(LA_PALMA, datetime(2023, 7, 7, tzinfo=UTC), "Venus")
    assert venus.v_mag == pytest.approx(-4.7, abs=0.1)
    # Jupiter at opposition, 2022-09-26: closest in decades, magnitude -2.9, 49.9 arcsec
    jupiter = body(LA_PALMA, datetime(2022, 9, 26, 23, tzinfo=UTC), "Jupiter")
    assert jupiter.v_mag == pytest.approx(-2.9, abs=0.1)
    assert jupiter.diameter_arcsec == pytest.approx(49.9, abs=0.2)
    assert jupiter.elongation_deg > 178
    assert jupiter.illumination > 0.999
    # Mars, 2018-07-31: 24.3 arcsec, magnitude -2.8
    mars = body(LA_PALMA, datetime(2018, 7, 31, 8, tzinfo=UTC), "Mars")
    assert mars.diameter_arcsec == pytest.approx(24.3, abs=0.1)
    assert mars.v_mag == pytest.approx(-2.8, abs=0.1)
    # Mercury in transit, 2019-11-11: 10 arcsec across on a Sun of 1937; its dark side faces us
    mercury = body(LA_PALMA, datetime(2019, 11, 11, 15, 20, tzinfo=UTC), "Mercury")
    assert mercury.diameter_arcsec == pytest.approx(10.0, abs=0.1)
    assert mercury.elongation_deg < 0.27
    assert mercury.illumination < 0.001
    # full Moon, 2024-08-19 18:26 UTC
    moon = body(SUTHERLAND, datetime(2024, 8, 19, 18, 26, tzinfo=UTC), "Moon")
    assert moon.illumination > 0.995
    assert moon.v_mag == pytest.approx(-12.7, abs=0.15)


def test_a_track_equals_its_instants() -> None:
    whens = [WHENS[0] + timedelta(minutes=31 * i) for i in range(6)]
    for name in ("Moon", "Mars", "Neptune", "Sun"):
        track = body_track(SUTHERLAND, whens, name)
        alone = [body(SUTHERLAND, w, name) for w in whens]
        for field in ("altitude_deg", "azimuth_deg", "v_mag", "diameter_arcsec", "illumination"):
            np.testing.assert_allclose(
                getattr(track, field), [getattr(b, field) for b in alone], rtol=1e-7, atol=1e-6
            )


def test_order_names_and_refraction() -> None:
    found = bodies(LA_PALMA, WHENS[1])
    assert tuple(b.name for b in found) == BODIES
    assert BODIES[2:] == PLANETS
    true = bodies(LA_PALMA, WHENS[1], refracted=False)
    lifts = [a.altitude_deg - t.altitude_deg for a, t in zip(found, true, strict=True)]
    assert all(0.0 <= lift < 0.6 for lift in lifts)


def test_unknown_body_and_empty_track() -> None:
    with pytest.raises(BodyError, match=r"'Vulcan'.*Mercury"):
        body(LA_PALMA, WHENS[0], "Vulcan")
    with pytest.raises(BodyError):
        body_track(LA_PALMA, [], "Vulcan")
    assert body_track(LA_PALMA, [], "Mars").v_mag.shape == (0,)


@pytest.mark.parametrize("site", [LA_PALMA, SUTHERLAND, SVALBARD], ids=lambda s: s.name)
def test_sidereal_time_agrees_with_astropy(site: Site) -> None:
    for when in WHENS:
        want = Time(when).sidereal_time("apparent", longitude=site.longitude_deg * u.deg)
        apart = (sidereal_time_h(site, when) - want.hour + 12) % 24 - 12
        assert abs(apart) * 3600 < 0.05  # seconds


@pytest.mark.parametrize("frame", ["icrs", "equator", "ecliptic", "galactic"])
def test_frames_agree_with_astropy(frame: str) -> None:
    when = WHENS[1]
    lon, lat = np.array([0.0, 77.0, 200.0, 311.0]), np.array([0.0, 45.0, -30.0, -88.0])
    time = Time(when)
    if frame == "ecliptic":
        sky = SkyCoord(
            lon * u.deg, lat * u.deg, frame=GeocentricTrueEcliptic(equinox=time, obstime=time)
        )
    elif frame == "equator":
        from astropy.coordinates import TETE

        sky = SkyCoord(lon * u.deg, lat * u.deg, frame=TETE(obstime=time))
    else:
        sky = SkyCoord(lon * u.deg, lat * u.deg, frame=frame)
    seen = sky.transform_to(AltAz(obstime=time, location=location(LA_PALMA)))
    alt, az = altaz_of(unit_vectors(lon, lat) @ horizon_matrix(LA_PALMA, when, frame).T)  # type: ignore[arg-type]
    got = SkyCoord(az * u.deg, alt * u.deg, frame=seen.frame)
    # annual and diurnal aberration (20.5 + 0.3 arcsec) is not in the matrix
    assert got.separation(seen).to_value(u.arcsec).max() < 22.0
