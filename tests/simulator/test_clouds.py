from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from allsky360.simulator.clouds import CloudField
from allsky360.simulator.scene import build_grid
from allsky360.sky.lens import fisheye

WHEN = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
GRID = build_grid(fisheye(600, 600), 4)
HIGH = (GRID.up > 0.35) & (GRID.solid_angle > 0)


def depth(field: CloudField, seconds: float = 0.0) -> np.ndarray:
    return field.optical_depth(GRID.vectors, WHEN + timedelta(seconds=seconds))


@pytest.mark.parametrize("cover", [0.15, 0.5, 0.85])
def test_mean_cover_is_what_was_asked(cover: float) -> None:
    fractions = [
        (depth(CloudField(seed=seed, cover=cover), 40_000.0 * step)[HIGH] > 0.3).mean()
        for seed in (1, 2, 3)
        for step in range(20)
    ]
    assert np.mean(fractions) == pytest.approx(cover, abs=0.11)


def test_none_and_all() -> None:
    assert depth(CloudField(cover=0.0)).max() == 0.0
    assert (depth(CloudField(cover=1.0))[HIGH] > 1.0).mean() > 0.95


def test_it_is_continuous_in_time() -> None:
    field = CloudField(seed=3, cover=0.5)
    now = np.exp(-depth(field))
    steps = [np.abs(np.exp(-depth(field, s)) - now)[HIGH] for s in (0.01, 1.0, 60.0, 1800.0)]
    assert steps[0].max() < 2e-3
    assert steps[1].mean() < 0.01
    assert steps[1].mean() < steps[2].mean() < steps[3].mean()
    assert steps[3].mean() > 0.1


def test_it_never_jumps_over_days() -> None:
    field = CloudField(seed=3, cover=0.5)
    for hours in (0.0, 6.0, 1234.5):
        a = np.exp(-depth(field, hours * 3600 - 0.01))
        b = np.exp(-depth(field, hours * 3600 + 0.01))
        assert np.abs(a - b).max() < 5e-3


def test_seed_and_time_alone_decide() -> None:
    assert np.array_equal(depth(CloudField(seed=9)), depth(CloudField(seed=9)))
    assert not np.array_equal(
        depth(CloudField(seed=9, cover=0.5)), depth(CloudField(seed=10, cover=0.5))
    )


def test_the_wind_carries_them() -> None:
    """What stands overhead now stood upwind a minute ago: the field moved by wind x time."""
    field = CloudField(seed=4, cover=0.5, evolution_s=1e9)
    north, east = field.wind_km_s
    assert 0.0039 < np.hypot(north, east) < 0.0121
    seconds = 60.0
    # Look at points near the zenith, then at the same points of the layer a minute later.
    plane = np.random.default_rng(1).uniform(-0.8, 0.8, (40, 40, 2))  # km at 4 km height

    def toward(points: np.ndarray) -> np.ndarray:
        v = np.concatenate([points, np.full((*points.shape[:2], 1), field.height_km)], axis=-1)
        return (v / np.linalg.norm(v, axis=-1, keepdims=True)).astype(np.float32)

    before = field.optical_depth(toward(plane), WHEN)
    after = field.optical_depth(
        toward(plane + np.array([north, east]) * seconds), WHEN + timedelta(seconds=seconds)
    )
    np.testing.assert_allclose(np.exp(-after), np.exp(-before), atol=0.02)
    assert before.std() > 0.01
