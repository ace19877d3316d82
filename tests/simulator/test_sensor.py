from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from allsky360.model import BAYER_PATTERNS
from allsky360.simulator.sensor import SensorModel, crop_and_bin, shifted_pattern, shot_noise
from allsky360.simulator.source import ExposureRequest, SensorDescription

SMALL = SensorDescription(width=300, height=200)
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def request(**changes) -> ExposureRequest:
    return replace(ExposureRequest(WHEN, 0.001, temperature_c=-20), **changes)


def even(level: float, sensor: SensorDescription = SMALL) -> np.ndarray:
    return np.full((sensor.height, sensor.width), level, dtype=np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


@pytest.mark.parametrize("gain", [0.0, 100.0, 200.0])
def test_photon_transfer_gives_the_gain_and_read_noise_back(gain: float) -> None:
    """Variance against mean of flat pairs is a line: slope 1/egain, offset read noise."""
    model = SensorModel(SMALL, hot_pixel_fraction=0.0)
    want = request(gain=gain)
    egain = SMALL.egain(gain)
    means, variances = [], []
    for level in (5.0, 20, 45, 100, 400, 1500, 5000):
        a, b = (
            model.read_out(even(level), want, rng(s)).astype(float) - SMALL.pedestal_adu(30)
            for s in (1, 2)
        )
        means.append((a.mean() + b.mean()) / 2)
        variances.append((a - b).var() / 2)
        assert means[-1] * egain == pytest.approx(level, abs=5 * np.sqrt((level + 10) / 60000))
    quantisation = (4**2) / 12
    expected = (
        np.array([5.0, 20, 45, 100, 400, 1500, 5000]) + SMALL.read_noise_e**2
    ) / egain**2 + quantisation
    np.testing.assert_allclose(variances, expected, rtol=0.03)


def test_bias_has_pedestal_and_read_noise_only() -> None:
    model = SensorModel(SMALL)
    frame = model.read_out(None, request(frame_type="bias", gain=200, exposure_s=99), rng())
    assert frame.mean() == pytest.approx(480, abs=0.5)
    noise = np.sqrt(frame.astype(float).var() - 16 / 12) * SMALL.egain(200)
    assert noise == pytest.approx(SMALL.read_noise_e, rel=0.02)


def test_dark_current_doubles_and_hot_pixels_stay() -> None:
    model = SensorModel(SMALL, seed=5)
    assert model.dark_e_per_s(20.0) == SMALL.dark_e_per_s
    assert model.dark_e_per_s(26.3) == pytest.approx(2 * SMALL.dark_e_per_s)
    asked = request(frame_type="dark", exposure_s=60.0, temperature_c=20.0, gain=100)
    a, b = (model.read_out(None, asked, rng(s)).astype(float) for s in (1, 2))
    hot = model.hot_pixels()
    assert 5 <= hot.sum() <= 40
    assert np.median(a[hot]) > np.median(a) + 10 * a[~hot].std()
    np.testing.assert_allclose(a[hot], b[hot], rtol=0.3)
    level = (np.median(a) - SMALL.pedestal_adu(30)) * SMALL.egain(100)
    assert level == pytest.approx(60 * SMALL.dark_e_per_s, rel=0.05)
    assert not np.array_equal(model.dark_map, SensorModel(SMALL, seed=6).dark_map)


@pytest.mark.parametrize("bits", [8, 12, 14, 16])
def test_converter_fills_the_top_bits(bits: int) -> None:
    sensor = replace(SMALL, bits=bits)
    frame = SensorModel(sensor).read_out(even(30_000, sensor), request(gain=0), rng())
    assert np.all(frame % 2 ** (16 - bits) == 0)
    bright = SensorModel(sensor).read_out(even(1e9, sensor), request(gain=0), rng())
    assert bright.min() == bright.max() == 65536 - 2 ** (16 - bits)
    assert SensorModel(sensor).saturation_adu(request(gain=0)) == bright.max()


def test_full_well_limits_before_the_converter() -> None:
    sensor = replace(SMALL, full_well_e=20_000, read_noise_e=0.0)
    model = SensorModel(sensor)
    frame = model.read_out(even(1e6, sensor), request(gain=0), rng())
    assert frame.max() == frame.min()
    assert frame.max() == pytest.approx(480 + 20_000 / sensor.egain_at_zero, abs=4)
    assert model.saturation_adu(request(gain=0)) == pytest.approx(frame.max(), abs=4)


@pytest.mark.parametrize("level", [0.3, 4.0, 30.0, 49.9, 50.1, 400.0])
def test_shot_noise_is_poisson(level: float) -> None:
    counts = shot_noise(np.full(200_000, level, dtype=np.float32), rng(3)).astype(float)
    assert counts.mean() == pytest.approx(level, abs=5 * np.sqrt(level / 200_000))
    assert counts.var() == pytest.approx(level, rel=0.03)
    assert counts.min() >= 0 or level > 50


def test_shot_noise_of_a_mixture_keeps_each_mean() -> None:
    expected = np.tile(np.float32([2.0, 200.0]), 50_000)
    counts = shot_noise(expected, rng(4))
    assert counts[::2].mean() == pytest.approx(2.0, rel=0.02)
    assert counts[1::2].mean() == pytest.approx(200.0, rel=0.005)


def test_pattern_follows_the_corner() -> None:
    assert shifted_pattern("RGGB", 0, 0) == "RGGB"
    assert shifted_pattern("RGGB", 1, 0) == "GRBG"
    assert shifted_pattern("RGGB", 0, 1) == "GBRG"
    assert shifted_pattern("RGGB", 3, 5) == "BGGR"
    assert shifted_pattern(None, 1, 1) is None


@pytest.mark.parametrize("pattern", BAYER_PATTERNS)
@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (0, 1), (7, 3)])
@pytest.mark.parametrize("binning", [1, 2, 3])
def test_regions_and_bins_keep_colours_apart(pattern, corner, binning) -> None:
    levels = {"R": 1000, "G": 2000, "B": 3000}
    cell = np.array([levels[c] for c in pattern], dtype=np.uint16).reshape(2, 2)
    image = np.tile(cell, (40, 60))
    cut, name = crop_and_bin(image, pattern, (*corner, 60, 48), binning)
    got = "".join({v: k for k, v in levels.items()}[int(v)] for v in cut[:2, :2].ravel())
    assert got == name
    assert cut.dtype == np.uint16
    assert cut.shape == (48 // (2 * binning) * 2, 60 // (2 * binning) * 2)
    assert np.array_equal(cut, np.tile(cut[:2, :2], (cut.shape[0] // 2, cut.shape[1] // 2)))


def test_mono_bins_plainly() -> None:
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    cut, name = crop_and_bin(image, None, None, 2)
    assert name is None
    np.testing.assert_allclose(cut, [[2.5, 4.5], [10.5, 12.5]])
