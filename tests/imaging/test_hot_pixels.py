"""Defects go, stars stay."""

from __future__ import annotations

import numpy as np
import pytest

from allsky360.imaging.hot_pixels import repair_hot_pixels
from allsky360.imaging.noise import NoiseModel

NOISE = NoiseModel(25.0, 1.0)
SKY = 200.0


def sky(rng: np.random.Generator, size: int = 400) -> np.ndarray:
    response = np.ones((size, size))
    response[0::2, 0::2], response[1::2, 1::2] = 0.6, 0.7
    signal = SKY * response
    return (rng.poisson(signal) + rng.normal(0, 5, signal.shape)).astype(np.float32)


def test_hot_and_dead_pixels_are_repaired() -> None:
    rng = np.random.default_rng(1)
    image = sky(rng)
    clean = image.copy()
    at = rng.permutation(np.arange(5, 395, 6))
    spots = [(int(y), int(x)) for y, x in zip(at, np.roll(at, 7), strict=True)]
    for k, (y, x) in enumerate(spots):
        image[y, x] = 20.0 - 300.0 if k % 5 == 0 else clean[y, x] + 400.0 * (1 + k)
    repaired, count = repair_hot_pixels(image, sigmas=8.0, noise=NOISE)
    assert count >= 0.95 * len(spots)
    left = [abs(repaired[y, x] - clean[y, x]) > 120 for y, x in spots]
    assert sum(left) <= 0.05 * len(spots)
    untouched = np.ones(image.shape, bool)
    for y, x in spots:
        untouched[y, x] = False
    assert np.mean(repaired[untouched] != image[untouched]) < 1e-4


@pytest.mark.parametrize("fwhm", [1.3, 1.8, 3.0])
def test_stars_are_kept(fwhm: float) -> None:
    rng = np.random.default_rng(2)
    image = sky(rng)
    s = fwhm / 2.355
    rows, columns = np.mgrid[-5:6, -5:6]
    peaks = []
    for y in range(10, 390, 12):
        for x in range(10, 390, 12):
            dy, dx = rng.uniform(-0.5, 0.5, 2)
            flux = 10.0 ** rng.uniform(2.5, 4.5)
            star = flux * np.exp(-0.5 * ((rows - dy) ** 2 + (columns - dx) ** 2) / s**2)
            image[y - 5 : y + 6, x - 5 : x + 6] += star.astype(np.float32)
            peaks.append((y, x))
    repaired, _ = repair_hot_pixels(image, sigmas=8.0, noise=NOISE)
    lost = sum(repaired[y, x] != image[y, x] for y, x in peaks)
    assert lost <= 0.02 * len(peaks)


def test_the_input_is_written_to_only_when_told() -> None:
    image = sky(np.random.default_rng(3), 80)
    image[40, 30] = 5000
    before = image.copy()
    repaired, count = repair_hot_pixels(image, sigmas=8.0, noise=NOISE)
    np.testing.assert_array_equal(image, before)
    assert count == 1
    same, again = repair_hot_pixels(image, sigmas=8.0, noise=NOISE, in_place=True)
    assert same is image
    assert again == 1
    np.testing.assert_array_equal(same, repaired)


@pytest.mark.parametrize("place", [(0, 0), (0, 41), (79, 2), (79, 79), (40, 0), (40, 79)])
def test_defects_at_the_border_are_found(place: tuple[int, int]) -> None:
    image = sky(np.random.default_rng(4), 80)
    image[place] = 6000
    repaired, count = repair_hot_pixels(image, sigmas=8.0, noise=NOISE)
    assert count == 1
    assert repaired[place] < 400


def test_a_sensor_full_of_defects_is_still_searched() -> None:
    """More finds than the search makes room for at first."""
    image = sky(np.random.default_rng(5), 400)
    image[2:390:6, 2:390:6] = 8000
    repaired, count = repair_hot_pixels(image, sigmas=8.0, noise=NOISE)
    assert count >= 0.99 * image[2:390:6, 2:390:6].size > 2048
    assert np.median(repaired[2:390:6, 2:390:6]) < 400


def test_only_single_planes() -> None:
    with pytest.raises(ValueError, match="repaired on"):
        repair_hot_pixels(np.zeros((4, 4, 3), np.float32), sigmas=8, noise=NOISE)
