from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allsky360.overlay.paths import (
    STEP_DEG,
    great_circles,
    half_meridian,
    in_frame,
    parallel,
    visible_pieces,
)
from allsky360.sky.catalogue import horizon_vectors
from allsky360.sky.lens import LensModel, fisheye

LENS = fisheye(800, 800, fill=0.95)
ALL_ROUND = np.arange(0.0, 361.0, 2.0)


def altitude_circle(altitude: float) -> np.ndarray:
    return horizon_vectors(np.full_like(ALL_ROUND, altitude), ALL_ROUND)


def test_great_circles_keep_their_vertices_and_their_planes() -> None:
    rng = np.random.default_rng(1)
    paths = [rng.normal(size=(n, 3)) for n in (2, 5, 3)]
    paths = [p / np.linalg.norm(p, axis=1, keepdims=True) for p in paths]
    for path, dense in zip(paths, great_circles(paths), strict=True):
        assert np.allclose(dense[0], path[0])
        assert np.allclose(dense[-1], path[-1])
        assert np.allclose(np.linalg.norm(dense, axis=1), 1.0)
        steps = np.degrees(np.arccos(np.clip((dense[1:] * dense[:-1]).sum(axis=1), -1, 1)))
        # the blend's steps are uneven on long arcs; between stars of a figure they are not
        assert steps.max() < 3 * STEP_DEG
        distance = [np.abs(dense @ v - 1).min() for v in path]
        assert max(distance) < 1e-12
        normals = np.cross(path[:-1], path[1:])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        assert np.abs(dense @ normals.T).min(axis=1).max() < 1e-9
    assert great_circles([]) == []


def test_closed_forms_of_circles() -> None:
    assert np.allclose(parallel(40.0)[:, 2], np.sin(np.radians(40.0)))
    assert np.allclose(parallel(40.0)[0], parallel(40.0)[-1])
    line = half_meridian(90.0, -80.0, 80.0)
    assert np.allclose(line[:, 0], 0.0)


def test_a_circle_of_altitude_is_a_circle_on_the_picture() -> None:
    [[piece]] = visible_pieces(LENS, [altitude_circle(30.0)], 0.0)
    radius = np.hypot(piece[:, 0] - LENS.cx, piece[:, 1] - LENS.cy)
    assert radius == pytest.approx(float(LENS.radius_px(np.radians(60.0))), abs=1e-6)


def test_a_line_ends_exactly_at_the_horizon() -> None:
    through = horizon_vectors(np.linspace(-30.0, 41.0, 20), np.full(20, 77.0))
    [[piece]] = visible_pieces(LENS, [through], 0.0)
    altitude, azimuth = LENS.unproject(piece[:, 0], piece[:, 1])
    assert altitude.min() == pytest.approx(0.0, abs=1e-3)
    assert altitude.max() == pytest.approx(41.0, abs=1e-6)
    assert azimuth == pytest.approx(77.0, abs=1e-6)


def test_what_is_below_the_horizon_or_out_of_the_field_leaves_nothing() -> None:
    narrow = LensModel(800, 800, 400, 400, 500.0, max_theta_deg=40.0)
    assert visible_pieces(LENS, [altitude_circle(-1.0)], 0.0) == [[]]
    assert visible_pieces(narrow, [altitude_circle(30.0)], 0.0) == [[]]
    assert visible_pieces(LENS, [], 0.0) == []


def test_the_field_of_a_narrow_lens_cuts_a_line() -> None:
    narrow = LensModel(800, 800, 400, 400, 500.0, max_theta_deg=40.0)
    rising = horizon_vectors(np.linspace(0.0, 90.0, 31), np.zeros(31))
    [[piece]] = visible_pieces(narrow, [rising], 0.0)
    assert piece[0, 1] == pytest.approx(400 - 500 * np.radians(40.0), abs=0.05)


def test_in_frame_by_hand() -> None:
    [piece] = in_frame(np.array([[-10.0, 5.0], [30.0, 5.0]]), 20, 10)
    assert piece.tolist() == [[-0.5, 5.0], [19.5, 5.0]]
    assert in_frame(np.array([[-10.0, -5.0], [30.0, -5.0]]), 20, 10) == []
    assert in_frame(np.array([[1.0, 1.0]]), 20, 10) == []
    out_and_in = np.array([[5.0, 5.0], [5.0, -5.0], [10.0, -5.0], [10.0, 5.0], [11.0, 6.0]])
    first, second = in_frame(out_and_in, 20, 10)
    assert first.tolist() == [[5.0, 5.0], [5.0, -0.5]]
    assert second.tolist() == [[10.0, -0.5], [10.0, 5.0], [11.0, 6.0]]


@settings(max_examples=40, deadline=None)
@given(
    rotation=st.floats(-180, 180),
    tilt=st.floats(-6, 6),
    parity=st.sampled_from([-1, 1]),
    left=st.integers(-100, 500),
    top=st.integers(-100, 500),
    horizon=st.floats(-2, 40),
    seed=st.integers(0, 1000),
)
def test_pieces_are_all_of_what_is_visible_and_nothing_else(
    rotation: float, tilt: float, parity: int, left: int, top: int, horizon: float, seed: int
) -> None:
    lens = fisheye(
        800, 800, rotation_deg=rotation, tilt_north_deg=tilt, tilt_east_deg=-tilt, parity=parity
    ).cropped(left, top, 400, 300)
    rng = np.random.default_rng(seed)
    ends = rng.normal(size=(2, 3))
    ends /= np.linalg.norm(ends, axis=1, keepdims=True)
    [dense] = great_circles([ends])
    [pieces] = visible_pieces(lens, [dense], horizon)
    for piece in pieces:
        assert (piece >= -0.5 - 1e-6).all()
        assert (piece[:, 0] <= 399.5 + 1e-6).all()
        assert (piece[:, 1] <= 299.5 + 1e-6).all()
        altitude, _ = lens.unproject(piece[:, 0], piece[:, 1])
        # the cut by the frame lies on the chord of two samples, up to 0.05 degrees off the arc
        assert np.nanmin(altitude) > horizon - 0.2
    altitude = np.degrees(np.arcsin(dense[:, 2]))
    azimuth = np.degrees(np.arctan2(dense[:, 1], dense[:, 0]))
    x, y, visible = lens.project(altitude, azimuth)
    shown = visible & (altitude > horizon)
    if pieces:
        vertices = np.concatenate(pieces)
        gaps = [
            np.hypot(vertices[:, 0] - a, vertices[:, 1] - b).min()
            for a, b in zip(x[shown], y[shown], strict=True)
        ]
        assert not gaps or max(gaps) < 1e-6
    else:
        assert shown.sum() <= 1
