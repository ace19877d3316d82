"""Astropy's WCSLIB is the judge: it reads the cards and must give the model's pixels."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from allsky360.model import Site
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.lens import LensModel, fisheye
from allsky360.sky.lens_wcs import WcsError, equatorial_wcs, horizontal_wcs

pytestmark = pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")

WHEN = datetime(2026, 3, 17, 23, tzinfo=UTC)

LENSES = {
    "mirrored": fisheye(1600, 1100, rotation_deg=200.0, tilt_north_deg=1.5, parity=1),
    "upright": fisheye(1600, 1100),
    "equisolid": LensModel(
        2000, 2000, 1003.0, 990.0, 640.0, "equisolid", k3=0.02, tilt_east_deg=-5.0
    ),
    "stereographic": LensModel(
        2000, 2000, 1003.0, 990.0, 480.0, "stereographic", rotation_deg=77.0, tilt_north_deg=2.0
    ),
    "orthographic": LensModel(
        2000, 2000, 1003.0, 990.0, 950.0, "orthographic", k3=-0.01, max_theta_deg=78.0
    ),
}


def read(cards) -> WCS:
    header = fits.Header()
    for keyword, value, comment in cards:
        header[keyword] = (value, comment)
    return WCS(fits.Header.fromstring(header.tostring()))


@pytest.mark.parametrize("name", LENSES)
def test_horizontal_wcs_is_the_model(name):
    lens = LENSES[name]
    wcs = read(horizontal_wcs(lens))
    altitude, azimuth = np.meshgrid(np.arange(14.0, 90.0, 4.0), np.arange(0.0, 360.0, 12.0))
    x, y, _ = lens.project(altitude, azimuth)
    wx, wy = wcs.all_world2pix(azimuth, altitude, 0)
    inside = np.isfinite(x)
    assert np.max(np.hypot(wx - x, wy - y)[inside]) < 0.01
    back_az, back_alt = wcs.all_pix2world(x[inside], y[inside], 0)
    assert np.max(np.abs(back_alt - altitude[inside])) < 1e-4
    turn = (back_az - azimuth[inside] + 180) % 360 - 180
    assert np.max(np.abs(turn * np.cos(np.radians(altitude[inside])))) < 1e-4


@pytest.mark.parametrize("name", ["mirrored", "upright", "equisolid", "stereographic"])
def test_equatorial_wcs_is_as_good_as_it_says(name, site: Site):
    lens = LENSES[name]
    cards, stated = equatorial_wcs(lens, site, WHEN)
    wcs = read(cards)
    catalogue = load_catalogue(5.0)
    altitude, azimuth = apparent_altaz(catalogue, site, WHEN)
    x, y, _ = lens.project(altitude, azimuth)
    high = altitude > 20.0
    wx, wy = wcs.all_world2pix(catalogue.ra_deg[high], catalogue.dec_deg[high], 0)
    # 35 years of proper motion are under 0.05 px but for a handful of stars.
    error = np.hypot(wx - x[high], wy - y[high])
    assert stated < 0.1
    assert np.percentile(error, 98) < 0.1
    assert wcs.wcs.radesys == "ICRS"


def test_a_keyhole_has_no_wcs(site: Site):
    lens = LensModel(200, 200, 100.0, 100.0, 2000.0, max_theta_deg=3.0)
    with pytest.raises(WcsError, match="too little sky"):
        equatorial_wcs(lens, site, WHEN)
