"""Photometry against the simulator's truth and closed forms."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from allsky360.simulator.sky import SkyConditions, SkySource
from allsky360.simulator.source import SensorDescription
from allsky360.sky.airmass import airmass
from allsky360.sky.catalogue import horizon_vectors, load_catalogue
from allsky360.sky.crowding import light_within
from allsky360.sky.photometry import Photometry, StarFlag, measure_photometry
from allsky360.sky.star_mask import star_mask
from allsky360.sky.vignetting import Vignetting, pool_vignetting
from allsky360.sky.zero_point import (
    StarRows,
    ZeroPointPrior,
    fit_zero_point,
    remember,
)
from benchmarks.sky_frames import LA_PALMA, TRUE_VIGNETTING, SkyFrame, take

NIGHT = datetime(2026, 11, 11, 1, tzinfo=UTC)


def measure(source: SkySource, frame: SkyFrame, **options: object) -> Photometry:
    given = {"vignetting": TRUE_VIGNETTING, "fwhm_px": 2.6} | options
    return measure_photometry(
        frame.plane,
        source.lens,
        source.site,
        frame.middle,
        frame.exposure_s,
        clipped=frame.clipped,
        electrons_per_unit=frame.electrons_per_unit,
        **given,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def clear() -> tuple[SkySource, SkyFrame, Photometry]:
    source = SkySource(LA_PALMA, cloud_cover=0.0, seed=3)
    frame = take(source, NIGHT)
    return source, frame, measure(source, frame)


def test_a_clear_frame_gives_the_true_zero_point_and_air(
    clear: tuple[SkySource, SkyFrame, Photometry],
) -> None:
    _, frame, p = clear
    assert p.zero_point_source == "fit"
    assert abs(p.zero_point_mag - frame.zero_point_mag) < 0.03
    assert 0.002 < p.zero_point_sigma < 0.03
    assert abs(p.extinction - 0.128) < 0.015  # the bands' 0.11, 0.16, 0.25 at 2326 m
    assert abs(p.colour[0] - 0.155) < 0.04
    assert p.fit_stars > 200
    assert p.clear_share > 0.9
    bright = (p.v_mag <= 4.0) & (p.flags == 0)
    assert bright.sum() > 100
    assert np.std(p.delta_mag[bright]) < 0.08
    assert p.scatter_mag < 0.05
    assert 5.3 < p.limiting_mag < 6.6


def test_fluxes_are_those_of_the_truth(clear: tuple[SkySource, SkyFrame, Photometry]) -> None:
    _, frame, p = clear
    stars = frame.truth["stars"]
    electrons = np.array(stars["electrons"])
    true = dict(zip(stars["hip"], electrons @ [0.25, 0.5, 0.25] / frame.electrons_per_unit,
                    strict=True))  # fmt: skip
    hip = load_catalogue(8.0).hip[p.index]
    good = (p.v_mag < 3.5) & (p.flags == 0) & (p.altitude_deg > 20)
    ratio = p.flux[good] / np.array([true[h] for h in hip[good]])
    assert good.sum() > 50
    assert abs(np.median(ratio) - 1.0) < 0.02


def test_noise_is_honest_and_non_detections_are_kept(
    clear: tuple[SkySource, SkyFrame, Photometry],
) -> None:
    _, _, p = clear
    faint = (p.flags == 0) & (p.v_mag > 6.2) & (p.altitude_deg > 30)
    pull = (p.flux - p.expected_flux)[faint] / p.flux_sigma[faint]
    assert faint.sum() > 200
    assert 0.75 < 1.4826 * np.median(np.abs(pull - np.median(pull))) < 1.35
    assert (~p.detected).any()
    assert np.isfinite(p.flux).all()
    assert p.detected[(p.v_mag < 4) & (p.flags == 0)].mean() > 0.99


def test_stars_found_without_a_given_vignetting_are_nearly_as_good(
    clear: tuple[SkySource, SkyFrame, Photometry],
) -> None:
    source, frame, _ = clear
    p = measure(source, frame, vignetting=None)
    assert abs(p.zero_point_mag - frame.zero_point_mag) < 0.04
    at = np.array([45.0, 70.0])
    assert np.abs(p.vignetting.loss_mag(at) - TRUE_VIGNETTING.loss_mag(at)).max() < 0.08


def test_clouds_do_not_bend_the_zero_point() -> None:
    source = SkySource(LA_PALMA, cloud_cover=0.35, seed=3)
    for hours in (0, 3):
        frame = take(source, NIGHT + timedelta(hours=hours))
        p = measure(source, frame)
        assert abs(p.zero_point_mag - frame.zero_point_mag) < 0.06
        assert p.clear_share < 0.9


def test_full_cloud_falls_back_on_what_is_remembered() -> None:
    source = SkySource(LA_PALMA, cloud_cover=1.0, seed=3)
    frame = take(source, NIGHT)
    p = measure(source, frame)
    assert p.zero_point_source == "none"
    assert np.isnan(p.zero_point_mag)
    assert np.isnan(p.limiting_mag)
    assert p.detected.mean() < 0.02
    p = measure(source, frame, prior=ZeroPointPrior(-2.43, 0.02))
    assert p.zero_point_source == "prior"
    assert (p.zero_point_mag, p.zero_point_sigma) == (-2.43, 0.02)
    bright = (p.v_mag < 3.5) & (p.flags == 0)
    assert np.median(p.delta_mag[bright]) > 2.0


def test_mono_gain_and_a_bright_sky() -> None:
    sensor = replace(SensorDescription(), pattern=None)
    source = SkySource(LA_PALMA, sensor, seed=3, conditions=SkyConditions(0.0, 18.5))
    frame = take(source, NIGHT, exposure_s=5.0, gain=60.0)
    p = measure(source, frame)
    assert abs(p.zero_point_mag - frame.zero_point_mag) < 0.03


def test_saturated_blended_edge_and_masked_stars_are_flagged(
    clear: tuple[SkySource, SkyFrame, Photometry],
) -> None:
    source, frame, _ = clear
    mask = np.ones(frame.plane.shape, bool)
    mask[:, :700] = False
    clipped = (frame.plane > 0.1).astype(np.uint8) * 255
    p = measure_photometry(
        frame.plane, source.lens, source.site, frame.middle, 10.0, clipped=clipped, mask=mask,
        vignetting=TRUE_VIGNETTING, fwhm_px=2.6,
    )  # fmt: skip
    saturated = (p.flags & StarFlag.SATURATED) > 0
    assert 0 < saturated.sum() < 40
    assert p.v_mag[saturated].max() < 4.0
    assert (((p.flags & StarFlag.MASKED) > 0) == (np.rint(p.x) < 700)).mean() > 0.995
    blended = (p.flags & StarFlag.BLENDED) > 0
    assert 0.1 < blended.mean() < 0.7
    np.testing.assert_array_less(p.content_mag[blended], p.v_mag[blended])
    assert not p.detected[p.flags > 0].any()


def rows_of(n: int, seed: int, *, cloud: float = 0.0) -> StarRows:
    """Stars with zero point -2.4, extinction 0.2, colours 0.1 and -0.03; a clouded quarter sky."""
    rng = np.random.default_rng(seed)
    altitude = np.degrees(np.arcsin(rng.uniform(0.15, 1.0, n)))
    azimuth, bv = rng.uniform(0, 360, n), rng.uniform(-0.2, 1.6, n)
    air = airmass(altitude)
    y = -2.4 - (0.2 - 0.015 * bv) * air - 0.1 * bv + 0.03 * bv**2 + rng.normal(0, 0.05, n)
    hidden = azimuth < 360 * cloud
    y = y - np.where(hidden, rng.exponential(1.0, n) + 0.1, 0.0)
    return StarRows(y, np.full(n, 0.03), air, bv, 90 - altitude, horizon_vectors(altitude, azimuth))


@pytest.mark.parametrize("cloud", [0.0, 0.3, 0.6])
def test_the_fit_finds_given_parameters_under_given_cloud(cloud: float) -> None:
    rows = rows_of(500, 1, cloud=cloud)
    fit = fit_zero_point(rows, thin=1.0)
    assert fit is not None
    assert abs(fit.zero_point_mag + 2.4) < 0.03
    assert abs(fit.extinction - 0.2) < 0.02
    assert abs(fit.clear_share - (1 - cloud)) < 0.12
    assert abs(fit.zero_point_mag + 2.4) < 4 * fit.sigma[0]


def test_uniform_cloud_is_seen_with_a_memory_and_not_without() -> None:
    rows = rows_of(300, 2)
    dimmed = StarRows(
        rows.y - 0.8, *[getattr(rows, n) for n in list(rows.__dataclass_fields__)[1:]]
    )
    alone = fit_zero_point(dimmed, thin=1.0)
    assert alone is not None
    assert abs(alone.zero_point_mag + 3.2) < 0.05
    assert fit_zero_point(dimmed, thin=1.0, prior=ZeroPointPrior(-2.4, 0.03)) is None


def test_few_stars_give_no_fit() -> None:
    assert fit_zero_point(rows_of(8, 1), thin=1.0) is None


def test_memory_rises_at_once_and_sinks_slowly() -> None:
    fit = fit_zero_point(rows_of(400, 3), thin=1.0)
    assert fit is not None
    first = remember(None, fit)
    assert first is not None
    brighter = remember(replace(first, zero_point_mag=first.zero_point_mag - 0.2), fit)
    dimmer = remember(replace(first, zero_point_mag=first.zero_point_mag + 0.2), fit)
    assert brighter is not None
    assert dimmer is not None
    assert brighter.zero_point_mag - (fit.zero_point_mag - 0.2) > 0.05
    assert (fit.zero_point_mag + 0.2) - dimmer.zero_point_mag < 0.01
    cloudy = replace(fit, clear_share=0.4)
    assert remember(None, cloudy) is None
    assert remember(first, cloudy) is first


def test_neighbours_add_the_light_that_falls_into_the_circle() -> None:
    x, y, light = (
        np.array([50.0, 51.0, 70.0]),
        np.array([50.0, 50.0, 50.0]),
        np.array([1.0, 0.5, 1.0]),
    )
    found = light_within(x, y, (x, y, light), 3.0, 2.4)
    assert found[2] == pytest.approx(1.0)
    assert found[0] == pytest.approx(1.48, abs=0.03)
    far = light_within(np.array([-500.0]), np.array([9e3]), (x, y, light), 3.0, 2.4)
    assert far[0] == 0.0
    assert light_within(x[:0], y[:0], (x, y, light), 3.0, 2.4).shape == (0,)


def test_the_star_mask_covers_bright_stars_first() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 400, 3000), rng.uniform(0, 400, 3000)
    light = 10 ** (-0.4 * rng.uniform(0, 8, 3000))
    mask = star_mask((400, 400), x, y, light, fwhm_px=2.5)
    assert 0.1 < (mask > 0).mean() < 0.4
    brightest = np.argsort(-light)[:50]
    assert mask[
        np.rint(y[brightest]).astype(int) % 400, np.rint(x[brightest]).astype(int) % 400
    ].all()
    assert not star_mask((10, 10), x[:0], y[:0], light[:0], fwhm_px=2.5).any()


def test_vignetting_is_pooled_by_weight() -> None:
    sure, vague = np.eye(2) * 0.01**2, np.eye(2) * 0.5**2
    pooled = pool_vignetting([((0.4, 0.1), sure), ((0.9, 0.9), vague)])
    assert pooled.a == pytest.approx(0.4, abs=0.01)
    assert pooled.frames == 2
    assert 0 < pooled.a_sigma < 0.03
    again = pool_vignetting([((0.4, 0.1), sure)], prior=pooled)
    assert again.a_sigma < pooled.a_sigma
    given = Vignetting(0.2, 0.0)
    assert pool_vignetting([((0.4, 0.1), sure)], prior=given) is given
    with pytest.raises(ValueError, match="no frame"):
        pool_vignetting([])


def test_airmass_is_that_of_the_tables() -> None:
    # Kasten & Young (1989), table II: 1 at the zenith, 1.994 at 30, 5.58 at 10, 38 at 0 degrees.
    np.testing.assert_allclose(airmass([90, 30, 10, 0]), [1.0, 1.994, 5.58, 38.0], rtol=3e-3)
    assert Vignetting(0.3, 0.1).loss_mag(90.0) == pytest.approx(0.4)
