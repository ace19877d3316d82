"""HDR merge against synthetic truth with the sensor's physics (benchmarks/hdr_truth.py)."""

from __future__ import annotations

import numpy as np
import pytest

from allsky360.imaging.hdr import merge, ratio_error
from allsky360.imaging.noise import NoiseModel, estimate_noise
from benchmarks.hdr_truth import (
    BIAS,
    EGAIN,
    FULL,
    READ_E,
    expose,
    measure,
    sky_electrons,
)


@pytest.mark.parametrize(
    "times",
    [(10.0, 2.5, 0.625, 0.15625, 0.0390625), (10.0, 0.5), (10.0,)],
    ids=["five", "two", "one"],
)
def test_radiance_ratio_and_noise(times: tuple[float, ...]) -> None:
    truth = measure(sky_electrons((320, 320), seed=3), times, rounds=10)
    assert truth.median_error < 0.01
    assert truth.ratio_error < 0.005
    assert truth.noise_over_optimum < 1.15


def bracket(times: tuple[float, ...], electrons: np.ndarray) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [expose(electrons, t, rng).astype(np.float32) - np.float32(BIAS) for t in times]


def test_longest_exposure_is_the_unit_whatever_the_order() -> None:
    electrons = np.full((64, 64), 2000.0)
    times = (1.0, 10.0, 0.1)
    merged = merge(bracket(times, electrons), times, [FULL] * 3, NoiseModel(9.0, 1.0))
    assert np.median(merged.radiance) == pytest.approx(2000 * 10 / EGAIN / FULL, rel=0.01)
    assert merged.full_scale == pytest.approx(100.0)
    assert merged.radiance.dtype == np.float32


def test_saturated_everywhere_reads_full_scale_and_says_so() -> None:
    electrons = np.full((32, 32), 1e9)
    times = (8.0, 2.0)
    merged = merge(bracket(times, electrons), times, [FULL] * 2, NoiseModel(9.0, 1.0))
    np.testing.assert_allclose(merged.radiance, 4.0, rtol=1e-5)
    assert merged.clipped.min() == 255


def test_colours_of_one_cell_come_from_the_same_exposures() -> None:
    """Green saturates first; a cell must not mix long red with short green."""
    electrons = np.full((32, 32), 5000.0)
    electrons[0::2, 1::2] = electrons[1::2, 0::2] = 9000.0  # green of RGGB
    times = (8.0, 1.0)
    light = bracket(times, electrons)
    assert light[0][0::2, 1::2].min() == FULL
    light[0][0::2, 0::2] *= 1.1  # a long exposure that would betray itself in red
    merged = merge(light, times, [FULL] * 2, NoiseModel(9.0, 1.0))
    red = np.median(merged.radiance[0::2, 0::2])
    assert red == pytest.approx(5000 * 8 / EGAIN / FULL, rel=0.02)


def test_colour_images_are_judged_by_their_brightest_channel() -> None:
    light = [np.full((8, 8, 3), 100.0, np.float32), np.full((8, 8, 3), 50.0, np.float32)]
    light[0][..., 1] = FULL
    light[1][..., 1] = 20_000
    merged = merge(light, (4.0, 1.0), [FULL] * 2, NoiseModel(9.0, 1.0))
    np.testing.assert_allclose(merged.radiance[..., 0], 200 / FULL, rtol=1e-3)


def test_bracket_without_times_is_refused() -> None:
    light = [np.zeros((8, 8), np.float32)] * 2
    with pytest.raises(ValueError, match="exposure times must be positive"):
        merge(light, (0.0, 1.0), [FULL] * 2, NoiseModel(9.0, 1.0))
    alone = merge(light[:1], (0.0,), [FULL], NoiseModel(9.0, 1.0))
    assert alone.full_scale == 1.0


def test_negatives_are_kept_and_the_dark_is_unbiased() -> None:
    electrons = np.zeros((256, 256))
    times = (10.0, 2.5)
    merged = merge(bracket(times, electrons), times, [FULL] * 2, NoiseModel(11.1, 1 / EGAIN))
    assert merged.radiance.min() < 0
    sigma = READ_E / EGAIN / FULL
    assert abs(float(np.mean(merged.radiance))) < 5 * sigma / 256


def test_wrong_exposure_time_shows() -> None:
    electrons = sky_electrons((256, 256), seed=2)
    times = (10.0, 2.5, 0.6)
    light = bracket(times, electrons)
    assert ratio_error(light, times, [FULL] * 3) < 0.01
    assert ratio_error(light, (10.0, 2.0, 0.6), [FULL] * 3) > 0.15
    assert ratio_error(light[:1], times[:1], [FULL]) == 0.0


def test_noise_model_is_found_from_the_frames() -> None:
    rows, columns = np.mgrid[:512, :512]
    electrons = 4.0 + 400.0 * (columns / 512) ** 2 + 100.0 * rows / 512
    light = bracket((10.0, 2.5, 0.6), electrons)
    model = estimate_noise(light, [FULL] * 3, egain=None, mosaic=True)
    assert model.shot == pytest.approx(1 / EGAIN, rel=0.1)
    assert model.read_var == pytest.approx((READ_E / EGAIN) ** 2, rel=0.35)
    told = estimate_noise(light, [FULL] * 3, egain=EGAIN, mosaic=True)
    assert told.shot == 1 / EGAIN
    assert told.read_var == pytest.approx((READ_E / EGAIN) ** 2, rel=0.5)


def test_noise_model_survives_what_says_nothing() -> None:
    black = estimate_noise([np.zeros((64, 64), np.float32)], [255.0], egain=None, mosaic=True)
    assert black.read_var > 0
    assert black.shot > 0
    tiny = estimate_noise([np.ones((4, 6), np.float32)], [255.0], egain=2.0, mosaic=False)
    assert tiny.shot == 0.5
