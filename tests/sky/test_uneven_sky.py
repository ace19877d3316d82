"""The sky's level under stars before cloud, against planted truth."""

from __future__ import annotations

import numpy as np

from allsky360.arrays.apertures import aperture_sums
from allsky360.sky.apertures import forced_fluxes, shape_for
from allsky360.sky.uneven_sky import sky_levels

SHAPE = shape_for(2.5)
SIDE = 400
Y, X = np.mgrid[:SIDE, :SIDE].astype(np.float64)
RNG = np.random.default_rng(7)
PLACES = RNG.uniform(20, SIDE - 20, (2, 500))


def noise(sigma: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sigma, (SIDE, SIDE))


def test_an_even_sky_keeps_the_rings_level() -> None:
    plane = (0.1 + 1e-4 * X + noise(1e-3, 1)).astype(np.float32)
    sums = aperture_sums(plane, *PLACES, SHAPE)
    levels = sky_levels(plane, sums, SHAPE, None)
    assert np.median(levels.surface_share) < 0.05
    np.testing.assert_allclose(levels.near, sums.sky, atol=6e-4)


def test_a_bent_sky_is_followed_into_the_circle() -> None:
    wave = 0.05 * np.sin(2 * np.pi * X / 36) * np.sin(2 * np.pi * Y / 36)
    plane = (0.1 + wave + noise(1e-3, 2)).astype(np.float32)
    sums = aperture_sums(plane, *PLACES, SHAPE)
    levels = sky_levels(plane, sums, SHAPE, None)
    k = (2 * np.pi / 36) ** 2
    inside = 0.05 * (1 - k * SHAPE.radius**2 / 4)  # the mean over a circle, to second order
    x, y = PLACES
    truth = 0.1 + inside * np.sin(2 * np.pi * x / 36) * np.sin(2 * np.pi * y / 36)
    ring, surface = np.std(sums.sky - truth), np.std(levels.near - truth)
    assert levels.surface_share.min() > 0.5
    assert surface < 0.15 * ring


def test_stars_before_lit_cloud_keep_their_light() -> None:
    cloud = 0.05 * np.sin(2 * np.pi * X / 40) * np.sin(2 * np.pi * Y / 40)
    plane = 0.1 + cloud + noise(1e-3, 3)
    x, y = PLACES[:, :60]
    for a, b in zip(x, y, strict=True):
        plane += 0.6 / (2 * np.pi * 1.06**2) * np.exp(-((X - a) ** 2 + (Y - b) ** 2) / 2 / 1.06**2)
    light = np.full(x.size, 1.0)
    found = forced_fluxes(
        plane.astype(np.float32), x, y, sources=(x, y, light), own=light, fwhm_px=2.5
    )
    assert abs(np.median(found.flux) / 0.6 - 1.0) < 0.07
    pull = (found.flux - np.median(found.flux)) / found.flux_sigma
    assert 0.4 < 1.4826 * np.median(np.abs(pull)) < 2.0
    assert np.median(found.flux / found.flux_sigma) > 5.0


def test_nothing_to_measure_and_nothing_near() -> None:
    plane = noise(1e-3, 4).astype(np.float32)
    none = aperture_sums(plane, np.empty(0), np.empty(0), SHAPE)
    assert sky_levels(plane, none, SHAPE, None).near.size == 0
    few = aperture_sums(plane, np.array([200.0, -5.0]), np.array([200.0, 10.0]), SHAPE)
    levels = sky_levels(plane, few, SHAPE, None)
    np.testing.assert_array_equal(levels.surface_share, 0.0)
    np.testing.assert_array_equal(levels.near, few.sky)
