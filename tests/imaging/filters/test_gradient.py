"""Gradient removal: a known gradient comes off, stars and Milky Way stay, the contract holds."""

from __future__ import annotations

import numpy as np
import pytest

from allsky360 import arrays
from allsky360.imaging.filters.gradient import gradient, measure
from tests.imaging.filters.local_helpers import away, circle

H, W = 520, 700


def scene(*, colour: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat noisy sky with stars and a Milky Way; the gradient; the mask."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:H, :W]
    u, v = (x - W / 2) / (W / 2), (y - H / 2) / (W / 2)
    sky = 1.0 + rng.normal(0, 0.05, (H, W, 3))
    band = 0.35 * np.exp(-0.5 * ((0.8 * u - 0.6 * v - 0.1) / 0.08) ** 2)
    sky += band[..., None]
    for _ in range(300):
        j, i = rng.integers(5, H - 5), rng.integers(5, W - 5)
        sky[j - 1 : j + 2, i - 1 : i + 2] += 10.0 ** rng.uniform(-0.5, 1.5)
    slope = 0.4 * u + 0.25 * v + 0.5 * u * v + 0.3 * u**2
    tint = np.array([1.3, 1.0, 0.6]) if colour else np.ones(3)
    return sky.astype(np.float32), (slope[..., None] * tint).astype(np.float32), circle(H, W)


def background(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Medians of tiles wholly inside, a row for each."""
    tiles = []
    for j in range(0, H - 40, 40):
        for i in range(0, W - 40, 40):
            if mask[j : j + 40, i : i + 40].all():
                tiles.append(np.median(image[j : j + 40, i : i + 40], axis=(0, 1)))
    return np.array(tiles)


def test_a_known_gradient_comes_off_and_nothing_else() -> None:
    sky, slope, mask = scene()
    out = gradient(sky + slope, mask=mask)
    found, truth = background(out, mask), background(sky, mask)
    found -= np.median(found - truth, axis=0)
    # The gradient reached 0.7; the Milky Way of 0.35 is in the truth and must stay.
    assert np.sqrt(np.mean((found - truth) ** 2, axis=0)).max() < 0.015
    # The level of the sky stays.
    before, after = (np.median(a[mask], axis=0) for a in (sky + slope, out))
    np.testing.assert_allclose(after, before, atol=0.08)


def test_half_the_amount_takes_half() -> None:
    sky, slope, mask = scene()
    whole, half = (gradient(sky + slope, amount=a, mask=mask) for a in (1.0, 0.5))
    np.testing.assert_allclose(half, 0.5 * (whole + sky + slope), atol=2e-4)


def test_trees_and_moon_do_not_steer() -> None:
    sky, slope, mask = scene()
    clean = measure(sky + slope, mask=mask)["coefficients"]
    image = sky + slope
    image[380:470, 250:420] = 0.1
    y, x = np.mgrid[:H, :W]
    image += (30.0 * np.exp(-0.5 * ((x - 300) ** 2 + (y - 200) ** 2) / 12**2))[..., None]
    np.testing.assert_allclose(measure(image, mask=mask)["coefficients"], clean, atol=0.03)


def test_identity_grey_mono_and_outside() -> None:
    sky, slope, mask = scene(colour=False)
    image = np.repeat((sky + slope)[..., :1], 3, axis=2)
    assert gradient(image, amount=0.0) is image
    out = gradient(image, mask=mask)
    np.testing.assert_array_equal(out[..., 0], out[..., 2])
    np.testing.assert_allclose(gradient(image[..., :1], mask=mask), out[..., :1], atol=1e-5)
    np.testing.assert_array_equal(out[~mask], image[~mask])
    given = image.copy()
    given[~mask] = np.nan
    np.testing.assert_array_equal(gradient(given, mask=mask)[mask], out[mask])


def test_the_state_rules_and_is_the_measurement() -> None:
    sky, slope, mask = scene()
    image = sky + slope
    state = measure(image, mask=mask)
    np.testing.assert_array_equal(
        gradient(image, state=state, mask=mask), gradient(image, mask=mask)
    )
    # With the numbers of another frame the same is subtracted, whatever is in this one.
    moved = gradient(image + 0.5, state=state, mask=mask)
    np.testing.assert_allclose(moved - 0.5, gradient(image, mask=mask), atol=1e-5)


def test_nothing_to_fit_is_no_gradient() -> None:
    image = np.ones((64, 64, 3), np.float32)
    nowhere = np.zeros((64, 64), bool)
    np.testing.assert_array_equal(gradient(image, mask=nowhere), image)


def test_a_bad_degree_is_named() -> None:
    with pytest.raises(ValueError, match="degree"):
        gradient(np.ones((64, 64, 3), np.float32), degree=9)


def test_devices_agree() -> None:
    sky, slope, mask = scene()
    image = sky + slope
    theirs = gradient(away(image), mask=away(mask))
    np.testing.assert_allclose(arrays.to_host(theirs), gradient(image, mask=mask), atol=2e-4)
    # The pipeline measures with the mask on the host.
    found = measure(away(image), mask=mask)
    for key, values in measure(image, mask=mask).items():
        np.testing.assert_allclose(found[key], values, atol=1e-4)


def test_stray_light_beyond_the_image_circle_is_no_sky() -> None:
    sky, slope, mask = scene()
    y, x = np.mgrid[:H, :W]
    lit = np.where(mask[..., None], sky + slope, 0.02)
    stray = (np.hypot(y - H / 2, x - W / 2) > 0.95 * W / 2) & ~mask
    given = np.where(stray[..., None], 0.7, lit).astype(np.float32)
    out = gradient(given)
    np.testing.assert_allclose(out[stray], given[stray], atol=1e-6)
    around = ~mask & ~stray & (np.hypot(y - H / 2, x - W / 2) > 0.85 * W / 2)
    np.testing.assert_allclose(out[around], given[around], atol=1e-6)


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_no_light_is_no_gradient(level: float) -> None:
    image = np.full((64, 64, 3), level, np.float32)
    np.testing.assert_allclose(gradient(image), image, atol=1e-6)


def test_beyond_the_image_circle_it_stays_dark() -> None:
    sky, slope, mask = scene()
    dark = np.where(mask[..., None], sky + slope, 0.0).astype(np.float32)
    state = measure(dark, mask=mask)
    out = gradient(dark, state=state)
    corner = (slice(0, 60), slice(0, 60))
    assert not mask[corner].any()
    np.testing.assert_allclose(out[corner], 0.0, atol=1e-6)
    away_from_edge = np.s_[200:320, 250:450]
    np.testing.assert_allclose(
        out[away_from_edge], gradient(dark, state=state, mask=mask)[away_from_edge], atol=1e-6
    )
