"""Clarity: no halo at any edge, more contrast in structure, no more noise, and the contract."""

from __future__ import annotations

import numpy as np
import pytest

from allsky360 import arrays
from allsky360.imaging.filters.clarity import clarity, measure
from tests.imaging.filters.local_helpers import away, circle, clouds, rgb, step


@pytest.mark.parametrize("amount", [0.5, 2.0])
@pytest.mark.parametrize("soft_px", [0.0, 6.0, 25.0, 60.0])
@pytest.mark.parametrize(
    ("low", "high"), [(0.2, 0.7), (0.2, 0.22), (0.1, 0.3), (0.0, 1.0), (0.5, 0.6)]
)
def test_no_halo_at_an_edge(low: float, high: float, soft_px: float, amount: float) -> None:
    for image in (step(low, high, soft_px=soft_px), step(high, low, soft_px=soft_px)):
        out = clarity(image, amount=amount)
        assert out.max() <= high + 0.02 * (high - low)
        assert out.min() >= low - 0.02 * (high - low)


def test_structure_gains_contrast() -> None:
    plane = clouds()
    for level in (0.2, 0.45):
        image = rgb(plane - 0.3 + level)
        out = clarity(image, amount=0.5)
        gain = out[..., 0].std() / image[..., 0].std()
        assert 1.08 < gain < 1.5
        assert abs(out.mean() - image.mean()) < 0.01
        assert np.corrcoef(out.ravel(), image.ravel())[0, 1] > 0.98


def test_highlights_and_black_are_left() -> None:
    plane = clouds(contrast=0.002)
    for level in (0.0, 0.99):
        image = rgb(np.clip(plane - 0.3 + level, 0, 1))
        assert np.abs(clarity(image, amount=1.0) - image).max() < 2e-3


def test_noise_is_not_raised() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(0.2, 0.02, (400, 600, 3)).astype(np.float32)
    out = clarity(image, amount=1.0)
    assert out.std() < 1.01 * image.std()
    # Nor where noise is seen as blotches.
    for size in (4, 8, 16):
        before, after = (arrays.block_mean(a[..., 1], size).std() for a in (image, out))
        assert after < 1.10 * before


def test_a_star_has_no_ring_and_its_flux_stays() -> None:
    y, x = np.mgrid[:200, :200]
    star = 0.6 * np.exp(-0.5 * ((y - 101.3) ** 2 + (x - 98.6) ** 2) / 1.3**2)
    image = rgb(0.2 + star)
    out = clarity(image, amount=1.0)
    assert np.abs(out - image).max() < 0.006


def test_identity_grey_and_mono() -> None:
    image = rgb(clouds())
    assert clarity(image, amount=0.0) is image
    out = clarity(image)
    np.testing.assert_allclose(out[..., 0], out[..., 2], atol=1e-6)
    np.testing.assert_allclose(clarity(image[..., :1]), out[..., :1], atol=1e-5)
    colour = image * np.array([0.5, 1.0, 0.8], np.float32)
    ratios = clarity(colour) / colour
    np.testing.assert_allclose(ratios[..., 0], ratios[..., 2], rtol=1e-3)


def test_outside_changes_nothing_inside() -> None:
    image = rgb(clouds())
    mask = circle(*image.shape[:2])
    results = []
    for outside in (0.0, 1.0, np.nan):
        given = image.copy()
        given[~mask] = outside
        before = given.copy()
        results.append(clarity(given, mask=mask))
        np.testing.assert_array_equal(given, before)
        np.testing.assert_array_equal(results[-1][~mask], given[~mask])
    for other in results[1:]:
        np.testing.assert_array_equal(results[0][mask], other[mask])
    # Nor does the mask's edge show.
    assert np.abs(results[0] - clarity(image))[mask].max() < 0.04


def test_the_state_is_what_is_measured() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.02, (300, 420, 3)).astype(np.float32)
    luma = 0.02 * float(np.linalg.norm(arrays.generic.LUMA))
    assert measure(0.2 + noise)["share_noise"][0] == pytest.approx(luma / 4, rel=0.15)
    # Structure of the sky is not taken for noise.
    image = rgb(clouds()) + noise
    state = measure(image)
    assert luma / 4 < state["share_noise"][0] < 2.2 * luma / 4
    np.testing.assert_array_equal(clarity(image, state=state), clarity(image))


def test_a_radius_out_of_range_is_named() -> None:
    with pytest.raises(ValueError, match="radius_px"):
        clarity(rgb(clouds()), radius_px=1.0)


@pytest.mark.parametrize("with_mask", [False, True])
def test_devices_agree(with_mask: bool) -> None:
    rng = np.random.default_rng(5)
    image = (rgb(clouds(131, 203)) + rng.normal(0, 0.01, (131, 203, 3))).astype(np.float32)
    mask = circle(131, 203) if with_mask else None
    ours = clarity(image, mask=mask)
    theirs = clarity(away(image), mask=None if mask is None else away(mask))
    np.testing.assert_allclose(arrays.to_host(theirs), ours, atol=2e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
def test_cupy_agrees() -> None:
    import cupy

    image = rgb(clouds())
    theirs = clarity(cupy.asarray(image))
    np.testing.assert_allclose(theirs.get(), clarity(image), atol=2e-4)
