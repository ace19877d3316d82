"""What moves between the exposures of a bracket shows once; what stands still loses nothing."""

from __future__ import annotations

import numpy as np
import pytest

from allsky360.imaging.hdr import Merged, merge
from allsky360.imaging.motion import keep_maps
from allsky360.imaging.noise import NoiseModel
from benchmarks.hdr_truth import BIAS, EGAIN, FULL, READ_E, expose

TIMES = (10.0, 2.5, 0.625, 0.15625)
NOISE = NoiseModel((READ_E / EGAIN) ** 2 + 1 / 12, 1 / EGAIN)
SIZE = 256
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def blob(y: float, x: float, sigma: float, peak: float) -> np.ndarray:
    """Electrons per second of a Gaussian."""
    return peak * np.exp(-0.5 * ((ROWS - y) ** 2 + (COLUMNS - x) ** 2) / sigma**2)


def sky() -> np.ndarray:
    response = np.ones((SIZE, SIZE))
    response[0::2, 0::2], response[1::2, 1::2] = 0.6, 0.7
    return 250.0 * (1.0 + ROWS / SIZE) * response


def bracket(scenes: list[np.ndarray], seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        expose(s, t, rng).astype(np.float32) - np.float32(BIAS)
        for s, t in zip(scenes, TIMES, strict=True)
    ]


def both(scenes: list[np.ndarray]) -> tuple[Merged, Merged]:
    light = bracket(scenes)
    with_test = merge(light, TIMES, [FULL] * 4, NOISE)
    return with_test, merge(light, TIMES, [FULL] * 4, NOISE, motion=False)


def smooth(image: np.ndarray) -> np.ndarray:
    """Means over 4x4 pixels: a ghost is wider than the noise."""
    return image.reshape(SIZE // 4, 4, SIZE // 4, 4).mean(axis=(1, 3))


def test_a_drifting_cloud_leaves_no_ghost() -> None:
    scenes = [sky() + blob(100, 80 + 40 * k, 15, 400.0) for k in range(4)]
    merged, blind = both(scenes)
    truth = smooth(scenes[0] * TIMES[0] / EGAIN / FULL)
    error = np.abs(smooth(merged.radiance) / truth - 1.0)
    ghost = np.abs(smooth(blind.radiance) / truth - 1.0)
    assert ghost.max() > 0.15
    assert np.quantile(error, 0.999) < 0.025
    assert error.max() < 0.035
    assert 0.05 < merged.moved < 0.4
    assert blind.moved == 0.0


def test_a_small_light_elsewhere_in_a_short_exposure_goes() -> None:
    still = sky()
    scenes = [still, still + blob(120.3, 90.6, 1.1, 60_000.0), still, still]
    merged, blind = both(scenes)
    truth = still * TIMES[0] / EGAIN / FULL
    assert (blind.radiance / truth)[112:129, 82:99].max() > 2.5
    assert (merged.radiance / truth)[112:129, 82:99].max() < 1.2


def test_an_aircraft_that_saturates_the_long_exposure_stays_whole() -> None:
    """The short ones saw dark sky there: the trail must not turn into two rims and a dark core."""
    still = sky()
    trail = 30_000.0 * np.exp(-0.5 * ((ROWS - 0.5 * COLUMNS - 60) / 2.0) ** 2)
    merged, blind = both([still + trail, still, still, still])
    core = np.abs(ROWS - 0.5 * COLUMNS - 60) < 1.0
    assert np.quantile(blind.radiance[core], 0.1) < 0.1
    assert merged.radiance[core].min() > 0.9
    assert np.median(merged.clipped[core]) == 255
    off = np.abs(ROWS - 0.5 * COLUMNS - 60) > 40
    assert merged.clipped[off].max() == 0


@pytest.mark.parametrize("step", [0.4, 1.5])
def test_a_moon_that_moves_keeps_its_disc(step: float) -> None:
    """Only the shortest exposure shows the disc itself; its rim moves."""
    moons = [
        sky()
        + 2.5e5 * (np.hypot(ROWS - 128, COLUMNS - 100 - step * k) < 12)
        + blob(128, 100 + step * k, 30, 2e3)
        for k in range(4)
    ]
    merged, _ = both(moons)
    truth = moons[3] * TIMES[0] / EGAIN / FULL
    inside = np.hypot(ROWS - 128, COLUMNS - 100 - 1.5 * step) < 8
    np.testing.assert_allclose(merged.radiance[inside], truth[inside], rtol=0.05)
    assert merged.clipped[inside].max() == 0
    # Nothing beside it is darker than the sky, or brighter than the disc.
    assert merged.radiance.min() > 0.9 * (sky() * TIMES[0] / EGAIN / FULL).min()
    assert merged.radiance.max() < 1.05 * truth.max()


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.6])
def test_bright_stars_that_drift_and_twinkle_keep_their_flux(shift: float) -> None:
    """Their cores saturate in the long exposure and must come from the short ones."""
    rng = np.random.default_rng(4)
    places = [(int(y), int(x)) for y in range(16, 240, 24) for x in range(16, 240, 24)]
    offsets, fluxes = (
        rng.uniform(-0.5, 0.5, (len(places), 2)),
        10.0 ** rng.uniform(4.2, 5.6, 81 + 19),
    )
    scenes = []
    for k in range(4):
        scene = sky()
        twinkle = 1.0 + 0.06 * rng.standard_normal(len(places)) * (k > 0)
        for (y, x), (dy, dx), f, t in zip(places, offsets, fluxes, twinkle, strict=True):
            scene += (
                0.16
                * f
                * t
                * np.exp(
                    -0.5 * ((ROWS - y - dy) ** 2 + (COLUMNS - x - dx - shift * k / 3) ** 2) / 1.0**2
                )
            )
        scenes.append(scene)
    merged, blind = both(scenes)
    truth = (np.mean(scenes, axis=0) - sky()) * TIMES[0] / EGAIN / FULL
    light = merged.radiance - sky() * TIMES[0] / EGAIN / FULL
    other = blind.radiance - sky() * TIMES[0] / EGAIN / FULL
    ratios, kept = [], []
    for y, x in places:
        box = (slice(y - 6, y + 7), slice(x - 6, x + 7))
        ratios.append(light[box].sum() / truth[box].sum())
        kept.append(light[box].sum() / other[box].sum())
    assert np.median(np.abs(np.array(ratios) - 1.0)) < 0.05
    assert np.quantile(np.abs(np.array(kept) - 1.0), 0.9) < 0.05


def test_a_still_sky_is_left_alone() -> None:
    light = bracket([sky()] * 4)
    ratios = [t / TIMES[0] for t in TIMES]
    keep, moved = keep_maps(light, ratios, [FULL] * 4, NOISE)
    assert moved == 0.0
    assert keep is None or keep.mean() > 0.9995


def test_a_wrong_exposure_time_is_not_motion() -> None:
    light = bracket([sky()] * 4)
    ratios = [1.0, 0.25 * 1.06, 0.0625 * 1.1, 0.015625 * 0.9]
    _, moved = keep_maps(light, ratios, [FULL] * 4, NOISE)
    assert moved < 0.01


def test_one_exposure_has_nothing_to_compare() -> None:
    assert keep_maps([np.zeros((16, 16), np.float32)], [1.0], [FULL], NOISE) == (None, 0.0)


def test_colour_exposures_are_compared_too() -> None:
    colour = np.array([0.6, 1.0, 0.7])
    scenes = [
        (sky()[..., None] + blob(100, 80 + 50 * k, 12, 900.0)[..., None]) * colour for k in range(4)
    ]
    merged = merge(bracket(scenes), TIMES, [FULL] * 4, NOISE)
    truth = scenes[0] * TIMES[0] / EGAIN / FULL
    error = smooth(merged.radiance[..., 1]) / smooth(truth[..., 1]) - 1.0
    assert np.quantile(np.abs(error), 0.999) < 0.025
    assert merged.moved > 0.02
