"""Medians, repair of outliers, the median transform: bodies against each other and a plain loop."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

from allsky360 import arrays
from allsky360.arrays import medians

DEVICE = array_api_strict.Device("device1")
SHAPES = [(70, 81), (41, 30), (3, 4), (2, 2), (1, 6)]


def away(array: Any) -> Any:
    return None if array is None else array_api_strict.asarray(array, device=DEVICE)


def picture(shape: tuple[int, int], channels: int) -> np.ndarray:
    rng = np.random.default_rng(11)
    image = rng.normal(1.0, 0.1, (*shape, channels)).astype(np.float32)
    spots = rng.random((*shape, channels)) > 0.99
    return np.where(spots, image + rng.uniform(-3, 9, image.shape), image).astype(np.float32)


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_medians_are_medians(shape: tuple[int, int], channels: int, size: int) -> None:
    image = picture(shape, channels)
    reach = size // 2
    wide = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(wide, (size, size), axis=(0, 1))
    expected = np.median(windows, axis=(-2, -1))
    ours = medians.median_window(image, size)
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(arrays.to_host(medians.median_window(away(image), size)), ours)
    plane = medians.median_window(image[..., 0], size)
    np.testing.assert_array_equal(plane, expected[..., 0])


@pytest.mark.parametrize("keep_stars", [True, False])
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_repair_bodies_agree(
    shape: tuple[int, int], channels: int, size: int, keep_stars: bool
) -> None:
    image = picture(shape, channels)
    noise = [0.004, 0.005, 0.006][:channels], [0.005] * channels
    ours = medians.repair_outliers(image, size, 6.0, *noise, keep_stars)
    theirs = medians.repair_outliers(away(image), size, 6.0, *noise, keep_stars)
    np.testing.assert_array_equal(ours, arrays.to_host(theirs))
    if shape[0] > 10:
        assert 0.002 < np.mean(ours != image) < 0.03


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_transform_bodies_agree(shape: tuple[int, int], channels: int) -> None:
    image = picture(shape, channels)
    for a, b in zip(
        medians.median_details(image, 3), medians.median_details(away(image), 3), strict=True
    ):
        np.testing.assert_allclose(a, arrays.to_host(b), atol=1e-6)
    keywords: dict[str, Any] = {
        "amounts": (0.9, 0.5, 0.7), "threshold": 2.5, "read_var": 0.005, "shot": 0.005,
        "shares": [[0.9] * channels, [0.4] * channels, [0.2] * channels],
    }  # fmt: skip
    ours = medians.median_change(image, **keywords)
    theirs = medians.median_change(away(image), **keywords)
    np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=5e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("guarded", [True, False])
def test_blend_bodies_agree(channels: int, masked: bool, guarded: bool) -> None:
    rng = np.random.default_rng(2)
    image, change = picture((31, 44), channels), picture((31, 44), channels)
    half = rng.random((16, 22)).astype(np.float32) if guarded else None
    mask = rng.random((31, 44)) > 0.3 if masked else None
    theirs = medians.blend(away(image), away(change), 0.7, away(half), away(mask))
    ours = medians.blend(image, change.copy(), 0.7, half, mask)
    np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=2e-6)
    if mask is not None:
        np.testing.assert_array_equal(ours[~mask], image[~mask])


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
@pytest.mark.parametrize("channels", [1, 3])
def test_cupy_agrees(channels: int) -> None:
    image = picture((70, 81), channels)
    noise = [0.005] * channels, [0.005] * channels
    moved = arrays.to_device(image, "cupy")
    for size in (3, 5):
        np.testing.assert_array_equal(
            medians.repair_outliers(image, size, 6.0, *noise, True),
            arrays.to_host(medians.repair_outliers(moved, size, 6.0, *noise, True)),
        )


def test_the_details_add_up() -> None:
    image = picture((40, 52), 3)
    w1, m1, w2, m2 = medians.median_details(image, 2)
    np.testing.assert_allclose(w1 + m1, image, atol=1e-6)
    np.testing.assert_allclose(w2 + m2, medians.cell_means(m1), atol=1e-6)
    nothing = medians.median_change(image, (0.0, 0.0), 2.5, 1.0, 0.0, [[1.0] * 3] * 2)
    np.testing.assert_array_equal(nothing, 0.0)


def test_wrong_size_is_named() -> None:
    with pytest.raises(ValueError, match="size must be 3 or 5"):
        medians.median_window(np.zeros((9, 9), np.float32), 4)
    with pytest.raises(ValueError, match="size must be 3 or 5"):
        medians.repair_outliers(np.zeros((9, 9, 1), np.float32), 7, 5.0, [1.0], [0.0], True)
