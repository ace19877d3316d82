from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time

from allsky360.sky.refraction import pressure_mbar, refraction_deg, unrefraction_deg


def test_it_agrees_with_astropy_above_the_murk() -> None:
    where = EarthLocation.from_geodetic(0, 45, 0)
    time = Time("2025-01-01T00:00:00")
    true = np.array([5.0, 10, 20, 40, 60, 85])
    dry = AltAz(obstime=time, location=where)
    wet = AltAz(
        obstime=time,
        location=where,
        pressure=1010 * u.hPa,
        temperature=10 * u.deg_C,
        relative_humidity=0.5,
        obswl=0.55 * u.um,
    )
    stars = SkyCoord(alt=true * u.deg, az=np.full(true.size, 120.0) * u.deg, frame=dry)
    lifted = stars.transform_to(wet).alt.to_value(u.deg) - true
    # Saemundsson's rounded 1.02' makes it 4 to 5 % large: 3 arcsec at 40 degrees.
    np.testing.assert_allclose(refraction_deg(true), lifted, rtol=0.06)
    np.testing.assert_allclose(refraction_deg(true)[2:], lifted[2:], atol=8 / 3600)


def test_both_directions_undo_each_other() -> None:
    true = np.linspace(-0.5, 90, 400)
    apparent = true + refraction_deg(true)
    np.testing.assert_allclose(apparent - unrefraction_deg(apparent), true, atol=10 / 3600)


def test_horizon_value_and_continuity() -> None:
    assert refraction_deg(-34.5 / 60) * 60 == pytest.approx(34.5, abs=1.0)
    below = refraction_deg(np.linspace(-90, 10, 20001))
    assert np.isfinite(below).all()
    assert np.abs(np.diff(below)).max() < 0.01
    assert below[0] == 0


def test_pressure_falls_with_height() -> None:
    assert pressure_mbar(0) == pytest.approx(1013.25)
    assert pressure_mbar(2326) == pytest.approx(764, abs=3)
    assert refraction_deg(10.0, pressure_mbar=505) == pytest.approx(refraction_deg(10.0) / 2)
