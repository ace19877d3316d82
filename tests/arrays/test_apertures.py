"""Circles and blocks: closed forms, and the same answers on every library."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

from allsky360.arrays import to_host
from allsky360.arrays.apertures import ApertureShape, aperture_sums
from allsky360.arrays.block_level import block_level

DEVICE = array_api_strict.Device("device1")
SHAPE = ApertureShape(3.2, 7.0, 8.0, 13.0, 1.2)


def away(array: Any) -> Any:
    return array_api_strict.asarray(np.asarray(array), device=DEVICE)


def sky_with(x: Any, y: Any, flux: Any, *, sigma: float = 1.1, noise: float = 2.0) -> Any:
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:220, :260]
    image = rng.normal(100.0, noise, rows.shape) if noise else np.full(rows.shape, 100.0)
    for a, b, f in zip(x, y, flux, strict=True):
        profile = np.exp(-0.5 * ((columns - a) ** 2 + (rows - b) ** 2) / sigma**2)
        image += f * profile / (2 * np.pi * sigma**2)
    return image.astype(np.float32)


def test_a_lone_star_on_a_flat_sky_is_measured_whole() -> None:
    x, y, flux = np.array([60.3, 150.8]), np.array([70.6, 91.1]), np.array([5000.0, 800.0])
    image = sky_with(x, y, flux, noise=0.0)
    sums = aperture_sums(image, x, y, SHAPE)
    np.testing.assert_allclose(sums.wide_flux, flux, rtol=2e-4)
    np.testing.assert_allclose(sums.sky, 100.0, atol=1e-3)
    np.testing.assert_allclose(sums.flux / flux, 1 - np.exp(-0.5 * (3.2 / 1.1) ** 2), atol=0.008)
    assert sums.inside.all()


def test_bright_stars_are_recentred_and_faint_ones_are_not() -> None:
    x, y = np.array([60.3, 150.8]), np.array([70.6, 91.1])
    image = sky_with(x, y, [4000.0, 20.0])
    sums = aperture_sums(image, x + 0.5, y - 0.4, SHAPE)
    assert sums.recentred.tolist() == [True, False]
    assert np.hypot(sums.x[0] - x[0], sums.y[0] - y[0]) < 0.03
    assert (sums.x[1], sums.y[1]) == (x[1] + 0.5, y[1] - 0.4)


def test_a_centre_that_wanders_off_to_a_neighbour_is_refused() -> None:
    image = sky_with([100.0, 102.6], [100.0, 100.0], [300.0, 9000.0])
    sums = aperture_sums(image, np.array([100.0]), np.array([100.0]), SHAPE)
    assert not sums.recentred[0]
    assert sums.x[0] == 100.0


def test_stars_in_the_ring_do_not_lift_the_sky() -> None:
    rng = np.random.default_rng(1)
    turn = rng.uniform(0, 2 * np.pi, 5)
    x = np.concatenate([[100.0], 100 + 10.5 * np.cos(turn)])
    y = np.concatenate([[100.0], 100 + 10.5 * np.sin(turn)])
    image = sky_with(x, y, [2000.0, *[1500.0] * 5])
    sums = aperture_sums(image, x[:1], y[:1], SHAPE)
    assert abs(sums.sky[0] - 100.0) < 1.0  # 5 stars of 1500 would add 23 to a mean
    blocked = (sky_with(x[1:], y[1:], [1500.0] * 5, noise=0.0) > 100.5).astype(np.uint8) * 255
    masked = aperture_sums(image, x[:1], y[:1], SHAPE, blocked=blocked)
    assert abs(masked.sky[0] - 100.0) < 0.5
    assert masked.ring_pixels[0] < sums.ring_pixels[0]


def test_places_off_or_near_the_rim_are_said_to_be_outside() -> None:
    image = sky_with([], [], [])
    x = np.array([-3.0, 5.0, 130.0, 259.0, np.nan, 1e9])
    sums = aperture_sums(image, x, np.full(6, 110.0), SHAPE)
    assert sums.inside.tolist() == [False, False, True, False, False, False]


def test_saturation_is_seen_only_inside_the_circle() -> None:
    image = sky_with([], [], [])
    clipped = np.zeros(image.shape, np.uint8)
    clipped[100, 103] = clipped[100, 206] = 255
    sums = aperture_sums(image, np.array([100.0, 200.0]), np.full(2, 100.0), SHAPE, clipped=clipped)
    assert sums.saturated.tolist() == [True, False]


def test_no_places_give_empty_answers() -> None:
    image = sky_with([], [], [])
    sums = aperture_sums(image, np.empty(0), np.empty(0), SHAPE)
    assert sums.flux.shape == (0,)


def test_both_bodies_agree() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-5, 265, 200), rng.uniform(-5, 225, 200)
    image = sky_with(x, y, 10 ** rng.uniform(1, 4, 200))
    clipped = (image > 700).astype(np.uint8) * 255
    blocked = (image > 120).astype(np.uint8) * 255
    x, y = x + rng.normal(0, 0.2, 200), y + rng.normal(0, 0.2, 200)
    x[0] = np.nan
    here = aperture_sums(image, x, y, SHAPE, clipped=clipped, blocked=blocked)
    there = aperture_sums(
        away(image),
        x,
        y,
        SHAPE,
        clipped=away(clipped),
        blocked=away(blocked),
    )
    assert 100 < here.inside.sum() < 200
    assert here.recentred.any()
    for name in ("inside", "saturated", "recentred", "ring_pixels", "sky", "sky_sigma"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name), err_msg=name)
    for name in ("x", "y", "flux", "wide_flux", "peak"):
        np.testing.assert_allclose(
            getattr(here, name), getattr(there, name), rtol=1e-4, atol=0.02, err_msg=name
        )


@pytest.mark.parametrize("size", [8, 16, 40])
def test_block_levels_ignore_stars_and_agree(size: int) -> None:
    rng = np.random.default_rng(size)
    x, y = rng.uniform(0, 260, 150), rng.uniform(0, 220, 150)
    image = sky_with(x, y, np.full(150, 400.0))
    blocked = (sky_with(x, y, np.full(150, 400.0), noise=0.0) > 100.3).astype(np.uint8) * 255
    level, sigma = block_level(image, size, blocked=blocked)
    assert level.shape == (220 // size, 260 // size)
    assert abs(float(np.median(level)) - 100.0) < 0.15
    assert abs(float(np.median(sigma)) - 2.0) < 0.25
    for mask in (None, blocked):
        here = block_level(image, size, blocked=mask)
        there = block_level(away(image), size, blocked=None if mask is None else away(mask))
        for a, b in zip(here, there, strict=True):
            np.testing.assert_allclose(a, to_host(b), rtol=1e-6)


def test_a_block_under_one_star_still_has_a_level() -> None:
    image = sky_with([], [], [])
    blocked = np.full(image.shape, 255, np.uint8)
    level, _ = block_level(image, 20, blocked=blocked)
    assert abs(float(np.median(level)) - 100.0) < 0.3


def test_blocks_larger_than_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        block_level(np.zeros((30, 50), np.float32), 40)
