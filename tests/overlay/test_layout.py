"""Layouts are judged by Astropy, by the simulator's truth and by stars measured on real frames."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import (
    TETE,
    AltAz,
    EarthLocation,
    GeocentricTrueEcliptic,
    SkyCoord,
    get_body,
)
from astropy.time import Time
from astropy.utils import iers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allsky360.model import Site
from allsky360.overlay import OverlayError, OverlayOptions, OverlayScene, burn_in, layout
from allsky360.overlay.fit import fitted
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest
from allsky360.sky.lens import LensModel, fisheye
from allsky360.sky.names import star_names

LA_PALMA = Site("La Palma", 28.7606, -17.8816, 2326.0)
SUTHERLAND = Site("Sutherland", -32.3783, 20.8117, 1798.0)
WHEN = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
LENS = fisheye(1600, 1400, rotation_deg=37.0, tilt_north_deg=2.0, tilt_east_deg=-1.0, parity=1)
NOTHING = OverlayOptions(
    star_names=False,
    planets=False,
    sun_moon=False,
    constellation_lines=False,
    constellation_names=False,
    cardinal_points=False,
    text="",
)


@pytest.fixture(autouse=True)
def _offline_astropy():  # type: ignore[no-untyped-def]
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("auto_max_age", None),
        iers.conf.set_temp("iers_degraded_accuracy", "warn"),
    ):
        yield


def kinds(scene: OverlayScene) -> set[str]:
    return {i.kind for i in (*scene.lines, *scene.marks, *scene.texts)}


def astropy_frame(site: Site, when: datetime) -> AltAz:
    where = EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.elevation_m)
    return AltAz(obstime=Time(when), location=where)


def test_nothing_asked_nothing_drawn() -> None:
    scene = layout(LENS, LA_PALMA, WHEN, NOTHING)
    assert (scene.lines, scene.marks, scene.texts) == ((), (), ())
    assert (scene.width, scene.height) == (1600, 1400)


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ("star_names", "star"),
        ("planets", "planet"),
        ("sun_moon", "moon"),
        ("constellation_lines", "constellation"),
        ("constellation_names", "constellation"),
        ("constellation_boundaries", "boundary"),
        ("cardinal_points", "cardinal"),
        ("altaz_grid", "altaz"),
        ("equatorial_grid", "equatorial"),
        ("ecliptic", "ecliptic"),
        ("meridian", "meridian"),
        ("poles", "pole"),
    ],
)
def test_each_option_draws_its_own_kind_and_no_other(option: str, kind: str) -> None:
    scene = layout(LENS, LA_PALMA, WHEN, NOTHING.model_copy(update={option: True}))
    assert kinds(scene) - {"horizon"} == {kind}


def test_sun_by_day_and_designations_on_request() -> None:
    day = layout(LENS, LA_PALMA, datetime(2026, 11, 22, 13, tzinfo=UTC))
    assert "sun" in kinds(day)
    more = layout(LENS, LA_PALMA, WHEN, OverlayOptions(designations_max_v=4.0))
    texts = {t.text for t in more.texts if t.kind == "designation"}
    assert {"δ And", "β Aqr"} <= texts
    assert not texts & {t.text for t in more.texts if t.kind == "star"}


def test_named_stars_stand_where_the_simulator_put_their_light() -> None:
    source = SkySource(LA_PALMA, seed=3, cloud_cover=0.0)
    frame = source.expose(ExposureRequest(start=WHEN, exposure_s=0.02))
    listed = frame.truth["stars"]
    truth = dict(zip(listed["hip"], zip(listed["x"], listed["y"], strict=True), strict=True))
    scene = layout(source.lens, LA_PALMA, WHEN)
    by_name = {s.proper: s.hip for s in star_names().values() if s.proper}
    apart = []
    for mark in scene.marks:
        if mark.kind == "star" and by_name[mark.name] in truth:
            x, y = truth[by_name[mark.name]]
            apart.append(np.hypot(mark.x - x, mark.y - y))
    assert len(apart) > 20
    assert max(apart) < 0.1


def test_named_stars_stand_on_the_stars_of_a_real_frame(real_data: Callable[[str], Path]) -> None:
    record = json.loads(real_data("lowell-dct-2018/reference/005.ref.json").read_text())
    m, s = record["model"], record["site"]
    height, width = record["image_shape"]
    lens = LensModel(
        width,
        height,
        m["cx"],
        m["cy"],
        m["f_px_per_rad"],
        k3=m["k3"],
        k5=m["k5"],
        rotation_deg=m["rot_deg"],
        tilt_north_deg=m["tilt_n_deg"],
        tilt_east_deg=m["tilt_e_deg"],
        parity=m["parity"],
    )
    when = datetime.fromisoformat(record["mid_exposure_utc"]).replace(tzinfo=UTC)
    scene = layout(lens, Site("DCT", s["lat"], s["lon"], s["height_m"]), when)
    with real_data("lowell-dct-2018/reference/005.stars.csv").open() as file:
        measured = {
            int(r["hip"]): (float(r["x_meas"]), float(r["y_meas"]))
            for r in csv.DictReader(file)
            if r["x_meas"]
        }
    by_name = {s.proper: s.hip for s in star_names().values() if s.proper}
    apart = [
        np.hypot(m.x - measured[hip][0], m.y - measured[hip][1])
        for m in scene.marks
        if m.kind == "star" and (hip := by_name[m.name]) in measured
    ]
    assert len(apart) > 25
    assert np.median(apart) < 0.6
    assert max(apart) < 1.6  # the reference's own matching radius
    planets = {m.name: (m.x, m.y) for m in scene.marks if m.kind == "planet"}
    for name in ("Mars", "Jupiter", "Saturn"):
        body = record["bodies"][name]
        assert planets[name] == pytest.approx((body["x"], body["y"]), abs=0.3)


@pytest.mark.parametrize("site", [LA_PALMA, SUTHERLAND], ids=lambda s: s.name)
def test_planets_and_moon_stand_where_astropy_has_them(site: Site) -> None:
    frame = astropy_frame(site, WHEN)
    scene = layout(LENS, site, WHEN)
    for mark in scene.marks:
        if mark.kind not in ("planet", "moon"):
            continue
        seen = get_body(mark.name.lower(), frame.obstime, frame.location).transform_to(frame)
        altitude, azimuth = LENS.unproject(mark.x, mark.y)
        lift = altitude - seen.alt.deg  # refraction, which Astropy was not asked for
        assert -0.011 < lift < 0.1
        turn = (azimuth - seen.az.deg + 180) % 360 - 180
        assert abs(turn) * np.cos(np.radians(altitude)) < 0.011  # Astropy's coarse Moon
    assert {"Saturn", "Moon"} <= {m.name for m in scene.marks}


def test_ecliptic_poles_and_equatorial_grid_agree_with_astropy() -> None:
    options = NOTHING.model_copy(update={"ecliptic": True, "poles": True, "equatorial_grid": True})
    frame = astropy_frame(LA_PALMA, WHEN)
    scene = layout(LENS, LA_PALMA, WHEN, options)
    of_date = TETE(obstime=frame.obstime, location=frame.location)

    def sky(points: np.ndarray) -> SkyCoord:
        altitude, azimuth = LENS.unproject(points[:, 0], points[:, 1])
        high = altitude > 20  # refraction is small and known there
        lift = 1.02 / 60 / np.tan(np.radians(altitude[high] + 10.3 / (altitude[high] + 5.11)))
        lift *= 0.76  # pressure at 2300 m
        return SkyCoord(azimuth[high] * u.deg, (altitude[high] - lift) * u.deg, frame=frame)

    at = GeocentricTrueEcliptic(equinox=frame.obstime, obstime=frame.obstime)
    for line in scene.lines:
        if line.kind == "ecliptic":
            latitude = sky(line.points).transform_to(at).lat.deg
            assert np.abs(latitude).max() < 0.02
        elif line.kind == "equatorial":
            there = sky(line.points).transform_to(of_date)
            if len(there) == 0:
                continue
            declinations = np.abs(there.dec.deg / 20 - np.round(there.dec.deg / 20)) * 20
            hours = np.abs(there.ra.deg / 30 - np.round(there.ra.deg / 30)) * 30
            hours *= np.cos(there.dec.rad)
            assert min(declinations.max(), hours.max()) < 0.02
    [pole] = [m for m in scene.marks if m.name == "Celestial north pole"]
    north = SkyCoord(0 * u.deg, 90 * u.deg, frame=of_date).transform_to(frame)
    altitude, azimuth = LENS.unproject(pole.x, pole.y)
    assert altitude == pytest.approx(north.alt.deg + 0.022, abs=0.01)
    assert (azimuth - north.az.deg + 180) % 360 - 180 == pytest.approx(0.0, abs=0.01)
    [zenith] = [m for m in scene.marks if m.name == "Zenith"]
    assert LENS.unproject(zenith.x, zenith.y)[0] == pytest.approx(90.0, abs=1e-4)


def test_cardinal_letters_stand_outside_the_horizon_at_their_azimuth() -> None:
    scene = layout(LENS, LA_PALMA, WHEN, NOTHING.model_copy(update={"cardinal_points": True}))
    letters = {t.text: t for t in scene.texts}
    assert set(letters) == {"N", "E", "S", "W"}
    for letter, azimuth in zip("NESW", (0, 90, 180, 270), strict=True):
        left, top, right, bottom = letters[letter].box
        x, y, _ = LENS.project(0.0, azimuth)
        middle = (left + right) / 2, (top + bottom) / 2
        assert np.hypot(middle[0] - x, middle[1] - y) < 2 * letters[letter].size_px
        dx, dy = x - LENS.cx, y - LENS.cy
        assert (middle[0] - x) * dx + (middle[1] - y) * dy != 0


def test_a_crop_shows_the_same_sky_shifted() -> None:
    part = LENS.cropped(400, 300, 700, 600)
    whole, crop = layout(LENS, LA_PALMA, WHEN), layout(part, LA_PALMA, WHEN)
    marks = {m.name: m for m in whole.marks}
    inside = [m for m in crop.marks if m.kind == "star"]
    assert len(inside) > 5
    for mark in inside:
        assert (mark.x + 400, mark.y + 300) == pytest.approx(
            (marks[mark.name].x, marks[mark.name].y)
        )
    for line in crop.lines:
        assert (line.points >= -0.5 - 1e-9).all()
        assert (line.points <= (699.5 + 1e-9, 599.5 + 1e-9)).all()
    for text in crop.texts:
        assert text.box[0] >= 0
        assert text.box[1] >= 0
        assert text.box[2] <= 699
        assert text.box[3] <= 599


def test_a_binned_picture_has_the_same_labels_at_half_the_size() -> None:
    big = layout(LENS, LA_PALMA, WHEN)
    small = layout(LENS.binned(2), LA_PALMA, WHEN)
    assert small.unit_px == pytest.approx(big.unit_px / 2, rel=1e-3)
    a = {m.name: (m.x, m.y) for m in big.marks}
    for mark in small.marks:
        if mark.name in a:
            assert (mark.x * 2 + 0.5, mark.y * 2 + 0.5) == pytest.approx(a[mark.name], abs=1e-6)
    shared = {t.text for t in big.texts} & {t.text for t in small.texts}
    assert len(shared) > 0.8 * len(big.texts)


def test_fitted_equals_binned_and_refuses_a_crop() -> None:
    half, direct = LENS.binned(2), fitted(LENS, 800, 700)
    assert (direct.cx, direct.cy, direct.focal_px) == pytest.approx(
        (half.cx, half.cy, half.focal_px)
    )
    with pytest.raises(OverlayError, match="800 x 800"):
        fitted(LENS, 800, 800)


def test_nothing_is_drawn_below_a_raised_horizon() -> None:
    options = OverlayOptions(horizon_deg=25.0, altaz_grid=True, designations_max_v=4.5)
    scene = layout(LENS, LA_PALMA, WHEN, options)
    for mark in scene.marks:
        assert LENS.unproject(mark.x, mark.y)[0] >= 25.0
    for line in scene.lines:
        assert LENS.unproject(*line.points.T)[0].min() > 24.99


@pytest.mark.parametrize("parity", [-1, 1])
@pytest.mark.parametrize("rotation", [0.0, 123.0, -60.0])
def test_no_two_labels_touch_in_any_view(parity: int, rotation: float) -> None:
    lens = replace(LENS, parity=parity, rotation_deg=rotation)
    options = OverlayOptions(
        designations_max_v=4.5, altaz_grid=True, equatorial_grid=True, ecliptic=True, poles=True
    )
    boxes = np.array([t.box for t in layout(lens, SUTHERLAND, WHEN, options).texts])
    assert len(boxes) > 100
    for i, (left, top, right, bottom) in enumerate(boxes):
        others = np.delete(boxes, i, axis=0)
        apart = (
            (others[:, 0] >= right)
            | (others[:, 2] <= left)
            | (others[:, 1] >= bottom)
            | (others[:, 3] <= top)
        )
        assert apart.all()


@pytest.mark.parametrize("corner", ["top-left", "top-right", "bottom-left", "bottom-right"])
def test_the_text_block_shows_chosen_fields_in_its_corner(corner: str) -> None:
    options = NOTHING.model_copy(
        update={
            "text": "{site} {stars} stars\n{missing}\n{night_phase}, ST {sidereal_time}",
            "text_corner": corner,
        }
    )
    scene = layout(LENS, LA_PALMA, WHEN, options, {"stars": 812})
    assert [t.text for t in scene.texts] == ["La Palma 812 stars", "night, ST 23:55"]
    for text in scene.texts:
        left, top, right, bottom = text.box
        assert (top < 100) if "top" in corner else (bottom > 1300)
        assert (left < 40) if "left" in corner else (right > 1560)


def test_layout_is_repeatable_and_plain_json() -> None:
    one, two = (layout(LENS, SUTHERLAND, WHEN).as_dict() for _ in range(2))
    assert one == two
    assert json.loads(json.dumps(one)) == one


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        layout(LENS, LA_PALMA, datetime(2026, 1, 1))


def test_a_tiny_sky_in_a_large_frame_costs_no_more_than_any_other() -> None:
    lens = LensModel(2000, 2000, 1000.0, 1000.0, 3.0)  # once asked for gigabytes
    scene = layout(lens, LA_PALMA, WHEN, OverlayOptions(ecliptic=True))
    assert scene.lines
    assert burn_in(np.zeros((2000, 2000, 3), np.uint8), scene).any()


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    centre=st.tuples(st.floats(-400, 800), st.floats(-400, 800)),
    log_focal=st.floats(0.5, 4.0),
    projection=st.sampled_from(["equidistant", "equisolid", "stereographic", "orthographic"]),
    angles=st.tuples(st.floats(-360, 360), st.floats(-80, 80), st.floats(-60, 60)),
    field=st.floats(5, 89),
    latitude=st.sampled_from([-90.0, -52.0, 0.0, 35.0, 90.0]),
    horizon=st.floats(-5, 85),
    days=st.floats(0, 36_000),
)
def test_any_lens_anywhere_gives_a_scene_that_can_be_drawn(
    size: tuple[int, int],
    centre: tuple[float, float],
    log_focal: float,
    projection: str,
    angles: tuple[float, float, float],
    field: float,
    latitude: float,
    horizon: float,
    days: float,
) -> None:
    lens = LensModel(
        *size,
        *centre,
        10.0**log_focal,
        projection,  # type: ignore[arg-type]
        rotation_deg=angles[0],
        tilt_north_deg=angles[1],
        tilt_east_deg=angles[2],
        max_theta_deg=field,
    )
    everything = {
        name: True for name, f in OverlayOptions.model_fields.items() if f.default is False
    }
    options = OverlayOptions(designations_max_v=5.0, horizon_deg=horizon, **everything)
    when = datetime(1950, 1, 1, tzinfo=UTC) + timedelta(days=days)
    scene = layout(lens, Site("", latitude, 11.0), when, options)
    for line in scene.lines:
        assert np.isfinite(line.points).all()
        assert len(line.points) >= 2
    for text in scene.texts:
        if text.kind != "block":
            assert text.box[0] >= 0
            assert text.box[3] <= size[1] - 1
    out = burn_in(np.zeros((size[1], size[0], 3), np.uint8), scene)
    assert out.shape == (size[1], size[0], 3)
    json.dumps(scene.as_dict(), allow_nan=False)
