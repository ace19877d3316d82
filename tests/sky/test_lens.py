from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allsky360.model import Site
from allsky360.sky.catalogue import apparent_altaz, horizon_vectors, load_catalogue
from allsky360.sky.lens import LensError, LensModel, fisheye

WIDEST = {"equidistant": 110.0, "equisolid": 110.0, "stereographic": 110.0, "orthographic": 85.0}


@st.composite
def lenses(draw: st.DrawFn) -> LensModel:
    number = lambda low, high: draw(st.floats(low, high))  # noqa: E731
    projection = draw(st.sampled_from(sorted(WIDEST)))
    return LensModel(
        width=1200,
        height=900,
        cx=number(400, 800),
        cy=number(300, 600),
        focal_px=number(50, 900),
        projection=projection,
        k3=number(-0.01, 0.02),
        k5=number(-0.001, 0.002),
        rotation_deg=number(-360, 360),
        tilt_north_deg=number(-20, 20),
        tilt_east_deg=number(-20, 20),
        parity=draw(st.sampled_from([-1, 1])),
        max_theta_deg=WIDEST[projection] - 8,
    )


@settings(deadline=None, max_examples=150)
@given(lens=lenses(), alt=st.floats(-10, 90), az=st.floats(0, 360))
def test_a_direction_survives_the_round_trip(lens: LensModel, alt: float, az: float) -> None:
    x, y, _ = lens.project(alt, az)
    if np.isnan(x):
        return
    back = lens.unproject(x, y)
    off = np.linalg.norm(horizon_vectors(*back) - horizon_vectors(np.array(alt), np.array(az)))
    assert off < 1e-7


@settings(deadline=None, max_examples=150)
@given(lens=lenses(), x=st.floats(0, 1199), y=st.floats(0, 899))
def test_a_pixel_survives_the_round_trip(lens: LensModel, x: float, y: float) -> None:
    alt, az = lens.unproject(x, y)
    if np.isnan(alt):
        return
    back_x, back_y, visible = lens.project(alt, az)
    if np.isnan(back_x):  # on the very rim of the field
        assert np.hypot(x - lens.cx, y - lens.cy) > 0.999 * lens.radius_px(
            np.radians(lens.max_theta_deg)
        )
        return
    assert back_x == pytest.approx(x, abs=1e-4)
    assert back_y == pytest.approx(y, abs=1e-4)
    assert visible


def test_cardinal_directions_of_the_look_up_view() -> None:
    lens = fisheye(1001, 1001)
    x, y, seen = lens.project([20, 20, 20, 20, 90], [0, 90, 180, 270, 0])
    assert seen.all()
    assert y[0] < 400 < 600 < y[2]  # north on top, south at the bottom
    assert x[1] < 400 < 600 < x[3]  # east on the left: one looks up
    np.testing.assert_allclose([x[4], y[4]], 500, atol=1e-9)
    mirrored = fisheye(1001, 1001, parity=1).project(20, 90)
    assert mirrored[0] > 600


def test_the_horizon_circle_fills_the_frame_and_beyond_is_nothing() -> None:
    lens = fisheye(1608, 1104)
    x, y, _ = lens.project(0.0, np.arange(0, 360, 10))
    np.testing.assert_allclose(np.hypot(x - lens.cx, y - lens.cy), 0.98 * 552, rtol=1e-9)
    x, _, seen = lens.project([-5.0, 45.0], [10.0, 10.0])
    assert np.isnan(x[0])
    assert not seen[0]
    assert np.isnan(lens.unproject(0, 0)).all()
    assert np.isnan(lens.solid_angle_sr(0, 0))


@pytest.mark.parametrize("projection", sorted(WIDEST))
def test_pixels_add_up_to_the_hemisphere(projection: str) -> None:
    top = 75.0 if projection == "orthographic" else 90.0
    lens = LensModel(
        width=801,
        height=801,
        cx=400,
        cy=400,
        focal_px=180,
        projection=projection,
        k3=0.01 if projection != "orthographic" else 0.0,
        max_theta_deg=top,
    )
    total = np.nansum(lens.solid_angle_sr(*lens.pixel_grid()))
    assert total == pytest.approx(2 * np.pi * (1 - np.cos(np.radians(top))), rel=3e-3)


def test_solid_angle_is_the_jacobian() -> None:
    lens = fisheye(1200, 1000, rotation_deg=33, tilt_north_deg=4, tilt_east_deg=-3)
    for x, y in ((600, 500), (800, 300), (250, 610)):
        corners = [
            horizon_vectors(*lens.unproject(x + i, y + j)) for i, j in ((0, 0), (0.1, 0), (0, 0.1))
        ]
        area = np.linalg.norm(np.cross(corners[1] - corners[0], corners[2] - corners[0])) / 0.01
        assert lens.solid_angle_sr(x + 0.05, y + 0.05) == pytest.approx(area, rel=2e-3)


def test_crop_and_bin_keep_directions() -> None:
    lens = fisheye(1200, 1000, rotation_deg=10, tilt_north_deg=2)
    direction = lens.unproject(700.5, 420.5)
    np.testing.assert_allclose(
        lens.cropped(100, 50, 900, 800).unproject(600.5, 370.5), direction, atol=1e-9
    )
    np.testing.assert_allclose(lens.binned(2).unproject(350, 210), direction, atol=1e-9)
    assert LensModel(**json.loads(json.dumps(lens.as_dict()))) == lens


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"parity": 0}, "parity"),
        ({"focal_px": 0.0}, "focal_px"),
        ({"focal_px": float("nan")}, "focal_px"),
        ({"projection": "square"}, "equidistant"),
        ({"k3": -0.5}, "stops growing"),
        ({"max_theta_deg": 200.0}, "max_theta_deg"),
    ],
)
def test_impossible_lenses_are_refused(wrong: dict[str, object], word: str) -> None:
    good = {"width": 100, "height": 100, "cx": 50.0, "cy": 50.0, "focal_px": 30.0}
    with pytest.raises(LensError, match=word):
        LensModel(**{**good, **wrong})


FITS = {
    "lowell-dct-2018/reference": 0.40,
    "winona-rpihq-2021/reference": 0.65,
}


@pytest.mark.parametrize("name", FITS)
def test_reference_fits_are_reproduced(name: str, real_data: Callable[[str], Path]) -> None:
    """Time, site and model of an independent fit, our stars: they fall on the measured pixels."""
    base = real_data(name)
    (ref_file,) = base.glob("*.ref.json")
    (star_file,) = base.glob("*.stars.csv")
    ref = json.loads(ref_file.read_text())
    rows = [r for r in csv.DictReader(star_file.open()) if r["x_meas"]]
    height, width = ref["image_shape"][:2]
    m = ref["model"]
    lens = LensModel(
        width=width,
        height=height,
        cx=m["cx"],
        cy=m["cy"],
        focal_px=m["f_px_per_rad"],
        k3=m["k3"],
        k5=m["k5"],
        rotation_deg=m["rot_deg"],
        tilt_north_deg=m["tilt_n_deg"],
        tilt_east_deg=m["tilt_e_deg"],
        parity=m["parity"],
    )
    by_hip = {int(r["hip"]): r for r in rows}
    stars = load_catalogue(7.0)
    stars = stars[np.isin(stars.hip, list(by_hip))]
    assert len(stars) > 0.97 * len(rows)
    where = Site("", ref["site"]["lat"], ref["site"]["lon"], ref["site"]["height_m"])
    when = datetime.fromisoformat(ref["mid_exposure_utc"] + "+00:00")
    alt, az = apparent_altaz(stars, where, when)
    x, y, seen = lens.project(alt, az)
    want = np.array(
        [[float(by_hip[int(h)][k]) for k in ("x_meas", "y_meas", "alt_deg")] for h in stars.hip]
    )
    assert seen.all()
    # 0.01 degree is 0.06 px; our refraction allows for the site's height.
    assert np.median(np.abs(alt - want[:, 2])) < 0.01
    residual = np.hypot(x - want[:, 0], y - want[:, 1])
    assert np.median(residual) < FITS[name]
    assert np.median(residual) < 1.1 * ref["median_resid_px"]


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, 270.0, 33.0])
@pytest.mark.parametrize("mirror", [(1.0, 1.0), (-1.0, 1.0), (1.0, -1.0)])
def test_a_moved_model_follows_the_pixels(angle: float, mirror: tuple[float, float]) -> None:
    lens = fisheye(400, 300, rotation_deg=20.0, tilt_north_deg=2.0, tilt_east_deg=-1.0)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    affine = np.column_stack([np.array([[c, -s], [s, c]]) @ np.diag(mirror), (30.0, -12.0)])
    moved = lens.moved(affine, 500, 500)
    alt, az = np.meshgrid(np.linspace(15, 90, 9), np.arange(0, 360, 25.0))
    x, y, _ = lens.project(alt, az)
    to_x, to_y, _ = moved.project(alt, az)
    np.testing.assert_allclose(to_x, affine[0, 0] * x + affine[0, 1] * y + 30.0, atol=1e-9)
    np.testing.assert_allclose(to_y, affine[1, 0] * x + affine[1, 1] * y - 12.0, atol=1e-9)


def test_a_scaled_picture_needs_another_model() -> None:
    with pytest.raises(LensError, match="scaled"):
        fisheye(400, 300).moved(np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]), 800, 600)
