"""The demo site really has night, judged by an independent solar position."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, get_sun
from astropy.time import Time
from astropy.utils import iers

from allsky360.simulator.demo import night_site_now


@pytest.mark.parametrize("month", [1, 3, 6, 9, 12])
def test_the_sun_is_well_down_at_every_hour(month: int) -> None:
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("auto_max_age", None),
    ):
        for step in range(0, 24 * 60, 87):
            when = datetime(2026, month, 21, tzinfo=UTC) + timedelta(minutes=step)
            site = night_site_now(when)
            place = EarthLocation(
                lat=site.latitude_deg * u.deg, lon=site.longitude_deg * u.deg, height=0 * u.m
            )
            time = Time(when)
            altitude = get_sun(time).transform_to(AltAz(obstime=time, location=place)).alt.deg
            assert altitude < -25
            assert -180 <= site.longitude_deg < 180
            assert site.longitude_deg % 15 == 0


def test_local_solar_time_is_nearest_23() -> None:
    site = night_site_now(datetime(2026, 11, 22, 11, 20, tzinfo=UTC))
    assert site.longitude_deg == -180
    assert night_site_now(datetime(2026, 11, 22, 23, 20, tzinfo=UTC)).longitude_deg == 0


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        night_site_now(datetime(2026, 11, 22))
