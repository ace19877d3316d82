"""Wavelet sharpening: edges steeper without halo, stars narrower without ring, noise left alone."""

from __future__ import annotations

import numpy as np
import pytest

from allsky360 import arrays
from allsky360.imaging.filters.sharpen import measure, sharpen
from tests.imaging.filters.local_helpers import away, circle, clouds, rgb, step

ALL = (1.0, 1.0, 1.0, 1.0)


def star(fwhm_px: float, peak: float = 0.5) -> np.ndarray:
    y, x = np.mgrid[:120, :120]
    s = fwhm_px / 2.3548
    return rgb(0.2 + peak * np.exp(-0.5 * ((y - 60.3) ** 2 + (x - 58.8) ** 2) / s**2))


@pytest.mark.parametrize("gains", [(0.6, 0.4), (3.0, 3.0), ALL, (0.0, 0.0, 2.0, 2.0)])
@pytest.mark.parametrize("soft_px", [0.0, 2.0, 4.0, 16.0, 40.0])
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.7), (0.2, 0.22), (0.0, 1.0)])
def test_no_halo_at_an_edge(
    low: float, high: float, soft_px: float, gains: tuple[float, ...]
) -> None:
    for image in (step(low, high, soft_px=soft_px), step(high, low, soft_px=soft_px)):
        out = sharpen(image, gains=gains)
        assert out.max() <= high + 0.02 * (high - low)
        assert out.min() >= low - 0.02 * (high - low)


def test_a_soft_edge_gets_steeper() -> None:
    image = step(0.2, 0.7, soft_px=4.0)
    slopes = [np.abs(np.diff(a[80, :, 0])).max() for a in (image, sharpen(image))]
    assert slopes[1] > 1.10 * slopes[0]


def test_a_star_gets_narrower_and_has_no_ring() -> None:
    image = star(4.0)
    out = sharpen(image)
    assert out.min() > 0.2 - 0.01 * 0.5
    widths = []
    for a in (image, out):
        above = np.clip(a[40:80, 40:80, 0].astype(float) - 0.2, 0, None)
        widths.append(np.sqrt(above.sum() / above.max()))
    assert widths[1] < 0.95 * widths[0]


def test_each_gain_raises_its_scale() -> None:
    """Of four sines gain j raises most the one of the period that detail plane j holds.

    They lie on a slope, where the range of the neighbourhood limits nothing.
    """
    x = np.arange(512)
    periods = (3.0, 7.0, 14.0, 28.0)
    for scale in range(4):
        gains = [0.3 * (k == scale) for k in range(4)]
        raised = []
        for period in periods:
            wave = 0.1 + 0.0016 * x + 0.001 * np.sin(2 * np.pi * x / period)
            image = rgb(np.tile(wave, (128, 1)))
            out = sharpen(image, gains=gains, threshold=0.0)
            raised.append(np.abs(out - image)[32:-32, 64:-64].mean())
        assert int(np.argmax(raised)) == scale, raised


def test_noise_is_not_raised() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(0.2, 0.02, (400, 600, 3)).astype(np.float32)
    out = sharpen(image, gains=ALL)
    assert out.std() < 1.03 * image.std()
    raised = sharpen(image, gains=ALL, threshold=0.0)
    assert raised.std() > 1.2 * image.std()


def test_identity_grey_and_mono() -> None:
    image = rgb(clouds())
    assert sharpen(image, gains=(0.0, 0.0, 0.0, 0.0)) is image
    assert sharpen(image, gains=()) is image
    out = sharpen(image, gains=ALL)
    np.testing.assert_allclose(out[..., 0], out[..., 2], atol=1e-6)
    np.testing.assert_allclose(sharpen(image[..., :1], gains=ALL), out[..., :1], atol=1e-5)


@pytest.mark.parametrize("gains", [(1.0, 1.0), ALL])
def test_outside_changes_nothing_inside(gains: tuple[float, ...]) -> None:
    rng = np.random.default_rng(1)
    image = rgb(clouds() + 0.01 * rng.standard_normal((300, 420)))
    mask = circle(300, 420)
    results = []
    for outside in (0.0, 1.0, np.nan):
        given = image.copy()
        given[~mask] = outside
        before = given.copy()
        results.append(sharpen(given, gains=gains, mask=mask))
        np.testing.assert_array_equal(given, before)
        np.testing.assert_array_equal(results[-1][~mask], given[~mask])
    for other in results[1:]:
        np.testing.assert_array_equal(results[0][mask], other[mask])


def test_the_noise_of_each_scale_is_measured() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0.3, 0.01, (600, 600, 1)).astype(np.float32)
    expected = [0.891 * 0.01, 0.201 * 0.01, 0.201 * 0.005, 0.086 * 0.005]
    np.testing.assert_allclose(measure(noise)["share_noise"], expected, rtol=0.12)
    structured = noise + clouds(600, 600)[..., None].astype(np.float32) - 0.3
    found = measure(structured)["share_noise"]
    assert found[0] == pytest.approx(expected[0], rel=0.12)
    assert all(f < 2.3 * e for f, e in zip(found, expected, strict=True))


def test_bad_gains_are_named() -> None:
    for gains in ((1.0,) * 5, (-0.1,), (11.0,)):
        with pytest.raises(ValueError, match="gains"):
            sharpen(rgb(clouds()), gains=gains)


@pytest.mark.parametrize("gains", [(1.0, 1.0), ALL])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(131, 203), (200, 64), (9, 12)])
def test_devices_agree(shape: tuple[int, int], channels: int, gains: tuple[float, ...]) -> None:
    rng = np.random.default_rng(5)
    image = rng.uniform(0.1, 0.9, (*shape, channels)).astype(np.float32)
    mask = circle(*shape)
    state = {"share_noise": [0.02, 0.01, 0.005, 0.003]}
    keywords = {"gains": gains, "state": state}
    np.testing.assert_allclose(
        arrays.to_host(sharpen(away(image), **keywords)), sharpen(image, **keywords), atol=3e-5
    )
    ours = sharpen(image, mask=mask, **keywords)
    theirs = sharpen(away(image), mask=away(mask), **keywords)
    np.testing.assert_allclose(arrays.to_host(theirs), ours, atol=3e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not arrays.cuda_available(), reason="no CUDA device")
def test_cupy_agrees() -> None:
    import cupy

    image = rgb(clouds())
    theirs = sharpen(cupy.asarray(image), gains=ALL)
    np.testing.assert_allclose(theirs.get(), sharpen(image, gains=ALL), atol=1e-4)
