"""Demosaicing: exact where it can be, better than bilinear, no purple rims, unbiased noise."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allsky360.imaging.debayer import debayer

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


def mosaic_of(rgb: np.ndarray, pattern: str) -> np.ndarray:
    """Sample a colour image the way a Bayer sensor does."""
    out = np.empty(rgb.shape[:2], np.float32)
    for k, colour in enumerate(pattern):
        y, x = divmod(k, 2)
        out[y::2, x::2] = rgb[y::2, x::2, "RGB".index(colour)]
    return out


def scene(seed: int = 1, size: int = 128) -> np.ndarray:
    """Smooth colour with coloured blobs and edges, linear."""
    rng = np.random.default_rng(seed)
    rgb = cv2.GaussianBlur(rng.random((size, size)).astype(np.float32), (0, 0), 3)
    rgb = np.repeat(rgb[..., None], 3, axis=2) * np.float32([0.9, 1.0, 0.7])
    rgb[:, size // 2 :] *= 2.0
    rgb[size // 3 : size // 2] *= 0.5
    return rgb


@pytest.mark.parametrize("method", ["edge-aware", "bilinear"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("size", [(12, 16), (13, 17), (4, 4)])
def test_flat_colour_comes_back_exactly(pattern: str, method: str, size: tuple[int, int]) -> None:
    rgb = np.broadcast_to(np.float32([0.3, 0.6, 0.1]), (*size, 3))
    out = debayer(mosaic_of(rgb, pattern), pattern, method=method)  # type: ignore[arg-type]
    np.testing.assert_allclose(out, rgb, atol=1e-6)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_samples_are_kept(pattern: str) -> None:
    rgb = scene()
    mosaic = mosaic_of(rgb, pattern)
    out = debayer(mosaic, pattern)  # type: ignore[arg-type]
    np.testing.assert_array_equal(mosaic_of(out, pattern), mosaic)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_edge_aware_beats_bilinear(pattern: str) -> None:
    rgb = scene()
    error = {}
    for method in ("edge-aware", "bilinear"):
        out = debayer(mosaic_of(rgb, pattern), pattern, method=method)  # type: ignore[arg-type]
        error[method] = float(np.mean((out - rgb)[4:-4, 4:-4] ** 2))
    assert error["edge-aware"] < 0.4 * error["bilinear"]


def test_bilinear_agrees_with_opencv_inside() -> None:
    mosaic = (mosaic_of(scene(), "RGGB") * 10_000).astype(np.uint16)
    ours = debayer(mosaic.astype(np.float32), "RGGB", method="bilinear")
    theirs = cv2.cvtColor(mosaic, cv2.COLOR_BayerRGGB2RGB)
    np.testing.assert_allclose(ours[2:-2, 2:-2], theirs[2:-2, 2:-2], atol=1.0)


def test_noise_stays_unbiased() -> None:
    """Black sky with noise: no channel may rise above zero on average."""
    rng = np.random.default_rng(2)
    out = debayer(rng.normal(0, 1, (400, 400)).astype(np.float32), "RGGB", noise=1.0)
    np.testing.assert_allclose(out.mean(axis=(0, 1)), 0.0, atol=0.01)
    assert out.min() < -2


def test_no_false_colour_beside_a_saturated_disc() -> None:
    """A disc whose green is clipped must not throw red or blue rims onto the sky."""
    rows, columns = np.mgrid[:80, :80]
    light = 0.05 + 30.0 * np.exp(-0.5 * ((rows - 40) ** 2 + (columns - 41) ** 2) / 6.0**2)
    rgb = (light[..., None] * [0.55, 1.0, 0.65]).astype(np.float32)
    out = debayer(np.minimum(mosaic_of(rgb, "RGGB"), 1.0), "RGGB", clip=0.95)
    truth = np.minimum(rgb, 1.0)
    assert out.max() <= 1.0 + 1e-6
    assert out.min() >= 0.0
    for colour in (0, 2):
        ratio = out[..., colour] / np.maximum(out[..., 1], 1e-6)
        beyond = ratio - np.maximum(truth[..., colour] / truth[..., 1], 1.0)
        assert beyond.max() < 0.35


@settings(max_examples=25, deadline=None)
@given(
    st.integers(4, 9),
    st.integers(4, 9),
    st.sampled_from(PATTERNS),
    st.sampled_from(["edge-aware", "bilinear"]),
    st.integers(0, 2**31),
)
def test_any_small_mosaic_gives_finite_colour(
    h: int, w: int, pattern: str, method: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    mosaic = rng.choice(np.float32([-5, 0, 1, 1e4, 65535]), (h, w))
    out = debayer(mosaic, pattern, method=method, clip=6e4)  # type: ignore[arg-type]
    assert out.shape == (h, w, 3)
    assert np.isfinite(out).all()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="from 4x4"):
        debayer(np.zeros((8, 8, 3), np.float32), "RGGB")
    with pytest.raises(ValueError, match="from 4x4"):
        debayer(np.zeros((2, 8), np.float32), "RGGB")
