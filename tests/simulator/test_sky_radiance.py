from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from allsky360.simulator import radiance as glow
from allsky360.simulator.photometry import airmass, mag_arcsec2
from allsky360.sky.catalogue import horizon_vectors

ZENITH = np.array([[0.0, 0.0, 1.0]], dtype=np.float32)


def sun_geometry(vectors: np.ndarray, sun_alt: float, sun_az: float = 180.0):
    sun = horizon_vectors(np.array(sun_alt), np.array(sun_az))
    az = np.arctan2(vectors[..., 1], vectors[..., 0])
    return (
        vectors[..., 2].astype(np.float32),
        (vectors @ sun).astype(np.float32),
        np.cos(az - np.radians(sun_az)).astype(np.float32),
        sun_alt,
    )


def directions(altitudes, azimuths) -> np.ndarray:
    return horizon_vectors(np.array(altitudes, float), np.array(azimuths, float)).astype(np.float32)


def test_night_zenith_is_what_was_asked_and_airglow_brightens_down() -> None:
    alt = np.array([90.0, 30.0, 15.0])
    up = np.sin(np.radians(alt)).astype(np.float32)
    natural, town = glow.night_sky(up, airmass(alt), np.zeros(3, np.float32), 21.5, ())
    assert mag_arcsec2(natural[0]) == pytest.approx(21.5, abs=0.01)
    assert natural[1] > natural[0]
    assert not town.any()


def test_light_domes_stand_over_their_towns() -> None:
    up = np.sin(np.radians(np.full(3, 8.0))).astype(np.float32)
    azimuth = np.array([128.0, 60.0, 300.0], dtype=np.float32)
    _, town = glow.night_sky(up, airmass(np.full(3, 8.0)), azimuth, 21.0, (glow.LightDome(128, 2),))
    assert town[0] > 5 * town[1] > 0
    assert town[1] > town[2]


@pytest.mark.parametrize(
    ("sun", "mag"), [(-5, 11.84), (-10, 18.06), (-12, 19.67), (-14, 20.9), (-15, 21.29)]
)
def test_twilight_follows_patat(sun: float, mag: float) -> None:
    """Patat et al. (2006), V: 11.84 + 1.518 (d - 5) - 0.057 (d - 5)^2 for depressions d."""
    d = -sun - 5.0
    assert mag == pytest.approx(11.84 + 1.518 * d - 0.057 * d * d, abs=0.15)
    total = 10 ** (-0.4 * glow.sun_zenith_mag(sun)) + 10 ** (-0.4 * 21.6)
    assert -2.5 * np.log10(total) == pytest.approx(mag, abs=0.2)


def test_sunlit_zenith_is_the_table_and_has_no_steps() -> None:
    altitudes = np.arange(-18.5, 85, 0.05)
    mags = [mag_arcsec2(glow.sunlit_sky(*sun_geometry(ZENITH, a))[0][0]) for a in altitudes]
    np.testing.assert_allclose(mags, [glow.sun_zenith_mag(a) for a in altitudes], atol=0.01)
    # 0.05 degree is at least 12 s of time anywhere on Earth.
    assert np.abs(np.diff(mags)).max() < 0.1
    assert np.all(np.diff(mags) < 0.01)  # never darker while the Sun climbs


def test_every_direction_is_continuous_through_sunset() -> None:
    look = directions([10, 10, 10, 45, 45], [180, 0, 90, 180, 0])
    altitudes = np.arange(-17, 20, 0.1)
    mags = np.array([mag_arcsec2(glow.sunlit_sky(*sun_geometry(look, a))[0]) for a in altitudes])
    assert np.abs(np.diff(mags, axis=0)).max() < 0.25


def test_twilight_arch_is_over_the_sun_and_warm() -> None:
    look = directions([8, 8, 90], [180, 0, 0])
    light, bv = glow.sunlit_sky(*sun_geometry(look, -8.0))
    assert light[0] > 8 * light[2]
    assert light[0] > 4 * light[1]
    assert bv[0] > 0.8 > 0.2 > bv[2]


def test_day_sky_is_blue_and_brightest_at_the_sun() -> None:
    look = directions([45, 47, 90, 30], [180, 180, 0, 0])
    light, bv = glow.sunlit_sky(*sun_geometry(look, 45.0))
    assert light[0] >= light[1] > light[2]
    assert bv[3] < 0.3
    assert 2.5 < mag_arcsec2(light[2]) < 4.5


def moonlit(alt: float, phase: float, separation: float, look_alt: float = 90.0) -> float:
    cos = np.array([np.cos(np.radians(separation))], dtype=np.float32)
    x = airmass(np.array([look_alt])).astype(np.float32)
    return float(mag_arcsec2(glow.moonlit_sky(cos, x, alt, phase)[0]))


def test_moonlight_by_krisciunas_and_schaefer() -> None:
    # Worked by hand from their equations: full Moon at 60 degrees, looking 30 degrees from it at
    # the zenith (X = 1, Moon X = 1.147, k = 0.16, f = 4.19e5 + 2.51e5).
    illuminance = 10 ** (-0.4 * 3.84)
    f = 10**5.36 * (1.06 + 0.75) + 10 ** (6.15 - 0.75)
    moon_x = (1 - 0.96 * 0.25) ** -0.5
    nl = f * illuminance * 10 ** (-0.4 * 0.16 * moon_x) * (1 - 10 ** (-0.4 * 0.16))
    assert moonlit(60, 0, 30) == pytest.approx((20.7233 - np.log(nl / 34.08)) / 0.92104, abs=0.01)
    assert 17.0 < moonlit(60, 0, 30) < 18.5
    assert moonlit(60, 90, 30) > moonlit(60, 0, 30) + 2.0
    assert moonlit(60, 0, 5) < moonlit(60, 0, 30) < moonlit(60, 0, 90)


def test_moonlight_fades_in_without_a_step() -> None:
    assert moonlit(-1.6, 0, 60) > 30
    curve = [10 ** (-0.4 * moonlit(a, 0, 60)) for a in np.arange(-2, 5, 0.05)]
    assert np.abs(np.diff(curve)).max() < 0.05 * max(curve)


def test_the_galaxy_lies_where_astropy_says() -> None:
    lon, lat = np.meshgrid(np.arange(-8.0, 9, 2), np.arange(-8.0, 9, 2))

    def mean_light(l0: float, b0: float) -> float:
        places = SkyCoord(l=lon + l0, b=lat + b0, unit="deg", frame="galactic").icrs
        toward = np.moveaxis(places.cartesian.xyz.value, 0, -1).astype(np.float32)
        return float(glow.milky_way(toward).mean())

    centre, shield, anticentre = mean_light(0, -3), mean_light(30, -2), mean_light(180, 0)
    pole = mean_light(0, 81)
    assert centre > 2 * anticentre > 0
    assert shield > anticentre
    assert pole < 0.05 * anticentre
    assert 19.8 < mag_arcsec2(centre) < 21.5
    assert 21.3 < mag_arcsec2(anticentre) < 22.8
    heart = SkyCoord(l=0, b=0, unit="deg", frame="galactic").icrs.cartesian.xyz.value
    np.testing.assert_allclose(glow.TO_GALACTIC @ heart, [1, 0, 0], atol=1e-6)


def test_the_galaxy_wraps_without_a_seam() -> None:
    places = SkyCoord(l=[359.999, 0.001], b=[10.0, 10.0], unit="deg", frame="galactic").icrs
    a, b = glow.milky_way(places.cartesian.xyz.value.T.astype(np.float32)[None])[0]
    assert a == pytest.approx(b, rel=0.03)
