"""The deep stack against the stars' true places; aircraft left out; going on after a crash."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from allsky360.archive.layout import FrameRef
from allsky360.config import Settings
from allsky360.config_products import StackSettings
from allsky360.products.clipped_mean import ClippedMean
from allsky360.products.derotate import Derotation
from allsky360.products.frame import ProductFrame
from allsky360.products.grower import NightContext
from allsky360.products.light import light_of_codes
from allsky360.products.stack import Stack, developed, reference_of
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.lens import fisheye
from tests.products.nights import CAMERA, EVENING, NIGHT, SITE
from tests.products.sky_pictures import centroid, paint_sky, stars_at

LENS = fisheye(560, 540, rotation_deg=21.0, tilt_north_deg=2.0, tilt_east_deg=1.0)
DARK = {"sun_altitude_deg": -40.0, "moon_altitude_deg": -20.0, "moon_illumination": 0.2}


def frame(index: int, minutes: float, *, aircraft: bool = False) -> ProductFrame:
    middle = EVENING + timedelta(minutes=minutes)
    picture = paint_sky(LENS, SITE, middle, seed=index, max_v=4.5)
    if aircraft:
        picture = picture.copy()
        picture[250:253, 60:500] = 255
    return ProductFrame(
        FrameRef(CAMERA, NIGHT, index), middle, middle, 8.0, picture, DARK, SITE, LENS, 1, LENS
    )


@pytest.fixture
def context(tmp_path: Path) -> NightContext:
    folder = tmp_path / "products"
    folder.mkdir()
    return NightContext(tmp_path, CAMERA, NIGHT, "v0001", SITE, Settings(), folder)


def stack(context: NightContext, saved: Path | None = None, **settings: object) -> Stack:
    grower = Stack(StackSettings(**settings))  # type: ignore[arg-type]
    grower.open(context, context.folder, saved)
    return grower


def test_the_map_follows_the_stars_to_a_tenth_of_a_pixel_of_a_small_picture() -> None:
    reference = EVENING + timedelta(hours=3)
    x, y = Derotation(LENS, SITE, reference).map_to(EVENING)
    catalogue = load_catalogue(5.0)
    places = []
    for when in (reference, EVENING):
        altitude, azimuth = apparent_altaz(catalogue, SITE, when)
        px, py, visible = LENS.project(altitude, azimuth)
        places.append((px, py, visible & (altitude > 5)))
    (rx, ry, seen), (fx, fy, also) = places
    both = seen & also
    assert both.sum() > 100
    k, m = np.round(rx[both]).astype(int), np.round(ry[both]).astype(int)
    # the map at a whole pixel, moved on by the rest of the way
    inner = (k > 0) & (m > 0) & (k < LENS.width - 1) & (m < LENS.height - 1)
    k, m, dx, dy = k[inner], m[inner], rx[both][inner], ry[both][inner]
    dx, dy = dx - k, dy - m
    for got, true in ((x, fx), (y, fy)):
        along = (got[m, k + 1] - got[m, k - 1]) / 2
        down = (got[m + 1, k] - got[m - 1, k]) / 2
        error = got[m, k] + along * dx + down * dy - true[both][inner]
        assert np.abs(error[np.abs(error) < 1000]).max() < 0.1
        assert np.median(np.abs(error)) < 0.03
        assert (np.abs(error) < 1000).mean() > 0.97


def test_stars_of_the_stack_are_where_and_as_wide_as_they_should_be(context: NightContext) -> None:
    grower = stack(context)
    frames = [frame(k, 12.0 * k - 60.0, aircraft=k == 4) for k in range(11)]
    grower.reference = EVENING
    for f in frames:
        assert grower.add(f) is None
    assert grower.mean is not None
    light = grower.mean.mean[..., 1]
    single = light_of_codes()[frames[5].picture[..., 1]]  # the frame taken at the reference
    truth = stars_at(LENS, SITE, EVENING, 3.2)
    gap = np.hypot(truth.x[:, None] - truth.x, truth.y[:, None] - truth.y)
    np.fill_diagonal(gap, 99)
    rings = {20: 0, 45: 0, 70: 0}
    widths = []
    for k in np.flatnonzero((gap.min(axis=1) > 12) & (truth.v_mag > 1.9)):
        ring = min(rings, key=lambda r: abs(r - truth.altitude_deg[k]))
        if abs(ring - truth.altitude_deg[k]) > 12.5:
            continue
        x, y, width = centroid(light, truth.x[k], truth.y[k])
        _, _, before = centroid(single, truth.x[k], truth.y[k])
        assert np.hypot(x - truth.x[k], y - truth.y[k]) < 0.5, truth.altitude_deg[k]
        rings[ring] += 1
        widths.append(width / before)
    assert min(rings.values()) >= 3, rings
    assert np.median(widths) <= 1.15
    # the aircraft is gone from the sky; noise falls with the number of frames
    x, y = Derotation(LENS, SITE, EVENING, 15.0).map_to(frames[4].middle)
    path = (np.abs(y - 251) < 1) & (np.abs(x - 280) < 200)
    assert path.sum() > 500
    assert np.median(light[path]) == pytest.approx(0.02, abs=0.004)
    assert np.percentile(light[path], 95) < 0.05
    assert np.median(grower.mean.left[path]) == 1
    around = light[300:340, 250:290], single[300:340, 250:290]
    quiet, loud = (float(np.median(np.abs(a - np.median(a)))) for a in around)
    assert quiet < 0.5 * loud


def test_going_on_after_a_crash_gives_the_same(context: NightContext, tmp_path: Path) -> None:
    frames = [frame(k, 5.0 * k) for k in range(4)]
    whole = stack(context)
    for f in frames:
        whole.add(f)
    (draft,) = whole.finish(complete=True)
    expected = {f.path: (context.folder / f.path).read_bytes() for f in draft.files}
    assert set(expected) == {"stack.jpg", "stack-preview.jpg", "stack-linear.png"}
    first = stack(context)
    for f in frames[:2]:
        first.add(f)
    saved = tmp_path / "saved"
    saved.mkdir()
    first.save(saved)
    first.add(frames[3])
    second = stack(context, saved)
    for f in frames[2:]:
        second.add(f)
    (again,) = second.finish(complete=True)
    assert again.parameters == draft.parameters
    for name, content in expected.items():
        assert (context.folder / name).read_bytes() == content


def test_what_cannot_be_stacked_says_why(context: NightContext) -> None:
    from dataclasses import replace

    good = frame(0, 0.0)
    s = stack(context, moon_below_deg=0.0)
    assert s.add(replace(good, lens=None)) == "there is no lens for its picture"
    assert s.add(replace(good, site=None)) == "the site is not known"
    assert s.add(replace(good, scalars=DARK | {"cloud_fraction": 0.9})) == "too many clouds"
    assert s.mean is None
    assert list(s.finish(complete=True)) == []
    other = stack(context, source="linear")
    assert other.add(good) == "it has no linear frame"
    half = np.full((270, 280, 3), 0.5, np.float32)
    assert other.add(replace(good, linear=lambda: half)) is None
    assert other.lens is not None
    assert other.lens.width == 280
    far = replace(good, middle=good.middle + timedelta(hours=9), linear=lambda: half)
    assert stack(context, hours=4.0).add(far) is None  # it is the reference
    near = stack(context, hours=1.0)
    near.reference = good.middle
    assert near.add(far) == "it is too far from the reference"


def test_what_few_frames_show_fades_out_without_an_edge() -> None:
    light = np.full((160, 1600, 3), 0.02, np.float32)
    light += np.random.default_rng(1).normal(0, 1e-3, light.shape).astype(np.float32)
    count = np.broadcast_to(np.arange(160, dtype=np.uint16)[:, None, None], light.shape).copy()
    picture, _, _ = developed(light, count)
    rows = picture.mean(axis=(1, 2))
    assert rows[:6].max() == 0
    assert np.abs(np.diff(rows)).max() < 4
    assert rows[40:].min() > 0.8 * rows.max()
    one, _, _ = developed(light, np.ones_like(count))  # of one frame nothing fades
    assert one.mean(axis=(1, 2)).min() > 0.8 * one.mean(axis=(1, 2)).max()


def test_the_reference_is_the_middle_of_the_darkness() -> None:
    at = reference_of(frame(0, 0.0))
    assert abs(at - datetime.fromisoformat("2026-11-23T00:58:00+00:00")) < timedelta(minutes=4)
    late = frame(0, 600.0)
    assert reference_of(late) == late.middle


def test_the_first_value_may_be_the_aircraft() -> None:
    mean = ClippedMean((1, 4, 3), 3.0)
    mean.noise = 0.01
    values = [0.9, 0.2, 0.21, 0.19, 0.2, 0.2]  # the second falls to the vote
    for v in values:
        mean.add(np.full((1, 4, 3), v, np.float32))
    assert mean.mean[0, 0, 0] == pytest.approx(0.2, abs=0.003)
    assert mean.left[0, 0, 0] == 1
    mean.add(np.full((1, 4, 3), np.nan, np.float32))
    assert mean.count[0, 0, 0] == 4


def test_the_first_value_may_be_a_dip_of_noise() -> None:
    mean = ClippedMean((1, 4, 3), 3.0)
    mean.noise = 0.001
    for v in [0.002, 0.02, 0.0201, 0.0199, 0.02, 0.0202]:
        mean.add(np.full((1, 4, 3), v, np.float32))
    assert mean.mean[0, 0, 0] == pytest.approx(0.02, abs=0.0003)


def test_a_sky_that_changed_is_believed_in_the_end() -> None:
    mean = ClippedMean((1, 1, 3), 3.0)
    mean.noise = 0.01
    rng = np.random.default_rng(1)
    for level in [0.2] * 20 + [0.4] * 400:
        mean.add(np.full((1, 1, 3), level + 0.005 * rng.standard_normal(), np.float32))
    assert mean.mean[0, 0, 0] > 0.3
