from __future__ import annotations

from datetime import UTC, datetime

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, Distance, EarthLocation, SkyCoord
from astropy.time import Time

from allsky360.model import Site
from allsky360.sky.catalogue import altaz_of, apparent_altaz, horizon_vectors, load_catalogue

SITES = [
    Site("La Palma", 28.7606, -17.8816, 2326.0),
    Site("Sutherland", -32.3783, 20.8117, 1798.0),
    Site("Svalbard", 78.148, 16.043, 520.0),
]
WHENS = [
    datetime(2026, 11, 22, 1, 0, tzinfo=UTC),
    datetime(2011, 1, 6, 17, 0, tzinfo=UTC),
    datetime(1999, 7, 3, 22, 0, tzinfo=UTC),
]

# Johnson V and B-V as listed in the Bright Star Catalogue.
KNOWN = {
    91262: (0.03, 0.00),  # Vega
    32349: (-1.46, 0.00),  # Sirius
    30438: (-0.72, 0.15),  # Canopus
    69673: (-0.04, 1.23),  # Arcturus
    97649: (0.77, 0.22),  # Altair
    21421: (0.85, 1.54),  # Aldebaran
    65474: (0.98, -0.23),  # Spica
    37826: (1.14, 1.00),  # Pollux
    11767: (2.02, 0.60),  # Polaris
    7588: (0.46, -0.16),  # Achernar
    17702: (2.87, -0.09),  # Alcyone
    5447: (2.06, 1.58),  # Mirach
}


def separation_arcsec(alt1, az1, alt2, az2):
    a, b = horizon_vectors(alt1, az1), horizon_vectors(alt2, az2)
    return np.degrees(np.linalg.norm(a - b, axis=-1)) * 3600


def as_astropy(stars, when: datetime, site: Site, **atmosphere):
    where = EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.elevation_m)
    sky = SkyCoord(
        ra=stars.ra_deg * u.deg,
        dec=stars.dec_deg * u.deg,
        pm_ra_cosdec=stars.pm_ra_mas_yr * u.mas / u.yr,
        pm_dec=stars.pm_dec_mas_yr * u.mas / u.yr,
        distance=Distance(parallax=np.maximum(stars.parallax_mas, 0.1) * u.mas),
        obstime=Time("J1991.25"),
    )
    moved = sky.apply_space_motion(new_obstime=Time(when))
    seen = moved.transform_to(AltAz(obstime=Time(when), location=where, **atmosphere))
    return seen.alt.to_value(u.deg), seen.az.to_value(u.deg)


@pytest.mark.parametrize("site", SITES, ids=lambda s: s.name)
@pytest.mark.parametrize("when", WHENS, ids=lambda w: str(w.year))
def test_bright_stars_stand_where_astropy_puts_them(site: Site, when: datetime) -> None:
    stars = load_catalogue(3.0)
    alt, az = apparent_altaz(stars, site, when, refracted=False)
    off = separation_arcsec(alt, az, *as_astropy(stars, when, site))
    # Nearly all of it is UT1 - UTC, which both predict from different tables (15 arcsec a second).
    assert off.max() < 10
    assert len(stars) > 150


def test_refracted_places_agree_too() -> None:
    site, when = SITES[0], WHENS[0]
    stars = load_catalogue(4.0)
    alt, az = apparent_altaz(stars, site, when)
    high = alt > 20
    want = as_astropy(
        stars[high],
        when,
        site,
        pressure=764 * u.hPa,
        temperature=10 * u.deg_C,
        obswl=0.55 * u.um,
    )
    assert separation_arcsec(alt[high], az[high], *want).max() < 10


def test_magnitudes_and_colours_of_well_known_stars() -> None:
    stars = load_catalogue(8.0)
    for hip, (v, bv) in KNOWN.items():
        (i,) = np.flatnonzero(stars.hip == hip)
        assert stars.v_mag[i] == pytest.approx(v, abs=0.12), hip
        assert stars.bv[i] == pytest.approx(bv, abs=0.06), hip


def test_counts_by_magnitude_and_order() -> None:
    stars = load_catalogue(8.0)
    assert np.all(np.diff(stars.v_mag) >= 0)
    # Round numbers every handbook gives for the whole sky.
    for limit, count in ((2.0, 50), (4.0, 510), (6.0, 5000), (8.0, 41000)):
        assert np.count_nonzero(stars.v_mag <= limit) == pytest.approx(count, rel=0.15)
    assert len(load_catalogue(5.0)) == np.count_nonzero(stars.v_mag <= 5.0)
    assert np.isfinite(stars.ra_deg).all()
    assert np.abs(stars.dec_deg).max() <= 90


def test_a_fast_star_moves() -> None:
    # 61 Cygni A (HIP 104214) runs 5.28 arcsec a year; over 34 years its place shifts 3 arcmin.
    stars = load_catalogue(8.0)
    one = stars[stars.hip == 104214]
    total = np.hypot(one.pm_ra_mas_yr, one.pm_dec_mas_yr)
    assert total[0] == pytest.approx(5282, abs=40)


def test_polaris_stays_near_the_pole() -> None:
    stars = load_catalogue(2.5)
    polaris = stars[stars.hip == 11767]
    alts = [
        apparent_altaz(polaris, SITES[0], datetime(2026, 3, 1, h, tzinfo=UTC), refracted=False)[0]
        for h in range(0, 24, 3)
    ]
    assert np.abs(np.array(alts) - SITES[0].latitude_deg).max() < 0.75


def test_vectors_and_angles_undo_each_other() -> None:
    alt = np.array([0.0, 10, 45, 89, -30])
    az = np.array([0.0, 90, 180, 271, 359])
    back_alt, back_az = altaz_of(horizon_vectors(alt, az))
    np.testing.assert_allclose(back_alt, alt, atol=1e-10)
    np.testing.assert_allclose(back_az, az, atol=1e-10)
