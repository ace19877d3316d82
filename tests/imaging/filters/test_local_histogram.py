"""Local histogram normalisation: like OpenCV's CLAHE, limited, steady, and the contract."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from allsky360 import arrays
from allsky360.arrays import histogram
from allsky360.imaging.filters.local_histogram import local_histogram, tile_curves_of
from tests.imaging.filters.local_helpers import away, circle, clouds, rgb


def uneven(h: int = 384, w: int = 512) -> np.ndarray:
    """Clouds over a strong gradient, with a little noise."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:h, :w]
    plane = clouds(h, w, level=0.15, contrast=0.02) + 0.4 * x / w + 0.1 * y / h
    return plane + rng.normal(0, 0.004, (h, w))


def details(plane: np.ndarray) -> np.ndarray:
    return plane - cv2.GaussianBlur(plane, (0, 0), 24)


def test_it_does_what_clahe_does() -> None:
    plane = uneven().astype(np.float32)
    ours = local_histogram(rgb(plane), amount=1.0, radius_px=64, limit=3.0)[..., 0]
    codes = np.round(plane * 65535).astype(np.uint16)
    clahe = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(4, 3)).apply(codes) / 65535.0
    inner = np.s_[32:-32, 32:-32]
    a, b = details(ours)[inner].ravel(), details(clahe.astype(np.float32))[inner].ravel()
    assert np.corrcoef(a, b)[0, 1] > 0.95
    before = details(plane)[inner].std()
    assert 1.5 < a.std() / before < 3.2
    assert 0.6 < a.std() / b.std() < 1.6


def test_levels_stay_and_contrast_is_limited() -> None:
    plane = uneven()
    image = rgb(plane)
    out = local_histogram(image, amount=1.0, limit=2.0)
    wide = [cv2.GaussianBlur(np.ascontiguousarray(a[..., 0]), (0, 0), 40) for a in (image, out)]
    assert np.abs(wide[1] - wide[0]).max() < 0.05
    rng = np.random.default_rng(1)
    noise = rng.normal(0.2, 0.02, (300, 400, 1)).astype(np.float32)
    for limit in (1.3, 2.0, 3.0):
        raised = local_histogram(noise, amount=1.0, limit=limit)
        assert 1.0 < raised.std() / noise.std() < 1.25 * limit


def test_curves_rise_from_black_to_white() -> None:
    rng = np.random.default_rng(2)
    histograms = rng.random((5, 6, 128)) ** 8
    histograms[0, 0] = 0.0
    histograms[0, 0, 3] = 1.0
    histograms[0, 1, :] = 0.0
    histograms[0, 1, 127] = 1.0
    histograms /= histograms.sum(axis=-1, keepdims=True)
    for limit in (1.0, 1.5, 4.0, 10.0):
        curves = tile_curves_of(histograms, limit)
        np.testing.assert_allclose(curves[..., 0], 0.0, atol=1e-9)
        np.testing.assert_allclose(curves[..., -1], 1.0, atol=1e-9)
        assert np.diff(curves, axis=-1).min() > 0 or limit > 1
        assert np.diff(curves, axis=-1).min() > -1e-12
    straight = tile_curves_of(histograms, 1.0)
    np.testing.assert_allclose(straight[3, 3], np.linspace(0, 1, 129), atol=2e-3)


def test_a_flash_elsewhere_changes_nothing_here() -> None:
    """No level of the whole frame enters."""
    plane = uneven(640, 800)
    flash = plane.copy()
    flash[:60, :60] = 1.0
    before, after = (local_histogram(rgb(p), radius_px=64) for p in (plane, flash))
    np.testing.assert_array_equal(before[400:, 400:], after[400:, 400:])


def test_identity_grey_and_mono() -> None:
    image = rgb(uneven())
    assert local_histogram(image, amount=0.0) is image
    assert local_histogram(image, limit=1.0) is image
    out = local_histogram(image)
    np.testing.assert_allclose(out[..., 0], out[..., 2], atol=1e-6)
    np.testing.assert_allclose(local_histogram(image[..., :1]), out[..., :1], atol=1e-4)


def test_outside_changes_nothing_inside() -> None:
    image = rgb(uneven())
    mask = circle(*image.shape[:2], share=0.3)
    results = []
    for outside in (0.0, 1.0, np.nan):
        given = image.copy()
        given[~mask] = outside
        results.append(local_histogram(given, radius_px=32, mask=mask))
        np.testing.assert_array_equal(results[-1][~mask], given[~mask])
        assert np.isfinite(results[-1][mask]).all()
    for other in results[1:]:
        np.testing.assert_array_equal(results[0][mask], other[mask])
    nowhere = np.zeros(mask.shape, bool)
    np.testing.assert_array_equal(local_histogram(image, mask=nowhere), image)


@pytest.mark.parametrize(
    "keywords", [{"radius_px": 8}, {"radius_px": 2000}, {"limit": 0.5}, {"limit": 11.0}]
)
def test_bad_keywords_are_named(keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(keywords))):
        local_histogram(rgb(uneven()), **keywords)


@pytest.mark.parametrize("with_mask", [False, True])
def test_counts_are_those_of_numpy(with_mask: bool) -> None:
    rng = np.random.default_rng(9)
    plane = rng.uniform(-0.1, 1.1, (131, 203)).astype(np.float32)
    mask = rng.random(plane.shape) > 0.4 if with_mask else None
    if mask is not None:
        plane[~mask] = np.nan
    ours = histogram.tile_histograms(plane, mask, 32, 16)
    for j in (0, 4):
        for i in (0, 3, 6):
            cut = np.s_[j * 32 : j * 32 + 32, i * 32 : i * 32 + 32]
            values = plane[cut] if mask is None else plane[cut][mask[cut]]
            expected, _ = np.histogram(np.clip(values, 0, 0.99999), 16, (0, 1))
            np.testing.assert_array_equal(ours[j, i], expected)
    for body in (histogram._count_generic, histogram._count_cuda):
        np.testing.assert_array_equal(body(plane, mask, 32, 16), ours)
    moved = None if mask is None else away(mask)
    theirs = histogram.tile_histograms(away(plane), moved, 32, 16)
    np.testing.assert_array_equal(arrays.to_host(theirs), ours)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(131, 203), (64, 210), (40, 30)])
def test_devices_agree(shape: tuple[int, int], channels: int) -> None:
    rng = np.random.default_rng(5)
    image = rng.uniform(0.1, 0.9, (*shape, channels)).astype(np.float32)
    for size in (16, 33):
        ours = local_histogram(image, radius_px=size, limit=3.0)
        theirs = local_histogram(away(image), radius_px=size, limit=3.0)
        np.testing.assert_allclose(arrays.to_host(theirs), ours, atol=3e-5)
        mask = circle(*shape)
        ours = local_histogram(image, radius_px=size, mask=mask)
        theirs = local_histogram(away(image), radius_px=size, mask=away(mask))
        np.testing.assert_allclose(arrays.to_host(theirs), ours, atol=3e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
def test_cupy_agrees() -> None:
    import cupy

    image = rgb(uneven())
    theirs = local_histogram(cupy.asarray(image))
    np.testing.assert_allclose(theirs.get(), local_histogram(image), atol=1e-4)
