from __future__ import annotations

import numpy as np
import pytest

from allsky360.simulator.scene import build_grid, build_scene, landscape, vignetting
from allsky360.sky.lens import fisheye


def test_flat_horizon_splits_the_field_at_altitude_zero() -> None:
    lens = fisheye(301, 301, fill=0.9)
    scene = build_scene(lens, landscape(1, 0.0))
    altitude, _ = lens.unproject(*lens.pixel_grid())
    assert np.all(scene.sky[np.nan_to_num(altitude, nan=-9) > 1.0] == 1.0)
    assert np.all(scene.sky[np.nan_to_num(altitude, nan=-9) < -1.0] == 0.0)
    assert scene.throughput[0, 0] == 0.0
    assert scene.throughput[150, 150] == pytest.approx(1.0 / lens.focal_px**2, rel=1e-3)


def test_landscape_is_reproducible_and_as_high_as_asked() -> None:
    profile = landscape(4, 6.0)
    assert np.array_equal(profile, landscape(4, 6.0))
    assert not np.array_equal(profile, landscape(5, 6.0))
    assert profile.mean() == pytest.approx(6.0, abs=1.5)
    assert profile.min() >= 0
    scene = build_scene(fisheye(101, 101), profile)
    assert scene.horizon_deg(np.array([0.0, 360.0, -0.0])) == pytest.approx(profile[0])


def test_grid_points_are_block_centres_with_the_zenith_named() -> None:
    lens = fisheye(403, 302)
    grid = build_grid(lens, 4)
    assert grid.up.shape == (76, 101)
    assert grid.up[grid.zenith] > 0.9999
    assert grid.up.min() > 0
    np.testing.assert_allclose(np.linalg.norm(grid.vectors, axis=-1), 1.0, atol=1e-5)
    total = grid.solid_angle.sum() * 16
    assert total == pytest.approx(2 * np.pi * (1 - np.cos(np.radians(92))), rel=0.02)


def test_vignetting_falls_to_the_edge() -> None:
    assert vignetting(np.array(0.0)) == 1.0
    assert vignetting(np.array(90.0)) == pytest.approx(0.6)
