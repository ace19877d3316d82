"""Streaks: found where they are, once; stars, defects, clouds and spots are none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import cv2
import numpy as np
import pytest

from allsky360.model import Exposure
from allsky360.sky.streaks import StreakSearch, find_streaks, flashes
from allsky360.sky.streaks_plane import StreakPlane, light_ratio, streak_plane, why_not_comparable

START = datetime(2026, 11, 14, 0, 0, tzinfo=UTC)
SIZE = (360, 420)
NOISE, SIGMA = 20.0, 1.1
Floats = np.ndarray


def field(drift: float = 0.0) -> Floats:
    """A sky with a slope and 60 stars that drift, ADU."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    out = 1000.0 + 100.0 * y / SIZE[0]
    stars = np.random.default_rng(1)
    for _ in range(60):
        cy, cx = stars.uniform(8, SIZE[0] - 8), stars.uniform(8, SIZE[1] - 8) + drift
        peak = 2000 * 10 ** stars.uniform(-1.3, 0.5)
        out += peak * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / SIGMA**2)
    hot = np.random.default_rng(2)
    out[hot.integers(0, SIZE[0], 80), hot.integers(0, SIZE[1], 80)] += 3000.0
    return out


def drawn(points: Floats, sigmas: float | Floats) -> Floats:
    """Light of a path through points ``(n, 2)`` x, y, as wide as a star; peak in noise sigmas."""
    dense = np.linspace(0, len(points) - 1, 6 * int(np.hypot(*np.diff(points, axis=0).T).sum()))
    x, y = (np.interp(dense, np.arange(len(points)), points[:, k]) for k in (0, 1))
    out = np.zeros(SIZE)
    strength = np.broadcast_to(sigmas, dense.shape)
    np.add.at(out, (np.rint(y).astype(int), np.rint(x).astype(int)), strength)
    out = cv2.GaussianBlur(out, (0, 0), np.sqrt(SIGMA**2 - 1 / 12))
    return out * NOISE * float(np.max(sigmas)) / out.max()


def plane(seed: int, *light: Floats, drift: float = 0.0, second: float = 0.0) -> StreakPlane:
    rng = np.random.default_rng(seed)
    image = field(drift) + sum(light) + rng.normal(0, NOISE, SIZE)
    when = START + timedelta(seconds=second)
    return streak_plane(Exposure(image.clip(0, 65535).astype(np.uint16), None, when, 10.0))


@cache
def earlier() -> StreakPlane:
    return plane(0)


def look(now: StreakPlane, before: StreakPlane | None = None) -> StreakSearch:
    return find_streaks(now, before or earlier(), fwhm_px=2.6, drift_px=0.5)


def test_a_meteor_is_found_where_it_was() -> None:
    ends = np.array([[250.0, 60.0], [320.0, 120.0]])
    (streak,) = look(plane(1, drawn(ends, 12.0), drift=0.3, second=12)).streaks
    found = np.array([[streak.x[0], streak.y[0]], [streak.x[-1], streak.y[-1]]])
    away = min(np.abs(found - ends).max(), np.abs(found[::-1] - ends).max())
    assert away < 4.0
    assert streak.length_px == pytest.approx(np.hypot(70, 60), rel=0.1)
    assert streak.peak_snr > 6
    assert streak.width_px == pytest.approx(2.6, rel=0.3)
    assert streak.flashes == 0


@pytest.mark.parametrize("sigmas", [300.0, 2500.0, 8000.0])
def test_a_fireball_that_saturates_is_one_streak(sigmas: float) -> None:
    ends = np.array([[120.0, 60.0], [250.0, 160.0]])
    light = drawn(ends, sigmas) + cv2.GaussianBlur(0.3 * drawn(ends, sigmas), (0, 0), 2.5)
    (streak,) = look(plane(20, light, second=12)).streaks
    assert streak.length_px == pytest.approx(np.hypot(130, 100), rel=0.12)
    assert np.hypot(streak.x.mean() - 185, streak.y.mean() - 110) < 5


def test_a_long_path_may_bend() -> None:
    x = np.linspace(40, 380, 60)
    points = np.stack([x, 300 - 0.0012 * (x - 210) ** 2], axis=1)  # sagitta 35 px
    streaks = look(plane(2, drawn(points, 15.0), second=12)).streaks
    (streak,) = streaks
    assert streak.length_px > 0.9 * 340
    off = np.hypot(points[:, None, 0] - streak.x, points[:, None, 1] - streak.y).min(axis=0)
    assert off.max() < 3.0


def test_what_was_there_before_is_not_found_again() -> None:
    light = drawn(np.array([[100.0, 100.0], [180.0, 140.0]]), 15.0)
    first = plane(3, light, second=0)
    assert look(plane(4, light, second=12), first).streaks == ()


@pytest.mark.parametrize("seed", range(5, 9))
def test_stars_that_drift_defects_and_noise_are_no_streaks(seed: int) -> None:
    found = look(plane(seed, drift=0.4, second=12))
    assert found.streaks == ()
    assert not found.disturbed


def test_a_star_from_behind_a_cloud_is_no_streak() -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    stars = sum(
        NOISE * s * np.exp(-0.5 * ((x - a) ** 2 + (y - b) ** 2) / SIGMA**2)
        for a, b, s in ((77.3, 88.1, 40), (200.0, 150.4, 120), (300.2, 60.2, 500))
    )
    assert look(plane(9, stars, second=12)).streaks == ()


def test_the_edge_of_a_cloud_is_no_streak() -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    for width in (2.5, 4.0, 8.0):
        band = 15 * NOISE * np.exp(-0.5 * ((0.5 * x - y + 100) / 1.118 / width) ** 2)
        band *= (x > 60) & (x < 250)
        assert look(plane(10, band, second=12)).streaks == ()


def test_a_frame_full_of_lines_is_disturbed() -> None:
    rng = np.random.default_rng(11)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    edges = np.zeros(SIZE)
    for _ in range(25):
        a, b = rng.uniform(20, 400), rng.uniform(20, 340)
        away = (x - a) * 0.6 + (y - b) * 0.8
        along = np.abs((x - a) * 0.8 - (y - b) * 0.6)
        edges += 8 * NOISE * np.exp(-0.5 * (away / 3.2) ** 2) * (along < 18)
    streak = drawn(np.array([[250.0, 60.0], [320.0, 120.0]]), 9.0)
    found = look(plane(12, edges, streak, second=12))
    assert found.disturbed
    assert found.streaks == ()


def test_flashes_are_counted_where_they_are_regular() -> None:
    t = np.arange(120.0)
    steady = np.full(120, 6.0)
    regular = steady + 20 * (np.abs((t % 20) - 10) < 1)
    assert flashes(regular, 2.0) == 6
    assert flashes(steady, 2.0) == 0
    odd = steady.copy()
    odd[[10, 14, 70, 100]] += 20
    assert flashes(odd, 2.0) == 0


def test_every_sensor_is_reduced_to_the_places_of_its_pixels() -> None:
    rng = np.random.default_rng(13)
    for shape, pattern in (
        ((360, 420), "RGGB"), ((360, 420), None), ((360, 420, 3), None), ((2000, 2400), "GRBG"),
        ((2001, 2403), None),
    ):  # fmt: skip
        image = rng.normal(1000.0, 5.0, shape)
        y, x = shape[0] // 2 + 1.0, 97.0
        rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
        spot = 2000 * np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / 3.0**2)
        image = image + (spot[..., None] if len(shape) == 3 else spot)
        out = streak_plane(Exposure(image.astype(np.uint16), pattern, START, 10.0))  # type: ignore[arg-type]
        assert out.frame_shape == shape[:2]
        light = np.where(out.flat > 200, out.flat, 0.0)
        j, i = np.mgrid[: light.shape[0], : light.shape[1]]
        assert (light * i).sum() / light.sum() * out.step + out.shift == pytest.approx(x, abs=0.2)
        assert (light * j).sum() / light.sum() * out.step + out.shift == pytest.approx(y, abs=0.2)
    with pytest.raises(ValueError, match="40 x 50"):
        streak_plane(Exposure(np.zeros((50, 40), np.uint16), None, START, 1.0))


def test_what_cannot_be_compared_says_why() -> None:
    now = plane(1, second=12)
    assert why_not_comparable(now, earlier(), 180.0) == ""
    assert "ended 2 s" in why_not_comparable(now, earlier(), 1.0)
    assert "not earlier" in why_not_comparable(earlier(), now, 180.0)
    assert "size" in why_not_comparable(replace(now, frame_shape=(1, 2)), earlier(), 180.0)
    assert "binning" in why_not_comparable(replace(now, binning=2), earlier(), 180.0)
    assert "not known" in why_not_comparable(replace(now, exposure_s=0.0), earlier(), 180.0)
    assert "gain" in why_not_comparable(replace(now, gain=3.0), earlier(), 180.0)
    other = replace(now, gain=3.0, egain=0.5, exposure_s=20.0)
    assert light_ratio(other, replace(earlier(), egain=1.0)) == pytest.approx(4.0)
