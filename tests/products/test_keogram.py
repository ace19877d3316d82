"""Keograms: columns against directions, gaps in time, going on after a crash."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from allsky360.archive.layout import FrameRef
from allsky360.config import Settings
from allsky360.config_products import KeogramSettings
from allsky360.products.frame import ProductFrame
from allsky360.products.grower import NightContext
from allsky360.products.keogram import Keogram
from allsky360.products.keogram_picture import compass
from allsky360.products.time_axis import even_columns, frame_at
from allsky360.sky.lens import LensModel, fisheye
from tests.products.nights import CAMERA, EVENING, NIGHT, SITE

SHAPE = (218, 228)
LENS = fisheye(
    SHAPE[1], SHAPE[0], rotation_deg=33.0, tilt_north_deg=3.0, tilt_east_deg=-2.0, fill=0.96
)


def directions_as_colours(lens: LensModel) -> NDArray[np.uint8]:
    """Red is altitude x 2, green and blue are azimuth as a point on a circle."""
    altitude, azimuth = lens.unproject(*lens.pixel_grid())
    a = np.radians(azimuth)
    colours = np.stack([altitude * 2 + 20, 128 + 100 * np.cos(a), 128 + 100 * np.sin(a)], axis=-1)
    return np.nan_to_num(colours).clip(0, 255).astype(np.uint8)


def frame(
    index: int, picture: NDArray[np.uint8], lens: LensModel | None, **more: Any
) -> ProductFrame:
    start = EVENING + timedelta(seconds=20 * index)
    return ProductFrame(
        FrameRef(CAMERA, NIGHT, index), start, start + timedelta(seconds=4), 8.0, picture,
        site=SITE, lens=lens, lens_serial=7 if lens else 0, **more,
    )  # fmt: skip


@pytest.fixture
def context(tmp_path: Path) -> NightContext:
    folder = tmp_path / "products"
    folder.mkdir()
    return NightContext(tmp_path, CAMERA, NIGHT, "v0001", SITE, Settings(), folder)


def opened(
    context: NightContext, work: Path, saved: Path | None = None, **settings: Any
) -> Keogram:
    grower = Keogram(KeogramSettings(**settings))
    work.mkdir(exist_ok=True)
    grower.open(context, work, saved)
    return grower


@pytest.mark.parametrize("azimuth_deg", [0.0, 90.0, 217.0])
def test_a_column_shows_the_vertical_circle_through_its_azimuth(
    context: NightContext, tmp_path: Path, azimuth_deg: float
) -> None:
    grower = opened(
        context, tmp_path / "w", azimuth_deg=azimuth_deg, lowest_altitude_deg=5, height_px=340
    )
    grower.add(frame(0, directions_as_colours(LENS), LENS))
    (draft,) = grower.finish(complete=False)
    assert draft.parameters["line"] == "through the lens model"
    assert draft.provenance["lens_serial"] == 7
    data = np.load(context.folder / "keogram.npz")
    column = data["columns"][0].astype(float)
    altitude = data["altitude_deg"]
    assert altitude[0] == pytest.approx(5.25)
    assert altitude[-1] == pytest.approx(5.25)
    assert np.max(np.abs(column[:, 0] - (altitude * 2 + 20))) < 3  # a degree and a half
    away = altitude < 80  # azimuth turns fast at the zenith
    a = np.radians(data["azimuth_deg"][away])
    assert np.max(np.abs(column[away, 1] - (128 + 100 * np.cos(a)))) < 8
    assert np.max(np.abs(column[away, 2] - (128 + 100 * np.sin(a)))) < 8
    top = np.radians(azimuth_deg)
    assert column[3, 1] == pytest.approx(128 + 100 * np.cos(top), abs=8)


def test_what_the_lens_does_not_show_is_black(context: NightContext, tmp_path: Path) -> None:
    narrow = replace(LENS, max_theta_deg=50.0)
    grower = opened(context, tmp_path / "w", height_px=180)
    grower.add(frame(0, np.full((*SHAPE, 3), 200, np.uint8), narrow))
    grower.finish(complete=False)
    column = np.load(context.folder / "keogram.npz")["columns"][0]
    assert (column[:30] == 0).all()
    assert (column[60:120] == 200).all()


def test_without_a_lens_it_is_the_vertical_through_the_circle_and_says_so(
    context: NightContext, tmp_path: Path
) -> None:
    y, x = np.mgrid[0:400, 0:600]
    inside = np.hypot(x - 240, y - 190) < 160
    picture = np.where(inside[..., None], [120, 90, 60], 3).astype(np.uint8)
    picture[:, 238:243] = np.where(inside[:, 238:243, None], [250, 10, 10], 3)
    grower = opened(context, tmp_path / "w")
    grower.add(frame(0, picture, None))
    grower.add(frame(1, picture, None))
    (draft,) = grower.finish(complete=True)
    assert draft.parameters["line"].startswith("no lens: the picture's vertical")
    data = np.load(context.folder / "keogram.npz")
    assert (data["columns"][0][20:-20, 0] > 200).all()
    assert np.isnan(data["altitude_deg"]).all()


def test_a_night_that_began_with_a_lens_leaves_out_what_has_none(
    context: NightContext, tmp_path: Path
) -> None:
    picture = directions_as_colours(LENS)
    grower = opened(context, tmp_path / "w")
    assert grower.add(frame(0, picture, LENS)) is None
    assert grower.add(frame(1, picture, None)) == "no lens fits its picture"
    turned = replace(LENS, rotation_deg=120.0)  # the picture was turned: same sky, other pixels
    assert grower.add(frame(2, directions_as_colours(turned), turned)) is None
    grower.finish(complete=True)
    columns = np.load(context.folder / "keogram.npz")["columns"].astype(int)
    assert len(columns) == 2
    difference = np.abs(columns[0] - columns[1])[:, 0]
    assert np.percentile(difference, 99) <= 2


def test_going_on_after_a_crash_gives_the_same_in_any_order(
    context: NightContext, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    frames = [frame(k, rng.integers(0, 255, (*SHAPE, 3), np.uint8), LENS) for k in range(6)]
    whole = opened(context, tmp_path / "a")
    for f in frames:
        whole.add(f)
    whole.finish(complete=True)
    expected = (context.folder / "keogram.npz").read_bytes()
    picture = (context.folder / "keogram.png").read_bytes()
    first = opened(context, tmp_path / "b")
    for k in (0, 1, 4):
        first.add(frames[k])
    saved = tmp_path / "saved"
    saved.mkdir()
    first.save(saved)
    first.add(frames[5])  # lost with the crash
    second = opened(context, tmp_path / "b", saved)
    for k in (5, 3, 2):
        second.add(frames[k])
    second.finish(complete=True)
    assert (context.folder / "keogram.npz").read_bytes() == expected
    assert (context.folder / "keogram.png").read_bytes() == picture


def test_nothing_in_it_is_no_product(context: NightContext, tmp_path: Path) -> None:
    assert list(opened(context, tmp_path / "w").finish(complete=True)) == []


def test_pauses_are_gaps_and_frames_stand_at_their_time() -> None:
    times = np.array([0.0, 10, 20, 30, 130, 140, 150])
    at = frame_at(times, np.full(7, 8.0), np.array([-30.0, -4, 14.9, 15.1, 34, 40, 80, 124, 126]))
    assert at.tolist() == [-1, 0, 1, 2, 3, -1, -1, -1, 4]


def test_a_slower_rhythm_is_no_gap() -> None:
    times = np.concatenate([np.arange(20) * 10.0, 190 + 60.0 * np.arange(1, 20)])
    at = frame_at(times, np.full(len(times), 5.0), np.arange(0, times[-1], 5.0))
    assert (at >= 0).all()


def test_crowded_frames_are_averaged() -> None:
    columns = np.zeros((10, 4, 3), np.uint8)
    columns[::2] = 100
    picture, gap = even_columns(columns, np.arange(10.0), np.ones(10), np.linspace(0.0, 9.0, 3))
    assert not gap.any()
    assert picture[0, :, 0].tolist() == [67, 50, 33]  # frames 0-2, 3-6, 7-9


def test_directions_have_names() -> None:
    assert [compass(a) for a in (0.0, 180.0, 405.0, -90.0, 200.0)] == ["N", "S", "NE", "W", "200°"]
