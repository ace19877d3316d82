"""The stretch puts the sky where it belongs, by every curve."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest

from allsky360.imaging.filters.filter import Conditions
from allsky360.imaging.filters.stretch import (
    Method,
    luminance_curve,
    measure_levels,
    overexposure,
    stretch,
)

METHODS = pytest.mark.parametrize("method", get_args(Method))


def encode(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def night(size: int = 240, seed: int = 0) -> np.ndarray:
    """A linear night: sky 1 with a gradient, noise, stars up to 1000; ``(H, W, 3)``."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image = 1.0 + 0.3 * (y / size - 0.5) + rng.normal(0, 0.05, (size, size))
    for _ in range(60):
        cy, cx = rng.integers(4, size - 4, 2)
        peak = 10 ** rng.uniform(0, 3)
        image += peak * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / 0.9**2)
    return (image[..., None] * np.array([0.94, 1.0, 1.08])).astype(np.float32)


@METHODS
@pytest.mark.parametrize("sky", [1e-4, 0.01, 0.1])
@pytest.mark.parametrize("target", [0.15, 0.2, 0.45])
def test_curve_puts_the_sky_at_its_target(method: Method, sky: float, target: float) -> None:
    curve = luminance_curve(sky, target, method=method)
    assert (np.diff(curve) >= -1e-7).all()
    assert curve[0] == 0
    assert curve[-1] == pytest.approx(1.0)
    positions = np.sqrt(sky) * (curve.size - 1)
    level = np.interp(positions, np.arange(curve.size), curve)
    assert encode(level) == pytest.approx(target, abs=8e-3)


@pytest.mark.parametrize("intensity", [-1.0, -0.5, 0.0, 1.0, 10.0])
def test_ghs_reaches_the_target_for_every_intensity(intensity: float) -> None:
    curve = luminance_curve(0.02, 0.2, method="ghs", intensity=intensity)
    assert (np.diff(curve) >= -1e-7).all()
    level = np.interp(np.sqrt(0.02) * (curve.size - 1), np.arange(curve.size), curve)
    assert encode(level) == pytest.approx(0.2, abs=2e-3)


def test_a_brighter_sky_is_brought_half_of_the_way_down() -> None:
    curve = luminance_curve(0.8, 0.2)
    level = np.interp(np.sqrt(0.8) * (curve.size - 1), np.arange(curve.size), curve)
    assert encode(level) == pytest.approx(math.sqrt(0.8 * 0.2), abs=2e-3)


@METHODS
def test_picture_has_its_sky_at_the_background(method: Method) -> None:
    picture = stretch(night(), method=method, background=0.2)
    assert picture.dtype == np.float32
    assert 0.0 <= picture.min() <= picture.max() <= 1.0
    assert np.median(picture[..., 1]) == pytest.approx(0.2, abs=0.03)


def test_colours_are_kept_when_linked_and_greyed_when_not() -> None:
    image = night() * np.array([0.7, 1.0, 1.4], np.float32)
    linked = np.median(stretch(image).reshape(-1, 3), axis=0)
    apart = np.median(stretch(image, linked=False).reshape(-1, 3), axis=0)
    assert np.ptp(linked) > 0.08
    assert np.ptp(apart) < 0.02


def test_grey_stays_grey() -> None:
    grey = np.repeat(night()[..., 1:2], 3, axis=2)
    for linked in (True, False):
        picture = stretch(grey, linked=linked)
        np.testing.assert_allclose(picture[..., 0], picture[..., 2], atol=1e-6)
    mono = stretch(grey[..., :1])
    np.testing.assert_allclose(mono[..., 0], stretch(grey)[..., 1], atol=2e-3)


def test_what_lies_outside_the_mask_does_not_count() -> None:
    image = night()
    mask = np.ones(image.shape[:2], bool)
    mask[:, 150:] = False
    spoiled = image.copy()
    spoiled[:, 156:] = 5e4
    left = (slice(None), slice(0, 140))
    np.testing.assert_array_equal(
        stretch(image, mask=mask)[left], stretch(spoiled, mask=mask)[left]
    )
    assert np.abs(stretch(image)[left] - stretch(spoiled)[left]).max() > 0.01


def test_no_black_point_by_day_and_white_when_saturated() -> None:
    image = night()
    assert measure_levels(image)["black"][0] > 0.3
    assert measure_levels(image, conditions=Conditions(daylight=1.0))["black"] == [0.0]
    burnt = Conditions(saturation=1.0)
    assert measure_levels(image, conditions=burnt)["share_overexposed"][0] > 0.95
    assert np.median(stretch(image, conditions=burnt)) > 0.6
    assert overexposure(0.5) == 0.0


def test_state_wins_over_the_frame() -> None:
    image = night()
    state = measure_levels(image)
    brighter = stretch(2.0 * image, state=state)
    assert np.median(brighter) > np.median(stretch(image, state=state)) + 0.05
    np.testing.assert_array_equal(stretch(image, state=state), stretch(image))


@pytest.mark.parametrize("background", [0.0, 0.95])
def test_impossible_background_is_refused(background: float) -> None:
    with pytest.raises(ValueError, match="background"):
        stretch(night(), background=background)
