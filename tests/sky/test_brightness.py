"""Sky brightness against closed forms and the simulator."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from allsky360.simulator.sky import SkyConditions, SkySource
from allsky360.sky.brightness import ARCSEC2_PER_SR, sky_brightness
from allsky360.sky.lens import fisheye
from allsky360.sky.photometry import Photometry, measure_photometry
from allsky360.sky.vignetting import Vignetting
from benchmarks.sky_frames import LA_PALMA, take

NIGHT = datetime(2026, 11, 11, 1, tzinfo=UTC)
LENS = fisheye(400, 300, tilt_north_deg=1.0)


def blank(lens: object = LENS) -> Photometry:
    """A calibrated photometry without any star."""
    plane = np.zeros((300, 400), np.float32)
    p = measure_photometry(plane, LENS, LA_PALMA, NIGHT, 10.0, vignetting=Vignetting(0.3, 0.1))
    none = np.empty(0)
    return replace(
        p, zero_point_mag=-2.0, zero_point_sigma=0.02, colour=(0.1, 0.0), sources=(none, none, none)
    )


def uniform(mag: float, p: Photometry) -> np.ndarray:
    """The plane of a sky that is equally bright everywhere."""
    x, y = LENS.pixel_grid()
    theta = np.degrees(LENS.theta(np.hypot(x - LENS.cx, y - LENS.cy)))
    area = np.nan_to_num(LENS.solid_angle_sr(x, y)) * ARCSEC2_PER_SR
    loss = np.nan_to_num(p.vignetting.loss_mag(theta)) + p.colour[0] * 0.7
    light = area * p.exposure_s * 10 ** (-0.4 * (mag - p.zero_point_mag + loss))
    return np.asarray(light, np.float32)


def test_a_uniform_sky_is_uniform_through_lens_and_vignetting() -> None:
    p = blank()
    b = sky_brightness(uniform(20.5, p), LENS, p)
    high = b.altitude_deg > 15
    assert np.isfinite(b.mag_arcsec2[high]).all()
    np.testing.assert_allclose(b.mag_arcsec2[high], 20.5, atol=0.01)
    assert b.zenith_mag == pytest.approx(20.5, abs=0.003)
    assert b.zenith_sigma >= b.systematic_mag >= 0.02
    with np.errstate(invalid="ignore"):
        assert np.isnan(b.mag_arcsec2[~(b.altitude_deg >= 10)]).all()


def test_pedestal_mask_and_missing_zero_point() -> None:
    p = blank()
    plane = uniform(21.0, p)
    lifted = sky_brightness(plane + np.float32(1e-4), LENS, p, pedestal=1e-4, pedestal_sigma=1e-6)
    assert lifted.zenith_mag == pytest.approx(21.0, abs=0.01)
    assert lifted.systematic_mag > sky_brightness(plane, LENS, p).systematic_mag
    mask = np.ones(plane.shape, bool)
    mask[:, :200] = False
    half = sky_brightness(plane, LENS, p, mask=mask)
    assert np.isnan(half.mag_arcsec2[:, :10]).all()
    assert half.zenith_blocks < lifted.zenith_blocks
    lost = sky_brightness(plane, LENS, replace(p, zero_point_mag=float("nan")))
    assert np.isnan(lost.zenith_mag)
    dark = sky_brightness(np.full_like(plane, -1e-5), LENS, p)
    assert np.isnan(dark.zenith_mag)
    assert dark.zenith_blocks == 0


@pytest.mark.parametrize("setting", [17.5, 21.6])
def test_the_zenith_of_the_simulated_sky(setting: float) -> None:
    source = SkySource(LA_PALMA, seed=4, conditions=SkyConditions(0.0, setting))
    frame = take(source, NIGHT, gain=60.0 if setting > 20 else 0.0)
    p = measure_photometry(
        frame.plane, source.lens, source.site, frame.middle, 10.0, clipped=frame.clipped,
        fwhm_px=2.6, electrons_per_unit=frame.electrons_per_unit,
    )  # fmt: skip
    b = sky_brightness(frame.plane, source.lens, p)
    assert abs(b.zenith_mag - frame.truth["sky_v_mag_arcsec2_zenith"]) < 0.1
    assert 0.0 < b.zenith_sigma < 0.1
