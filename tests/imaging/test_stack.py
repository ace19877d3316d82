"""Masters averaged from many frames: right, blind to what hit one frame, small in memory."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pytest

from allsky360.imaging.stack import middle_mean, odd_levels, stack
from allsky360.simulator.sensor import SensorModel
from allsky360.simulator.source import ExposureRequest, SensorDescription

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
SENSOR = SensorModel(SensorDescription(width=200, height=150), seed=3)
EGAIN = SENSOR.description.egain(100.0)


def darks(count: int, *, rays: int = 0, exposure_s: float = 60.0) -> list[np.ndarray]:
    """Dark frames of the simulated sensor, with cosmic rays."""
    request = ExposureRequest(WHEN, exposure_s, gain=100.0, frame_type="dark")
    out = []
    for k in range(count):
        frame = SENSOR.read_out(None, request, np.random.default_rng(k))
        for r in range(rays):
            frame[(7 * k + 11 * r) % 150, (13 * k + 29 * r) % 200] = 40_000
        out.append(frame)
    return out


def expected(exposure_s: float = 60.0) -> np.ndarray:
    """True mean of each pixel, ADU."""
    electrons = SENSOR.dark_map * SENSOR.dark_e_per_s(15.0) * exposure_s
    return SENSOR.description.pedestal_adu(30.0) + electrons / EGAIN


def sigma(exposure_s: float = 60.0) -> np.ndarray:
    """True noise of each pixel in one frame, ADU."""
    electrons = SENSOR.dark_map * SENSOR.dark_e_per_s(15.0) * exposure_s
    return np.sqrt(electrons + SENSOR.description.read_noise_e**2) / EGAIN


@pytest.mark.parametrize("count", [5, 16, 40])
def test_the_mean_is_the_sensors_own(count: int) -> None:
    frames = darks(count, rays=12)
    result = stack(lambda: iter(frames))
    apart = (result.mean - expected()) / (sigma() / np.sqrt(count))
    assert abs(apart.mean()) < 0.05
    assert apart.std() == pytest.approx(1.0, abs=0.12)
    assert np.abs(apart).max() < 7.5
    assert result.noise == pytest.approx(np.median(sigma()), rel=0.2)
    assert result.used == tuple(range(count))
    assert 12 / 30_000 <= result.clipped < 12 / 30_000 + 0.01


def test_without_clipping_the_rays_would_show() -> None:
    """The test above can fail: a plain mean is off by hundreds of its standard deviations."""
    frames = darks(16, rays=12)
    apart = (np.mean(frames, axis=0) - expected()) / (sigma() / 4)
    assert np.abs(apart).max() > 100


def test_few_frames_are_averaged_plainly() -> None:
    frames = darks(3)
    result = stack(lambda: iter(frames))
    np.testing.assert_allclose(result.mean, np.mean(frames, axis=0), atol=1e-3)
    assert result.noise == pytest.approx(np.median(sigma()), rel=0.2)
    one = stack(lambda: iter(frames[:1]))
    assert np.array_equal(one.mean, frames[0])
    assert one.noise == 0.0


def test_unstable_pixels_are_listed() -> None:
    frames = darks(20)
    for k, frame in enumerate(frames):
        frame[40, 50] = 700 if k % 2 else 2000
    result = stack(lambda: iter(frames))
    assert 40 * 200 + 50 in result.unstable
    assert result.unstable.size < 40


def test_a_frame_with_light_in_it_is_left_out() -> None:
    frames = darks(10)
    frames[4] = frames[4] + np.uint16(60)
    result = stack(lambda: iter(frames))
    assert result.odd == (4,)
    assert result.used == (0, 1, 2, 3, 5, 6, 7, 8, 9)
    assert np.median(result.mean - expected()) == pytest.approx(0, abs=1.0)
    assert odd_levels([100, 100, 300]) == []
    assert odd_levels([100.0, 100.4, 100.2, 101.9, 100.1]) == []


def test_flats_of_changing_brightness_are_scaled() -> None:
    shape = np.linspace(0.6, 1.0, 200)[None, :] * np.ones((150, 1))
    rng = np.random.default_rng(1)
    lamps = [10_000, 14_000, 12_000, 9_000, 20_000, 16_000]
    frames = [rng.poisson(lamp * shape).astype(np.uint16) for lamp in lamps]
    result = stack(lambda: iter(frames), scale=[1.0 / lamp for lamp in lamps])
    np.testing.assert_allclose(result.mean, shape, rtol=0.03)
    assert result.odd == ()
    with pytest.raises(ValueError, match="2 factors for 6 frames"):
        stack(lambda: iter(frames), scale=[1.0, 2.0])


def test_wrong_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no frame"):
        stack(lambda: iter([]))
    with pytest.raises(ValueError, match=r"frame 1 is \(4, 5\), those before \(5, 4\)"):
        stack(lambda: iter([np.zeros((5, 4), np.uint16), np.zeros((4, 5), np.uint16)]))


def test_memory_does_not_grow_with_the_number_of_frames() -> None:
    shape = (400, 500)

    def frames(count: int):  # type: ignore[no-untyped-def]
        for k in range(count):
            yield np.random.default_rng(k).integers(90, 110, shape, dtype=np.uint16)

    peaks = []
    for count in (6, 40):
        tracemalloc.start()
        stack(lambda count=count: frames(count))  # type: ignore[misc]
        peaks.append(tracemalloc.get_traced_memory()[1] / (4 * shape[0] * shape[1]))
        tracemalloc.stop()
    assert peaks[1] < 10.5  # float32 planes
    assert peaks[1] < peaks[0] * 1.1


def test_middle_mean_is_finer_than_the_converters_step() -> None:
    values = 4.0 * np.rint(np.random.default_rng(0).normal(101.3, 6, 100_000) / 4)
    assert middle_mean(values) == pytest.approx(101.3, abs=0.15)
