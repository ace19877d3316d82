"""The median filters: hot pixels and blotches go, stars stay, and the contract."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import array_api_strict
import numpy as np
import pytest

from allsky360 import arrays
from allsky360.arrays.luminance import luminance
from allsky360.imaging.filters.median import channel_noise, median
from allsky360.imaging.filters.multiscale_median import (
    measure_noise_of_scales,
    multiscale_median,
)
from allsky360.imaging.noise import NoiseModel

DEVICE = array_api_strict.Device("device1")
SIGMA = 0.06


def away(array: Any) -> Any:
    return array_api_strict.asarray(array, device=DEVICE)


def circle(h: int, w: int) -> np.ndarray:
    rows, columns = np.mgrid[:h, :w]
    return np.hypot(rows - h / 2, columns - w / 2) < 0.46 * min(h, w)


@lru_cache
def sky(channels: int = 3, fwhm: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sky with stars on a grid and hot pixels between them: image, star places, defects."""
    rng = np.random.default_rng(3)
    h, w, s = 400, 440, fwhm / 2.3548
    image = np.ones((h, w, channels))
    spots = []
    rows, columns = np.mgrid[-12:13, -12:13]
    tint = np.array([1.0, 1.0, 1.0] if channels == 3 else [1.0])
    for k, y in enumerate(range(20, h - 20, 24)):
        for x in range(20, w - 20, 24):
            dy, dx = rng.uniform(-0.5, 0.5, 2)
            if channels == 3:
                tint = np.array([(1.5, 1.0, 0.5), (0.8, 1.0, 1.4)][k % 2])
            peak = 10.0 ** rng.uniform(0.0, 2.5)
            star = peak * np.exp(-0.5 * ((rows - dy) ** 2 + (columns - dx) ** 2) / s**2)
            image[y - 12 : y + 13, x - 12 : x + 13] += star[..., None] * tint
            spots.append((y, x))
    image += rng.standard_normal(image.shape) * SIGMA * np.sqrt(image)
    defects = np.zeros(image.shape, bool)
    for y in range(32, h - 20, 24):
        for x in range(32, w - 20, 24):
            c = rng.integers(channels)
            image[y, x, c] += rng.choice([-0.9, 1.0, 4.0, 30.0])
            defects[y, x, c] = True
    return image.astype(np.float32), np.array(spots), defects


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fwhm", [1.5, 2.0, 3.0])
def test_defects_go_and_stars_stay(fwhm: float, channels: int, size: Any) -> None:
    image, spots, defects = sky(channels, fwhm)
    out = median(image, size=size, noise=NoiseModel(0.0, SIGMA**2))
    assert np.mean(np.abs(out[defects] - 1.0) < 5 * SIGMA) > 0.97
    good = ~defects
    assert np.mean(out[good] != image[good]) < 2e-4
    touched = sum(bool(np.any(out[y, x] != image[y, x])) for y, x in spots)
    assert touched <= 0.02 * len(spots)


def test_a_debayered_hot_pixel_needs_the_larger_window() -> None:
    rng = np.random.default_rng(8)
    mosaic = (1.0 + SIGMA * rng.standard_normal((200, 200))).astype(np.float32)
    hot = [(y, x) for y in range(20, 180, 20) for x in range(20, 180, 20)]
    for y, x in hot:
        mosaic[y, x] += 3.0
    image = arrays.demosaic(mosaic, "RGGB", method="bilinear")
    left = {
        size: np.mean([median(image, size=size)[y, x, 0] for y, x in hot]) - 1.0 for size in (3, 5)
    }
    assert image[20, 20, 0] > 3.0
    assert abs(left[5]) < 0.1
    assert left[3] > 1.0


def test_the_plain_median_takes_everything() -> None:
    image, _, _ = sky()
    out = median(image, sigmas=0.0)
    np.testing.assert_array_equal(out, arrays.median3(image))


def test_luminance_only_keeps_colours() -> None:
    image, _, _ = sky()
    image = np.abs(image)
    image[100, 100] = (4.0, 5.0, 3.0)
    out = median(image, channels="luminance", keep_stars=False)
    assert luminance(out)[100, 100] < 1.3
    np.testing.assert_allclose(out[100, 100] / out[100, 100, 1], (0.8, 1.0, 0.6), rtol=1e-3)


def test_each_channel_has_its_own_noise() -> None:
    rng = np.random.default_rng(4)
    scale = np.array([0.1, 0.05, 0.2])
    image = (1.0 + rng.standard_normal((300, 300, 3)) * scale).astype(np.float32)
    read_var, shot = channel_noise(image, NoiseModel(0.001, 0.0), None)
    np.testing.assert_allclose(np.sqrt(read_var), scale, rtol=0.05)
    assert shot == [0.0, 0.0, 0.0]
    read_var, shot = channel_noise(image, None, circle(300, 300))
    np.testing.assert_allclose(np.sqrt(np.add(read_var, shot)), scale, rtol=0.05)


@pytest.mark.parametrize("channels", [1, 3])
def test_multiscale_smooths_the_sky_and_keeps_stars(channels: int) -> None:
    image, spots, defects = sky(channels)
    out = multiscale_median(image)
    assert np.mean(np.abs(out[defects] - 1.0) < 5 * SIGMA) > 0.95
    empty = np.ones(image.shape[:2], bool)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    for y, x in spots:
        empty &= np.hypot(rows - y, columns - x) > 9
    for y, x, _ in np.argwhere(defects):
        empty &= np.hypot(rows - y, columns - x) > 3
    before, after = luminance(image), luminance(out)
    assert after[empty].std() < 0.65 * before[empty].std()
    assert abs(after[empty].mean() - before[empty].mean()) < 2e-3
    for y, x in spots:
        cut = np.s_[y - 3 : y + 4, x - 3 : x + 4]
        flux = float((before[cut] - 1.0).sum())
        if flux > 20 * SIGMA * np.sqrt(49 + flux):
            assert abs(float((after[cut] - before[cut]).sum())) < 0.01 * flux


def test_multiscale_removes_blotches() -> None:
    rng = np.random.default_rng(6)
    coarse = rng.standard_normal((75, 75, 3)).repeat(4, axis=0).repeat(4, axis=1) * 0.02
    image = (1.0 + coarse + rng.standard_normal((300, 300, 3)) * 0.02).astype(np.float32)
    blocks = [
        arrays.block_mean(multiscale_median(image, amounts=a), 4).std()
        for a in ((0.7,), (0.7, 0.7, 0.7, 0.7))
    ]
    assert blocks[1] < 0.8 * blocks[0]


def test_amount_0_is_identity() -> None:
    image, _, _ = sky()
    assert median(image, amount=0.0) is image
    assert multiscale_median(image, amounts=(0.0, 0.0), hot_sigmas=0.0) is image
    half = median(image, amount=0.5)
    np.testing.assert_allclose(half, 0.5 * (image + median(image)), atol=1e-4)
    only_hot = multiscale_median(image, amounts=(0.0,))
    np.testing.assert_array_equal(only_hot, median(image))


@pytest.mark.parametrize("run", [median, multiscale_median])
def test_grey_stays_grey_and_flat_stays_flat(run: Any) -> None:
    image, _, _ = sky(1)
    grey = np.repeat(image, 3, axis=2)
    out = run(grey)
    np.testing.assert_allclose(out[..., 0], out[..., 1], atol=1e-6)
    np.testing.assert_allclose(out[..., 2], out[..., 1], atol=1e-6)
    flat = np.broadcast_to(np.array([0.3, 1.0, 2.0], np.float32), (150, 170, 3))
    np.testing.assert_allclose(run(flat), flat, rtol=1e-6)


@pytest.mark.parametrize("run", [median, multiscale_median])
def test_what_lies_outside_the_mask_changes_nothing_inside(run: Any) -> None:
    image, _, _ = sky()
    mask = circle(*image.shape[:2])
    reference = run(image, mask=mask)
    assert np.isfinite(reference).all()
    np.testing.assert_array_equal(reference[~mask], image[~mask])
    for value in (0.0, 1e4, np.nan):
        other = np.where(mask[..., None], image, np.float32(value))
        np.testing.assert_array_equal(run(other, mask=mask)[mask], reference[mask])


@pytest.mark.parametrize("run", [median, multiscale_median])
@pytest.mark.parametrize("channels", [1, 3])
def test_devices_agree(run: Any, channels: int) -> None:
    image = sky(channels)[0][:170, :190]
    before, mask = image.copy(), circle(170, 190)
    ours = run(image, mask=mask)
    np.testing.assert_array_equal(image, before)
    theirs = arrays.to_host(run(away(image), mask=away(mask)))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
@pytest.mark.parametrize("run", [median, multiscale_median])
def test_cupy_agrees(run: Any) -> None:
    image = sky()[0]
    mask = circle(*image.shape[:2])
    theirs = run(arrays.to_device(image, "cupy"), mask=arrays.to_device(mask, "cupy"))
    np.testing.assert_allclose(run(image, mask=mask), arrays.to_host(theirs), atol=1e-4)


def test_a_state_is_all_that_run_needs() -> None:
    image, _, _ = sky()
    state = measure_noise_of_scales(image)
    np.testing.assert_array_equal(multiscale_median(image), multiscale_median(image, state=state))


@pytest.mark.parametrize("run", [median, multiscale_median])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 40), (33, 31)])
def test_small_images(run: Any, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).normal(1, 0.1, (*shape, 3)).astype(np.float32)
    for mask in (None, np.zeros(shape, bool), circle(*shape)):
        out = run(image, mask=mask)
        assert out.shape == image.shape
        assert np.isfinite(out).all()


@pytest.mark.parametrize(
    ("run", "keywords"),
    [
        (median, {"amount": 1.5}),
        (median, {"size": 4}),
        (median, {"sigmas": -1.0}),
        (median, {"channels": "red"}),
        (multiscale_median, {"amounts": ()}),
        (multiscale_median, {"amounts": (0.5, 1.5)}),
        (multiscale_median, {"threshold": 0.0}),
        (multiscale_median, {"hot_sigmas": -1.0}),
        (multiscale_median, {"protect": 0.0}),
        (multiscale_median, {"protect_px": 40}),
    ],
)
def test_wrong_keywords_are_named(run: Any, keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(keywords))):
        run(np.ones((40, 40, 3), np.float32), **keywords)
