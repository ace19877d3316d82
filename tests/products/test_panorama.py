"""Panoramas: directions there and back, stars where they should be, what viewers are told."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from allsky360.archive.layout import FrameRef
from allsky360.config import Settings
from allsky360.config_products import PanoramaSettings
from allsky360.products.frame import ProductFrame
from allsky360.products.gpano import gpano_xmp
from allsky360.products.grower import NightContext
from allsky360.products.panorama import Panorama, jpeg_of_view, render_view, worth
from allsky360.products.panorama_map import (
    View,
    ViewError,
    map_digest,
    panorama_view,
    view_from,
    view_map,
)
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.lens import fisheye
from tests.products.nights import CAMERA, EVENING, NIGHT, SITE
from tests.products.sky_pictures import centroid, paint_sky

LENS = fisheye(900, 860, rotation_deg=21.0, tilt_north_deg=2.0, tilt_east_deg=1.0)
NAMESPACE = "{http://ns.google.com/photos/1.0/panorama/}"

views = st.builds(
    View,
    st.sampled_from(["equirectangular", "cylindrical", "little-planet", "window"]),
    st.integers(40, 400),
    st.integers(40, 300),
    azimuth_deg=st.floats(-360, 360),
    altitude_deg=st.floats(-80, 80),
    top_deg=st.floats(50, 84),
    bottom_deg=st.floats(-60, 40),
    field_deg=st.floats(20, 160),
    roll_deg=st.floats(-180, 180),
    inside_out=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(views, st.floats(0.02, 0.98), st.floats(0.02, 0.98))
def test_pixels_and_directions_are_inverse(view: View, across: float, down: float) -> None:
    x, y = across * (view.width - 1), down * (view.height - 1)
    altitude, azimuth = view.directions(x, y)
    back_x, back_y = view.pixels(altitude, azimuth)
    assert back_x == pytest.approx(x, abs=1e-3)
    assert back_y == pytest.approx(y, abs=1e-3)


def test_a_window_shows_its_direction_upright() -> None:
    view = View("window", 401, 301, azimuth_deg=90.0, altitude_deg=30.0, field_deg=60.0)
    assert np.allclose(view.directions(200, 150), (30.0, 90.0))
    x, y = view.pixels([30.0, 40.0, 20.0], [95.0, 90.0, 90.0])
    assert x[0] > 200  # further round by azimuth is to the right for who looks out
    assert y[1] < 150 < y[2]
    assert x[1] == pytest.approx(200.0)
    # tan(10 degrees) times the focal length, which the field gives
    assert 150 - y[1] == pytest.approx(401 / 2 / np.tan(np.radians(30)) * np.tan(np.radians(10)))


def test_a_little_planet_has_the_horizon_as_a_circle() -> None:
    view = View("little-planet", 201, 201, azimuth_deg=0.0, field_deg=270.0)
    azimuth = np.arange(0.0, 360.0, 30.0)
    x, y = view.pixels(np.zeros(12), azimuth)
    r = np.hypot(x - 100, y - 100)
    assert np.ptp(r) < 1e-9
    assert y[0] < 100  # north on top
    assert x[3] > 100  # east on the right: this is a planet seen from above


@pytest.mark.parametrize(
    "view",
    [
        panorama_view(LENS, azimuth_deg=180.0),
        View("cylindrical", 1400, 700, azimuth_deg=10.0, top_deg=75.0, bottom_deg=5.0),
        View("window", 900, 600, azimuth_deg=75.0, altitude_deg=45.0, field_deg=100.0),
        View("little-planet", 1400, 1400, field_deg=300.0),
    ],
    ids=["strip", "cylinder", "window", "planet"],
)
def test_stars_are_where_they_should_be(view: View) -> None:
    picture = paint_sky(LENS, SITE, EVENING, max_v=3.6, noise=0.001, fwhm_px=3.0)
    shown = render_view(picture, LENS, view).astype(np.float32)[..., 1]
    stars = load_catalogue(3.6)
    altitude, azimuth = apparent_altaz(stars, SITE, EVENING)
    x, y = view.pixels(altitude, azimuth)
    gap = np.hypot(x[:, None] - x, y[:, None] - y)
    np.fill_diagonal(gap, 99)
    lonely = (np.nan_to_num(gap, nan=99).min(axis=1) > 14) & (stars.v_mag > 2.2)
    errors = []
    for k in np.flatnonzero(lonely & np.isfinite(x) & (altitude > 18) & (altitude < 72)):
        if 8 < x[k] < view.width - 9 and 8 < y[k] < view.height - 9:
            mx, my, _ = centroid(shown, x[k], y[k])
            # across a strip a pixel is finer than the lens's by the cosine of the altitude
            stretch = np.cos(np.radians(altitude[k])) if view.width > 3 * view.height else 1.0
            errors.append(np.hypot((mx - x[k]) * stretch, my - y[k]))
    assert len(errors) >= 8
    assert np.max(errors) < 0.5


def test_what_the_picture_does_not_show_is_black() -> None:
    white = np.full((860, 900, 3), 255, np.uint8)
    view = panorama_view(LENS, bottom_deg=-20.0)
    out = render_view(white, replace(LENS, max_theta_deg=88.0), view)
    rows = np.flatnonzero(out.max(axis=(1, 2)) > 0)
    assert view.directions(0, rows[-1])[0] > -1.0 - 2.5  # the tilted axis reaches below 0 on a side
    assert (out[-40:] == 0).all()


def test_maps_are_kept_and_named_by_what_they_depend_on() -> None:
    view = View("window", 64, 48)
    assert view_map(LENS, view) is view_map(LENS, View("window", 64, 48))
    assert map_digest(LENS, view) != map_digest(replace(LENS, cx=1.0), view)
    assert map_digest(LENS, view) != map_digest(LENS, replace(view, width=65))
    assert view_from(view.as_dict()) == view
    with pytest.raises(ViewError, match="not a view"):
        view_from({"nonsense": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 1},
        {"width": 16_000, "height": 16_000},
        {"field_deg": 0.0},
        {"field_deg": 175.0},
        {"altitude_deg": float("nan")},
        {"top_deg": 10.0, "bottom_deg": 20.0},
        {"projection": "cylindrical", "top_deg": 89.0},
        {"projection": "mercator"},
    ],
)
def test_views_that_cannot_be_made_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ViewError):
        View(**({"projection": "window", "width": 100, "height": 100} | wrong))


def test_viewers_learn_that_it_is_a_360_degree_photo() -> None:
    view = View("equirectangular", 720, 200, 170.0, top_deg=90.0, bottom_deg=-10.0)
    picture = np.full((860, 900, 3), 90, np.uint8)
    data = jpeg_of_view(picture, LENS, view, when=EVENING)
    with Image.open(io.BytesIO(data)) as image:
        packet = image.info["xmp"]
        assert image.size == (720, 200)
    text = packet.split(b"?>", 1)[1].rsplit(b"<?xpacket", 1)[0]
    found = {e.tag.removeprefix(NAMESPACE): e.text for e in ET.fromstring(text).iter()}
    assert found["ProjectionType"] == "equirectangular"
    assert found["UsePanoramaViewer"] == "True"
    assert found["FullPanoWidthPixels"] == "720"
    assert found["FullPanoHeightPixels"] == "360"
    assert found["CroppedAreaImageHeightPixels"] == "200"
    assert found["CroppedAreaTopPixels"] == "0"
    assert found["PoseHeadingDegrees"] == "170.0"
    assert found["FirstPhotoDate"] == "2026-11-22T20:00:00+00:00"
    with pytest.raises(ViewError):
        gpano_xmp(View("window", 90, 90))


def frame(index: int, picture: Any, **scalars: float) -> ProductFrame:
    start = EVENING + timedelta(minutes=index)
    dark = {"sun_altitude_deg": -40.0, "moon_altitude_deg": -9.0, "moon_illumination": 0.5}
    return ProductFrame(
        FrameRef(CAMERA, NIGHT, index), start, start, 8.0, picture, dark | scalars, SITE, LENS, 3
    )


def test_the_best_frame_is_taken_in_any_order(tmp_path: Path) -> None:
    folder = tmp_path / "products"
    folder.mkdir()
    context = NightContext(tmp_path, CAMERA, NIGHT, "v0001", SITE, Settings(), folder)
    frames = [
        frame(0, np.full((860, 900, 3), 10, np.uint8), cloud_fraction=0.1, sun_altitude_deg=-7.0),
        frame(1, np.full((860, 900, 3), 90, np.uint8), cloud_fraction=0.1),
        frame(2, np.full((860, 900, 3), 20, np.uint8), cloud_fraction=0.9),
        frame(3, np.full((860, 900, 3), 30, np.uint8), cloud_fraction=0.1, moon_altitude_deg=40.0),
        frame(4, np.full((860, 900, 3), 40, np.uint8), cloud_fraction=0.1),
    ]
    assert worth(frames[1]) == worth(frames[4])
    results = []
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]):
        grower = Panorama(PanoramaSettings(width_px=800, ticks=True))
        grower.open(context, tmp_path, None)
        for k in order[:3]:
            assert grower.add(frames[k]) is None
        saved = tmp_path / f"saved{order[0]}"
        saved.mkdir()
        grower.save(saved)
        again = Panorama(PanoramaSettings(width_px=800, ticks=True))
        again.open(context, tmp_path, saved)
        for k in order[3:]:
            again.add(frames[k])
        assert again.add(replace(frames[0], lens=None)) == "there is no lens for its picture"
        drafts = again.finish(complete=True)
        assert [d.parameters["frame"] for d in drafts] == [1, 1]
        results.append([(folder / f.path).read_bytes() for d in drafts for f in d.files])
    assert results[0] == results[1]
    assert [d.name for d in drafts] == ["panorama", "little-planet"]
    strip = np.asarray(Image.open(folder / "panorama.jpg"))
    assert strip.shape == (211, 800, 3)
    assert abs(int(strip[50, 300, 0]) - 90) < 4
