"""The passes of noise reduction: NumPy bodies against the generic ones on a second device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import array_api_strict
import numpy as np
import pytest

from allsky360 import arrays
from allsky360.arrays import denoise
from allsky360.arrays.denoise import Colour, Field, Rule, Source
from allsky360.arrays.generic import LUMA
from allsky360.arrays.wavelets import smooths

DEVICE = array_api_strict.Device("device1")
SHAPES = [(150, 90), (41, 57), (7, 5), (2, 2)]


def away(array: Any) -> Any:
    return None if array is None else array_api_strict.asarray(array, device=DEVICE)


def on_gpu(array: Any) -> Any:
    return None if array is None else arrays.to_device(array, "cupy")


def scene(shape: tuple[int, int], channels: int, masked: bool) -> tuple[np.ndarray, Any]:
    rng = np.random.default_rng(5)
    h, w = shape
    image = rng.normal(1.0, 0.1, (h, w, channels)).astype(np.float32)
    image[h // 2, w // 2] += 20.0
    image[:, : w // 3] += 0.5
    mask = None
    if masked:
        rows, columns = np.mgrid[:h, :w]
        mask = np.hypot(rows - h / 2, columns - w / 2) < 0.45 * max(h, w)
    return image, mask


def steps(image: Any, mask: Any) -> list[Any]:
    """All passes, as the filter calls them."""
    fine = Rule(1e-4, 9e-3, 2.5, (0.89, 0.2))
    halves = denoise.split_colour(image, mask)
    source = Source(image, mask, halves.light)
    protected, level = denoise.scan(source, replace(fine, sigmas=5.0))
    protected = denoise.grow(protected, 2)
    coarse = Rule(1e-4, 9e-3, 2.5, (0.09, 0.04))
    fields = [Field(level, 1, coarse)]
    if halves.red is not None:
        fields += [Field(half, 0, coarse) for half in (halves.red, halves.blue)]
    changes = denoise.shrink(fields, level)
    colour = None
    if halves.red is not None:
        colour = Colour(0.7, 3.0, (0.9, 0.8), halves.red, halves.blue, *changes[1:])
    out = denoise.finish(source, protected, changes[0], fine, 0.8, colour)
    found = [halves.light, halves.red, halves.blue, halves.inside, protected, level, *changes, out]
    return [a for a in found if a is not None]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_bodies_agree(shape: tuple[int, int], channels: int, masked: bool) -> None:
    image, mask = scene(shape, channels, masked)
    before = image.copy()
    ours = steps(image, mask)
    np.testing.assert_array_equal(image, before)
    theirs = steps(away(image), away(mask))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, arrays.to_host(b), atol=2e-5)
    assert ours[-1].dtype == np.float32
    assert ours[-1].shape == image.shape


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
@pytest.mark.parametrize("channels", [1, 3])
def test_cupy_agrees(channels: int) -> None:
    image, mask = scene((150, 90), channels, True)
    for a, b in zip(steps(image, mask), steps(on_gpu(image), on_gpu(mask)), strict=True):
        np.testing.assert_allclose(a, arrays.to_host(b), atol=2e-5)


def test_bands_meet_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask = scene((400, 60), 3, True)
    monkeypatch.setattr("allsky360.arrays.bands.threads", lambda: 1)
    whole = steps(image, mask)
    monkeypatch.setattr("allsky360.arrays.bands.threads", lambda: 4)
    monkeypatch.setattr("allsky360.arrays.bands.SMALL", 16)
    for a, b in zip(whole, steps(image, mask), strict=True):
        np.testing.assert_array_equal(a, b)


def test_cells_are_means_inside_the_mask() -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(1.0, 0.2, (7, 9, 3)).astype(np.float32)
    mask = rng.random((7, 9)) > 0.4
    mask[:2, :2] = False
    halves = denoise.split_colour(image, mask)
    for i in range(4):
        for k in range(5):
            cut = np.s_[2 * i : 2 * i + 2, 2 * k : 2 * k + 2]
            inside = image[cut][mask[cut]]
            assert halves.inside[i, k] == bool(len(inside))
            expected = inside.mean(axis=0) if len(inside) else np.zeros(3)
            assert halves.red[i, k] == pytest.approx(expected[0] - expected[1], abs=1e-6)
            assert halves.blue[i, k] == pytest.approx(expected[2] - expected[1], abs=1e-6)
            assert halves.light[i, k] == pytest.approx(expected @ np.array(LUMA), abs=1e-6)


def test_shrinkage_keeps_what_is_sure_and_drops_what_is_not() -> None:
    plane = np.random.default_rng(2).normal(0.0, 1.0, (128, 128)).astype(np.float32)
    planes = smooths(plane, 2)
    level = np.zeros_like(plane)
    nothing = Rule(0.0, 0.0, 3.0, (0.89, 0.2))
    everything = Rule(1e8, 0.0, 3.0, (0.89, 0.2))
    np.testing.assert_allclose(denoise.shrink([Field(plane, 0, nothing)], level)[0], 0.0, atol=1e-6)
    np.testing.assert_allclose(
        denoise.shrink([Field(plane, 0, everything)], level)[0], planes[2] - plane, atol=1e-5
    )
    left = plane + denoise.shrink([Field(plane, 0, Rule(1.0, 0.0, 2.5, (0.89, 0.2)))], level)[0]
    assert np.std(left) < 0.25


def test_growth_makes_an_octagon() -> None:
    point = np.zeros((11, 11), np.float32)
    point[5, 5] = 1.0
    assert denoise.grow(point, 0) is point
    assert denoise.grow(point, 1).sum() == 5
    assert denoise.grow(point, 2).sum() == 21
    corner = np.zeros((4, 4), np.float32)
    corner[0, 0] = 1.0
    assert denoise.grow(corner, 1).sum() == 3


def test_doubling_is_exact_for_a_slope() -> None:
    rows, columns = np.mgrid[:10, :14].astype(np.float32)
    slope = 2.0 * rows - 3.0 * columns
    half = denoise.split_colour(np.stack([slope, 0 * slope, 0 * slope], axis=-1), None).red
    np.testing.assert_allclose(
        denoise.double(half, (10, 14))[1:-1, 1:-1], slope[1:-1, 1:-1], atol=1e-5
    )
