from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allsky360.camera.circle import Circle
from allsky360.camera.statistics import find_circle, measure
from allsky360.model import BAYER_PATTERNS, Exposure

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RNG = np.random.default_rng(3)


def exposure(pixels: np.ndarray, pattern: str | None = "RGGB", **more: float) -> Exposure:
    return Exposure(pixels, pattern, NOW, 1.0, **more)  # type: ignore[arg-type]


def fisheye(
    h: int = 400, w: int = 600, cx: float = 310.0, cy: float = 190.0, r: float = 170.0
) -> np.ndarray:
    y, x = np.indices((h, w))
    inside = np.hypot(x - cx, y - cy) < r
    level = np.where(inside, 20_000.0, 500.0)
    return RNG.normal(level, 30.0).astype(np.uint16)


@pytest.mark.parametrize("pattern", BAYER_PATTERNS)
def test_level_is_the_median_of_green_above_black(pattern: str) -> None:
    levels = {"R": 9000, "G": 20000, "B": 5000}
    px = np.zeros((200, 200), np.uint16)
    for i, colour in enumerate(pattern):
        px[i // 2 :: 2, i % 2 :: 2] = levels[colour]
    s = measure(exposure(px, pattern), black_adu=535.0)
    assert s.level == pytest.approx((20000 - 535) / (65535 - 535), abs=2e-5)
    assert s.saturated_fraction == 0.0
    assert not s.saturated


def test_colour_and_mono_images() -> None:
    rgb = np.zeros((100, 120, 3), np.uint8)
    rgb[..., 1] = 51
    rgb[..., 0] = 255
    s = measure(exposure(rgb, None, saturation_adu=255.0))
    assert s.level == pytest.approx(0.2, abs=0.003)
    assert s.saturated_fraction == 1.0  # red is full everywhere
    mono = np.full((90, 90), 13107, np.uint16)
    assert measure(exposure(mono, None)).level == pytest.approx(0.2, abs=1e-4)


def test_full_frame_is_saturated() -> None:
    s = measure(exposure(np.full((64, 64), 65535, np.uint16)))
    assert s.saturated
    assert s.saturated_fraction == 1.0


def test_saturated_fraction_counts_any_colour() -> None:
    px = np.full((200, 200), 1000, np.uint16)
    px[:, :100] = 65535
    s = measure(exposure(px))
    assert s.saturated_fraction == pytest.approx(0.5, abs=0.03)


def test_noise_and_uncertainty_against_the_truth() -> None:
    trials = [
        measure(exposure(RNG.normal(10_000, 200, (300, 300)).astype(np.uint16))) for _ in range(60)
    ]
    assert np.mean([t.noise for t in trials]) * 65535 == pytest.approx(200, rel=0.05)
    scatter = np.std([t.level for t in trials])
    assert scatter == pytest.approx(float(np.mean([t.uncertainty for t in trials])), rel=0.35)


def test_sees_below_the_digit() -> None:
    # 14 bit in 16: steps of 4 ADU; a signal of 1 ADU under 6 ADU of noise must show.
    def level(adu: float) -> float:
        px = np.round(RNG.normal(480 + adu, 6.0, (800, 800)) / 4) * 4
        return measure(exposure(px.astype(np.uint16))).level * 65535

    assert level(1.0) - level(0.0) == pytest.approx(1.0, abs=0.25)


def test_dark_surroundings_bias_nothing() -> None:
    shot = exposure(fisheye())
    circle = find_circle(shot)
    assert circle is not None
    assert circle.x * 400 == pytest.approx(310, abs=4)
    assert circle.y * 400 == pytest.approx(190, abs=4)
    assert circle.radius * 400 == pytest.approx(170, abs=6)
    s = measure(shot, circle=circle)
    assert s.level * 65535 == pytest.approx(20_000, abs=10)
    assert s.outside_level is not None
    assert s.outside_level * 65535 == pytest.approx(500, abs=10)


def test_circle_cut_by_the_frame() -> None:
    # wider than the frame is high, as most all-sky cameras are
    circle = find_circle(exposure(fisheye(300, 600, 300.0, 150.0, 190.0)))
    assert circle is not None
    assert circle.radius * 300 == pytest.approx(190, abs=8)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((300, 300), 480, np.uint16),  # nothing
        RNG.normal(480, 10, (300, 300)).astype(np.uint16),  # noise
        RNG.normal(np.linspace(500, 30000, 300)[None, :], 10, (300, 300)).astype(np.uint16),
        np.full((8, 8), 480, np.uint16),
        np.full((3, 2), 480, np.uint16),
    ],
    ids=["flat", "noise", "slope", "tiny", "tinier"],
)
def test_no_circle_rather_than_a_guess(pixels: np.ndarray) -> None:
    assert find_circle(exposure(pixels)) is None
    measure(exposure(pixels))  # and the statistics do not mind


def test_circles_differ() -> None:
    a = Circle(0.5, 0.5, 0.4)
    assert not a.differs(Circle(0.505, 0.5, 0.405))
    assert a.differs(Circle(0.55, 0.5, 0.4))


def test_black_above_saturation_is_refused() -> None:
    with pytest.raises(ValueError, match="not below saturation"):
        measure(exposure(np.zeros((10, 10), np.uint16)), black_adu=70_000.0)


@settings(max_examples=60, deadline=None)
@given(
    h=st.integers(2, 70),
    w=st.integers(2, 70),
    kind=st.sampled_from(["mosaic", "mono", "rgb"]),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([np.uint8, np.uint16]),
)
def test_any_image_gives_finite_numbers(h: int, w: int, kind: str, seed: int, dtype: type) -> None:
    shape = (h, w, 3) if kind == "rgb" else (h, w)
    top = int(np.iinfo(dtype).max)
    px = np.random.default_rng(seed).integers(0, top, shape, dtype=dtype, endpoint=True)
    shot = exposure(px, "GBRG" if kind == "mosaic" else None, saturation_adu=float(top))
    s = measure(shot, circle=find_circle(shot))
    assert np.isfinite([s.level, s.uncertainty, s.noise]).all()
    assert 0 <= s.saturated_fraction <= 1


def test_real_fisheye_frame(real_data: Callable[[str], Path]) -> None:
    from astropy.io import fits

    path = real_data("dasc-pokerflat-2015/PKR_DASC_0558_20151007_082351.743.FITS")
    pixels = np.asarray(fits.getdata(path)).astype(np.uint16)
    circle = find_circle(exposure(pixels, None))
    assert circle is not None
    assert 0.4 < circle.radius < 0.53
    assert circle.x == pytest.approx(0.5, abs=0.06)
    s = measure(exposure(pixels, None), circle=circle)
    assert s.outside_level is not None
    assert s.level > s.outside_level
