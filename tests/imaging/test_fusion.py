"""Exposure fusion against OpenCV's MergeMertens, and the fast look against the full method."""

from __future__ import annotations

from typing import Any

import array_api_strict
import cv2
import numpy as np
import pytest

from allsky360 import arrays
from allsky360.arrays.luminance import luminance
from allsky360.imaging.fusion import fuse, fuse_pictures

DEVICE = array_api_strict.Device("device1")


def night(h: int = 240, w: int = 320, stars: int = 60) -> np.ndarray:
    """Linear sky about 1 with a gradient, a moonlit glow 300 times brighter, stars, noise."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:h, :w]
    light = 0.9 + 0.3 * rows / h
    r2 = (rows - 90) ** 2 + (columns - 200) ** 2
    light += 300.0 * np.exp(-0.5 * r2 / 12.0**2) + 15.0 / (1.0 + r2 / 30.0**2)
    for _ in range(stars):
        y, x = rng.integers(10, h - 10), rng.integers(10, w - 10)
        light += 10.0 ** rng.uniform(0, 1.7) * np.exp(
            -0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / 0.9**2
        )
    image = light[..., None] * np.array([0.9, 1.0, 1.15])
    return (image + 0.02 * rng.standard_normal(image.shape)).astype(np.float32)


def exposures() -> list[np.ndarray]:
    """Three pictures of a scene, as a camera would make them."""
    linear = night(stars=20)
    return [np.round(255 * np.clip(linear * g, 0, 1) ** (1 / 2.2)) / 255 for g in (0.5, 0.1, 0.01)]


@pytest.mark.parametrize("powers", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_equals_opencv(powers: tuple[float, float, float]) -> None:
    pictures = [p.astype(np.float32) for p in exposures()]
    tool = cv2.createMergeMertens(*powers)
    theirs = tool.process([np.round(p * 255).astype(np.uint8) for p in pictures])
    ours = fuse_pictures(pictures, contrast=powers[0], saturation=powers[1], exposedness=powers[2])
    assert np.sqrt(np.mean((ours - np.clip(theirs, 0, 1)) ** 2)) < 0.004
    assert ours.min() >= 0
    assert ours.max() <= 1


def test_one_picture_comes_back() -> None:
    picture = exposures()[1].astype(np.float32)
    np.testing.assert_allclose(fuse_pictures([picture]), picture, atol=1e-5)


def test_the_fast_look_is_the_full_method_but_for_the_stars() -> None:
    linear = night(stars=0)
    grey = np.repeat(luminance(linear)[..., None], 3, axis=2)
    fast = fuse(grey)[..., 0]
    light = ((0.2 + 0.055) / 1.055) ** 2.4
    root = np.sqrt(np.maximum(grey[..., :1], 0))
    gains = np.sqrt(light * 2.0 ** (1.0 - 2.0 * np.arange(4))).astype(np.float32)
    codes = [np.minimum(gain * root, np.float32(1)) for gain in gains]
    full = fuse_pictures(codes, contrast=0, saturation=0)[..., 0] ** 2
    encoded = np.where(full <= 0.0031308, 12.92 * full, 1.055 * full ** (1 / 2.4) - 0.055)
    assert np.sqrt(np.mean((fast - encoded) ** 2)) < 0.01
    assert np.abs(fast - encoded).max() < 0.08


def test_highlights_that_one_exposure_loses_are_there() -> None:
    linear = night()
    one, many = fuse(linear, exposures=1), fuse(linear)
    glow = (slice(75, 105), slice(185, 215))
    assert one[glow].min() > 0.99
    assert many[glow][..., 1].std() > 0.01
    assert many[5, 5, 1] > 0.1


def test_stars_get_no_dark_rings() -> None:
    linear = np.ones((96, 96, 3), np.float32)
    rows, columns = np.mgrid[:96, :96]
    for y, x, peak in ((31, 33, 40), (62, 20, 200), (60, 70, 15), (20, 75, 1000)):
        linear += (peak * np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2)))[..., None].astype(
            np.float32
        )
    picture = fuse(linear)
    assert picture.min() > 0.98 * np.median(picture)


def test_grey_stays_grey_and_mono_is_mono() -> None:
    grey = np.repeat(luminance(night())[..., None], 3, axis=2)
    picture = fuse(grey)
    assert np.ptp(picture, axis=2).max() < 2e-3
    mono = fuse(grey[..., :1])
    assert mono.shape == (*grey.shape[:2], 1)
    np.testing.assert_allclose(mono[..., 0], picture[..., 1], atol=2e-3)


def test_a_lamp_switched_on_leaves_the_rest_alone() -> None:
    """No normalisation over the frame: a far corner does not flicker with the brightest pixel."""
    dark = np.ones((512, 512, 3), np.float32)
    lit = dark.copy()
    lit[480:500, 480:500] = 500.0
    assert np.abs(fuse(lit)[:128, :128] - fuse(dark)[:128, :128]).max() < 0.005


def test_outside_the_mask_nothing_weighs_in() -> None:
    linear = night()
    mask = np.hypot(*(np.mgrid[:240, :320] - np.array([120, 160])[:, None, None])) < 110
    other = linear.copy()
    other[~mask] = 1e4
    before = linear.copy()
    a, b = fuse(linear, mask=mask), fuse(other, mask=mask)
    np.testing.assert_array_equal(linear, before)
    np.testing.assert_allclose(a[mask], b[mask], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_devices_agree(channels: int) -> None:
    linear = np.ascontiguousarray(night(100, 131)[..., :channels])
    away: Any = array_api_strict.asarray(linear, device=DEVICE)
    theirs = arrays.to_host(fuse(away, contrast=0.5))
    np.testing.assert_allclose(fuse(linear, contrast=0.5), theirs, atol=4e-3)
    pictures = [np.ascontiguousarray(p[:90, :80, :channels], np.float32) for p in exposures()]
    moved = [array_api_strict.asarray(p, device=DEVICE) for p in pictures]
    found = arrays.to_host(fuse_pictures(moved))
    np.testing.assert_allclose(fuse_pictures(pictures), found, atol=2e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
def test_cupy_agrees() -> None:
    linear = night()
    theirs = arrays.to_host(fuse(arrays.to_device(linear, "cupy")))
    np.testing.assert_allclose(fuse(linear), theirs, atol=4e-3)


@pytest.mark.parametrize(
    "keywords",
    [
        {"background": 0.0},
        {"brightest_ev": 9.0},
        {"step_ev": 0.0},
        {"exposures": 0},
        {"contrast": -1.0},
    ],
)
def test_bad_keywords_are_named(keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(keywords))):
        fuse(night(32, 32, 0), **keywords)


def test_what_cannot_be_fused_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to fuse"):
        fuse_pictures([])
    with pytest.raises(ValueError, match="different size"):
        fuse_pictures([np.zeros((8, 8, 3), np.float32), np.zeros((8, 9, 3), np.float32)])
