"""Block means and small planes laid back: against closed forms, and on a device without copies."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

from allsky360 import arrays
from allsky360.arrays import blocks
from allsky360.arrays.luminance import luminance, with_luminance

DEVICE = array_api_strict.Device("device1")
SHAPES = [(40, 56), (131, 77), (5, 3)]


def away(array: Any) -> Any:
    return array_api_strict.asarray(np.asarray(array), device=DEVICE)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_block_means_are_means_of_the_inside(
    rng: np.random.Generator, shape: tuple[int, int], channels: int
) -> None:
    image = rng.normal(1, 1, (*shape, channels)).astype(np.float32)
    mask = rng.random(shape) > 0.6
    mask[:5, :3] = False
    image[~mask] = np.nan
    means, share = blocks.masked_blocks(image, mask, 8)
    assert means.shape == (-(-shape[0] // 8), -(-shape[1] // 8), channels)
    for j in range(means.shape[0]):
        for i in range(means.shape[1]):
            cut = np.s_[j * 8 : j * 8 + 8, i * 8 : i * 8 + 8]
            inside = image[cut][mask[cut]]
            assert share[j, i] == pytest.approx(mask[cut].mean())
            expected = inside.mean(axis=0) if inside.size else np.zeros(channels)
            np.testing.assert_allclose(means[j, i], expected, atol=1e-5)
    theirs, other = blocks.masked_blocks(away(image), away(mask), 8)
    np.testing.assert_allclose(means, arrays.to_host(theirs), atol=1e-5)
    np.testing.assert_allclose(share, arrays.to_host(other), atol=1e-6)


def test_without_a_mask_everything_counts(rng: np.random.Generator) -> None:
    image = rng.normal(1, 1, (64, 96, 3)).astype(np.float32)
    means, share = blocks.masked_blocks(image, None, 4)
    np.testing.assert_allclose(means, arrays.block_mean(image, 4), atol=1e-5)
    assert share.min() == 1.0
    theirs, _ = blocks.masked_blocks(away(image), None, 4)
    np.testing.assert_allclose(means, arrays.to_host(theirs), atol=1e-5)


def test_a_plane_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="mask"):
        blocks.masked_blocks(np.zeros((8, 8, 1), np.float32), np.ones((8, 9), bool), 4)
    with pytest.raises(ValueError, match="block size"):
        blocks.masked_blocks(np.zeros((8, 8, 1), np.float32), None, 0)


def test_a_straight_line_is_laid_back_exactly() -> None:
    """Bilinear between block centres: exact for a plane, away from the edge blocks."""
    y, x = np.mgrid[:60, :90].astype(np.float32)
    plane = 0.3 * y - 0.1 * x
    for size in (3, 4, 8):
        small = blocks.masked_blocks(plane[..., None], None, size)[0][..., 0]
        full = blocks.lay_over(small, size, plane.shape)
        inner = np.s_[size : 60 - size - 4, size : 90 - size - 4]
        np.testing.assert_allclose(full[inner], plane[inner], atol=1e-4)


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 4, 7])
def test_scale_and_shift_bodies_agree(
    rng: np.random.Generator, shape: tuple[int, int], channels: int, size: int, with_mask: bool
) -> None:
    image = rng.normal(1, 1, (*shape, channels)).astype(np.float32)
    small = (-(-shape[0] // size), -(-shape[1] // size))
    gain = rng.uniform(0.5, 2, small).astype(np.float32)
    offset = rng.normal(0, 1, (*small, channels)).astype(np.float32)
    mask = rng.random(shape) > 0.5 if with_mask else None
    ours = blocks.scale_and_shift(image, gain, offset, size, mask)
    inside = np.ones(shape, bool) if mask is None else mask
    expected = image * blocks.lay_over(gain, size, shape)[..., None]
    expected = expected + blocks.lay_over(offset, size, shape)
    np.testing.assert_allclose(ours[inside], expected[inside], atol=2e-5)
    np.testing.assert_array_equal(ours[~inside], image[~inside])
    moved = None if mask is None else away(mask)
    theirs = blocks.scale_and_shift(away(image), away(gain), away(offset), size, moved)
    np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=2e-5)


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_shift_luminance_bodies_agree(
    rng: np.random.Generator, shape: tuple[int, int], channels: int, with_mask: bool
) -> None:
    image = rng.uniform(0, 1, (*shape, channels)).astype(np.float32)
    small = (-(-shape[0] // 4), -(-shape[1] // 4))
    delta = rng.normal(0, 0.1, small).astype(np.float32)
    delta[0] = 0.0
    mask = rng.random(shape) > 0.5 if with_mask else None
    ours = blocks.shift_luminance(image, delta, 4, mask)
    old = luminance(image)
    full = blocks.lay_over(delta, 4, shape)
    expected = np.clip(with_luminance(image, old, old + full), 0, 1)
    inside = np.ones(shape, bool) if mask is None else mask
    np.testing.assert_allclose(ours[inside], expected[inside], atol=2e-5)
    np.testing.assert_array_equal(ours[~inside], image[~inside])
    np.testing.assert_array_equal(ours[:2], image[:2])
    moved = None if mask is None else away(mask)
    theirs = blocks.shift_luminance(away(image), away(delta), 4, moved)
    np.testing.assert_allclose(ours, arrays.to_host(theirs), atol=2e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
def test_cupy_agrees(rng: np.random.Generator) -> None:
    import cupy

    image = rng.uniform(0, 1, (131, 77, 3)).astype(np.float32)
    mask = rng.random((131, 77)) > 0.3
    means, share = blocks.masked_blocks(image, mask, 4)
    theirs, other = blocks.masked_blocks(cupy.asarray(image), cupy.asarray(mask), 4)
    np.testing.assert_allclose(means, theirs.get(), atol=1e-5)
    np.testing.assert_allclose(share, other.get(), atol=1e-6)
    ours = blocks.scale_and_shift(image, share, means, 4, mask)
    got = blocks.scale_and_shift(cupy.asarray(image), other, theirs, 4, cupy.asarray(mask))
    np.testing.assert_allclose(ours, got.get(), atol=1e-5)
