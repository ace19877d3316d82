"""Streaks: found where they are, once, and told apart by what the next frame shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from allsky360.sky.streaks import StreakMemory, StreakResult, find_streaks

START = datetime(2026, 11, 14, 0, 0, tzinfo=UTC)
SIZE = (360, 420)
NOISE = 0.01
Ends = tuple[float, float, float, float]


def plane(seed: int, lines: tuple[tuple[Ends, float], ...] = (), drift: float = 0.0) -> np.ndarray:
    """A sky with 60 stars that drift, noise, and lines (ends, peak in sigmas)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    out = 0.1 + 0.02 * y / SIZE[0] + rng.normal(0, NOISE, SIZE)
    stars = np.random.default_rng(1)
    for _ in range(60):
        cy, cx = stars.uniform(8, SIZE[0] - 8), stars.uniform(8, SIZE[1] - 8) + drift
        peak = 10 ** stars.uniform(-1.3, 0.5)
        r0, c0 = int(cy), int(cx)
        part = (slice(max(r0 - 7, 0), r0 + 8), slice(max(c0 - 7, 0), c0 + 8))
        out[part] += peak * np.exp(-0.5 * ((y[part] - cy) ** 2 + (x[part] - cx) ** 2) / 1.1**2)
    for (x1, y1, x2, y2), sigmas in lines:
        along = np.array([x2 - x1, y2 - y1])
        length = float(np.hypot(*along))
        u = along / length
        t = np.clip((x - x1) * u[0] + (y - y1) * u[1], 0, length)
        away = np.hypot(x - x1 - t * u[0], y - y1 - t * u[1])
        out += sigmas * NOISE * np.exp(-0.5 * (away / 1.1) ** 2)
    return out.astype(np.float32)


def look(image: np.ndarray, index: int, memory: StreakMemory | None) -> StreakResult:
    return find_streaks(image, START + timedelta(seconds=12 * index), 10.0, memory)


def test_a_meteor_is_found_where_it_was_and_only_once() -> None:
    first = look(plane(0), 0, None)
    assert first.streaks == ()
    ends = (250.0, 60.0, 320.0, 120.0)
    second = look(plane(1, ((ends, 12.0),), drift=0.3), 1, first.memory)
    (streak,) = second.streaks
    found = np.array([[streak.x1, streak.y1], [streak.x2, streak.y2]])
    truth = np.array([ends[:2], ends[2:]])
    away = min(np.abs(found - truth).max(), np.abs(found[::-1] - truth).max())
    assert away < 4.0
    assert streak.length_px == pytest.approx(np.hypot(70, 60), rel=0.1)
    assert streak.peak_snr > 6
    third = look(plane(2, drift=0.6), 2, second.memory)
    assert third.streaks == ()
    (track,) = third.finished
    assert track.kind == "meteor"
    assert track.duration_s == 10.0


def test_what_goes_on_in_the_next_frame_is_no_meteor() -> None:
    memory = look(plane(0), 0, None).memory
    pieces = [(60.0 + 60 * k, 100.0, 110.0 + 60 * k, 100.0) for k in range(4)]
    for k, ends in enumerate(pieces):
        result = look(plane(k + 1, ((ends, 12.0),), drift=0.3 * k), k + 1, memory)
        memory = result.memory
    last = look(plane(9, drift=1.5), 5, memory)
    kinds = {t.kind for t in last.finished if len(t.streaks) >= 3}
    assert kinds
    assert "meteor" not in kinds


def test_stars_that_drift_and_noise_are_no_streaks() -> None:
    memory, count = look(plane(0), 0, None).memory, 0
    for k in range(1, 7):
        result = look(plane(k, drift=0.4 * k), k, memory)
        memory, count = result.memory, count + len(result.streaks)
    assert count == 0


def test_a_pause_or_another_size_begins_anew() -> None:
    memory = look(plane(0), 0, None).memory
    ends = (120.0, 90.0, 190.0, 150.0)
    late = look(plane(1, ((ends, 12.0),)), 60, memory)
    assert late.streaks == ()
    other = look(plane(1, ((ends, 12.0),))[:300], 1, memory)
    assert other.streaks == ()
