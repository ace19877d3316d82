from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from allsky360.model import Site
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.ephemeris import EphemerisError
from allsky360.sky.star_tracks import apparent_altaz_track

SITE = Site("Sutherland", -32.3783, 20.8117, 1798.0)
WHENS = [datetime(2026, 5, 1, 17, tzinfo=UTC) + timedelta(minutes=47 * i) for i in range(15)]


@pytest.mark.parametrize("refracted", [True, False])
def test_a_night_equals_its_instants(refracted: bool) -> None:
    stars = load_catalogue(3.0)
    altitude, azimuth = apparent_altaz_track(stars, SITE, WHENS, refracted=refracted)
    assert altitude.shape == azimuth.shape == (15, len(stars))
    for i, when in enumerate(WHENS):
        alt, az = apparent_altaz(stars, SITE, when, refracted=refracted)
        assert np.abs(altitude[i] - alt).max() < 1e-7
        turn = (azimuth[i] - az + 180.0) % 360.0 - 180.0
        assert np.abs(turn * np.cos(np.radians(alt))).max() < 1e-7


def test_nothing_in_nothing_out_and_a_wrong_clock_is_said() -> None:
    stars = load_catalogue(1.0)
    assert apparent_altaz_track(stars, SITE, [])[0].shape == (0, len(stars))
    assert apparent_altaz_track(stars[:0], SITE, WHENS)[1].shape == (15, 0)
    with pytest.raises(EphemerisError, match="1850"):
        apparent_altaz_track(stars, SITE, [datetime(1850, 1, 1, tzinfo=UTC)])
