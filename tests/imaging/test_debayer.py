"""Demosaicing: exact where it can be, better than bilinear, no purple rims, unbiased noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allsky360.imaging.debayer import debayer
from benchmarks.debayer import REAL, compare, pictures

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


@pytest.mark.parametrize("name", ["synthetic", *REAL])
def test_within_one_db_of_menon_on_natural_pictures(
    name: str, real_data: Callable[[str], Path]
) -> None:
    if name in REAL:
        real_data(REAL[name][0])
    found = compare(pictures()[name][:300, :300])
    assert found["ours"] > found["menon"] - 1.0
    assert found["ours"] > found["bilinear"] + 3.0


def test_lamps_beside_what_they_saturate_stay_orange() -> None:
    rows, columns = np.mgrid[:60, :60]
    light = 0.02 + 3.0 * np.exp(-0.5 * ((rows - 30) ** 2 + (columns - 30) ** 2) / 4.0**2)
    rgb = (light[..., None] * [1.0, 0.45, 0.1]).astype(np.float32)
    out = debayer(np.minimum(mosaic_of(rgb, "RGGB"), 1.0), "RGGB", clip=0.95)
    rim = (light > 0.5) & (light < 0.9)
    assert np.median(out[rim][:, 0] / out[rim][:, 1]) == pytest.approx(1 / 0.45, rel=0.15)
    assert np.quantile(out[rim][:, 0] / out[rim][:, 1], 0.05) > 1.3


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


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_purple_rim_round_a_saturated_moon(pattern: str) -> None:
    """Grey light through uneven filters: beside the clipped disc nothing leaves the sky's hue."""
    rows, columns = np.mgrid[:90, :91]
    light = 0.05 + 20.0 * (np.hypot(rows - 44, columns - 45) < 14.5)
    light = cv2.GaussianBlur(light, (0, 0), 1.2)
    response = np.float32([0.55, 1.0, 0.65])
    mosaic = np.minimum(mosaic_of((light[..., None] * response).astype(np.float32), pattern), 1.0)
    gains = tuple(float(g) for g in 1.0 / response)
    out = debayer(mosaic, pattern, clip=0.95, balance=gains)  # type: ignore[arg-type]
    grey = np.minimum(out * np.float32(gains), 1.0)
    magenta = np.minimum(grey[..., 0], grey[..., 2]) - grey[..., 1]
    bilinear = debayer(mosaic, pattern, method="bilinear")  # type: ignore[arg-type]
    plain = np.minimum(bilinear * np.float32(gains), 1.0)
    worst = (np.minimum(plain[..., 0], plain[..., 2]) - plain[..., 1]).max()
    assert worst > 0.2
    assert magenta.max() <= 0.02
    # Five pixels off the rim the hue is the sky's.
    sky = np.hypot(rows - 44, columns - 45) > 24
    assert np.abs(grey[sky] - 0.05).max() < 1e-3


@pytest.mark.parametrize("offset", [(0, 1), (1, 0), (1, 1), (3, 2)])
def test_odd_roi_offsets(offset: tuple[int, int]) -> None:
    """A region that begins inside a Bayer cell comes out as it does in the whole frame."""
    rgb = scene() + np.random.default_rng(3).normal(0, 0.01, (128, 128, 3)).astype(np.float32)
    mosaic = mosaic_of(rgb, "RGGB")
    dy, dx = offset
    cell = np.array(list("RGGB")).reshape(2, 2)
    shifted = "".join(np.roll(cell, (-dy, -dx), (0, 1)).reshape(-1))
    keywords = {"noise": 0.01, "clip": 0.9, "balance": (1.5, 1.0, 1.3)}
    whole = debayer(mosaic, "RGGB", **keywords)  # type: ignore[arg-type]
    part = debayer(mosaic[dy:100, dx:90], shifted, **keywords)  # type: ignore[arg-type]
    np.testing.assert_allclose(part[6:-6, 6:-6], whole[dy + 6 : 94, dx + 6 : 84], atol=2e-6)


def test_borders_are_as_good_as_the_middle() -> None:
    rows, columns = np.mgrid[:64, :64]
    rgb = np.stack([1.0 + 0.01 * rows, 1.5 + 0.01 * columns, np.full((64, 64), 0.7)], axis=-1)
    out = debayer(mosaic_of(rgb.astype(np.float32), "GRBG"), "GRBG")
    # A mirrored slope folds: no border can be better than one step of a pixel off.
    assert np.abs(out - rgb).max() < 0.025


def stars(fwhm: float) -> np.ndarray:
    """Coloured stars on a dark sky, white where their colour says nothing."""
    rng = np.random.default_rng(8)
    rgb = np.full((160, 160, 3), 0.02)
    yy, xx = np.mgrid[-7:8, -7:8]
    for _ in range(90):
        y, x = rng.integers(8, 152, 2)
        dy, dx = rng.uniform(-0.5, 0.5, 2)
        star = np.exp(-0.5 * ((yy - dy) ** 2 + (xx - dx) ** 2) / (fwhm / 2.355) ** 2)
        colour = 10.0 ** rng.uniform(-1.5, 0) * np.array([rng.uniform(0.7, 1.3), 1.0, 1.0])
        rgb[y - 7 : y + 8, x - 7 : x + 8] += star[..., None] * colour
    return rgb


@pytest.mark.parametrize("fwhm", [1.6, 2.2, 3.0])
def test_balance_halves_the_error_on_stars(fwhm: float) -> None:
    truth, response = stars(fwhm), np.array([0.6, 1.0, 0.65])
    mosaic = mosaic_of((truth * response).astype(np.float32), "RGGB")
    error = {}
    for name, balance in (("raw", (1.0, 1.0, 1.0)), ("balanced", (1.6, 1.0, 1.5))):
        out = debayer(mosaic, "RGGB", balance=balance) / response
        error[name] = float(np.sqrt(np.mean((out - truth) ** 2)))
        assert out.min() > -0.05
    assert error["balanced"] < 0.75 * error["raw"]


def test_flux_of_stars_is_kept() -> None:
    """What aperture photometry sums must not depend on where in the Bayer cell a star falls."""
    truth, response = stars(2.2), np.array([0.6, 1.0, 0.65])
    mosaic = mosaic_of((truth * response).astype(np.float32), "RGGB")
    out = debayer(mosaic, "RGGB", balance=(1.6, 1.0, 1.5)) / response
    np.testing.assert_allclose(out.sum(axis=(0, 1)), truth.sum(axis=(0, 1)), rtol=0.01)


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
    for balance in ((0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, float("nan"))):
        with pytest.raises(ValueError, match="balance"):
            debayer(np.zeros((8, 8), np.float32), "RGGB", balance=balance)
