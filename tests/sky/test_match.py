from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allsky360.model import Site
from allsky360.sky.lens import fisheye
from allsky360.sky.match import match_points, match_stars
from tests.sky.lens_cases import found_stars

WHEN = datetime(2026, 3, 3, 23, tzinfo=UTC)


def brute_force(x, y, to_x, to_y, radius):
    distance = np.hypot(x[:, None] - to_x, y[:, None] - to_y)
    pairs = []
    for i in range(x.size):
        j = int(np.argmin(distance[i]))
        if distance[i, j] <= radius and int(np.argmin(distance[:, j])) == i:
            pairs.append((i, j))
    return pairs


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.05, 60.0), st.integers(0, 2**31))
def test_pairs_are_those_of_all_distances(n, m, radius, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-50, 50, (2, n)), rng.uniform(-50, 50, (2, m))
    i, j = match_points(*a, *b, radius)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == brute_force(*a, *b, radius)


def test_points_that_are_nowhere_pair_with_nothing():
    x = np.array([1.0, np.nan, 5.0])
    i, j = match_points(x, x, np.array([np.nan, 5.0, 1.0]), np.array([1.0, 5.0, np.inf]), 1.0)
    assert i.tolist() == [2]
    assert j.tolist() == [1]
    assert match_points(x, x, np.empty(0), np.empty(0), 1.0)[0].size == 0


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan")])
def test_no_radius_no_pairs(radius):
    x = np.zeros(3)
    assert match_points(x, x, x, x, radius)[0].size == 0


def test_a_far_outlier_does_not_ask_for_all_memory():
    x = np.array([0.0, 1e9])
    i, j = match_points(x, x, x + 0.5, x + 0.5, 1.0)
    assert i.tolist() == j.tolist() == [0, 1]


def test_stars_of_a_known_lens_match(site: Site):
    lens = fisheye(1600, 1100, rotation_deg=20, tilt_east_deg=1.0)
    stars = found_stars(lens, site, WHEN, np.random.default_rng(1), dropped=0.0, false=0.0)
    matches = match_stars(stars, lens, site, WHEN, max_v=7.5, radius_px=1.5)
    assert len(matches) > 0.97 * stars.x.size
    assert np.std(matches.dx) == pytest.approx(0.2, rel=0.2)
    assert np.all(matches.residual_px <= 1.5)
    assert len(np.unique(matches.catalogue)) == len(np.unique(matches.star)) == len(matches)
    high = match_stars(stars, lens, site, WHEN, radius_px=1.5, min_altitude_deg=60)
    assert high.altitude_deg.min() >= 60
