"""Star trails: maxima, means, comets against plain NumPy; gates; going on after a crash."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allsky360.archive.layout import FrameRef
from allsky360.config import Settings
from allsky360.config_products import StarTrailSettings
from allsky360.products.frame import ProductFrame
from allsky360.products.grower import NightContext
from allsky360.products.light import Comet, MaxAndSum, codes_of_light, light_of_codes
from allsky360.products.startrails import CometTrails, StarTrails
from tests.products.nights import CAMERA, EVENING, NIGHT, SITE

DARK = {"sun_altitude_deg": -40.0, "moon_altitude_deg": -20.0, "moon_illumination": 0.9}


def frame(index: int, picture: Any, **scalars: float) -> ProductFrame:
    start = EVENING + timedelta(seconds=20 * index)
    return ProductFrame(
        FrameRef(CAMERA, NIGHT, index), start, start, 8.0, picture, DARK | scalars, site=SITE
    )


@pytest.fixture
def context(tmp_path: Path) -> NightContext:
    folder = tmp_path / "products"
    folder.mkdir()
    return NightContext(tmp_path, CAMERA, NIGHT, "v0001", SITE, Settings(), folder)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 90), st.integers(1, 9), st.integers(0, 2**31))
def test_max_and_mean_are_exact(count: int, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (count, height, width, 3), np.uint8)
    light = MaxAndSum(pictures.shape[1:])
    light.LIMIT = 5  # the change to 32 bits, often
    for picture in pictures:
        light.add(picture)
        if picture[0, 0, 0] < 60:
            light.settle()
    light.settle()
    assert (light.greatest == pictures.max(axis=0)).all()
    total = pictures.astype(np.int64).sum(axis=0)
    assert (light.mean() == (total + count // 2) // count).all()


def test_sums_do_not_run_over() -> None:
    light = MaxAndSum((2, 2, 3))
    white = np.full((2, 2, 3), 255, np.uint8)
    for _ in range(600):
        light.add(white)
    assert (light.mean() == 255).all()


def test_comets_fade_by_their_share() -> None:
    comet = Comet((1, 3, 3), 0.1)
    comet.add(np.array([[[200] * 3, [5] * 3, [0] * 3]], np.uint8))
    for _ in range(5):
        comet.add(np.zeros((1, 3, 3), np.uint8))
    assert comet.picture()[0, :, 0].tolist() == [118, 2, 0]  # 200 x 0.9^5 = 118.1; 5: 2.95
    for _ in range(60):
        comet.add(np.zeros((1, 3, 3), np.uint8))
    assert comet.picture().max() == 0  # nothing sticks for ever


def test_light_and_codes_are_inverse() -> None:
    assert (codes_of_light(light_of_codes()) == np.arange(256)).all()


def test_gates(context: NightContext, tmp_path: Path) -> None:
    picture = np.full((40, 40, 3), 60, np.uint8)
    trails = StarTrails(StarTrailSettings(moon_below_deg=0.0))
    trails.open(context, tmp_path, None)
    assert trails.add(frame(0, picture, sun_altitude_deg=-11.0)) == "the Sun is too high"
    assert trails.add(frame(1, picture, moon_altitude_deg=3.0)) == "the Moon is up"
    assert trails.add(frame(2, picture, moon_altitude_deg=3.0, moon_illumination=0.1)) is None
    assert trails.add(frame(3, picture, cloud_fraction=0.8)) == "too many clouds"
    assert trails.add(frame(4, picture + np.uint8(120))) == "the picture is too bright"
    assert trails.add(frame(5, picture[:20])) == "its picture has another size"
    unmeasured = replace(frame(6, picture), scalars={})
    assert trails.add(unmeasured) == "the Moon is up"  # two days before full, on La Palma
    newmoon = replace(unmeasured, middle=EVENING - timedelta(days=13))
    assert trails.add(newmoon) is None
    noon = replace(unmeasured, middle=EVENING - timedelta(hours=7))
    assert trails.add(noon) == "the Sun is too high"


@pytest.mark.parametrize("kind", [StarTrails, CometTrails])
def test_going_on_after_a_crash_gives_the_same(
    context: NightContext, tmp_path: Path, kind: Any
) -> None:
    rng = np.random.default_rng(5)
    frames = [frame(k, rng.integers(0, 120, (70, 30, 3), np.uint8)) for k in range(7)]
    made = StarTrailSettings(fade=0.05)
    whole = kind(made)
    whole.open(context, tmp_path, None)
    for f in frames:
        assert whole.add(f) is None
    drafts = whole.finish(complete=True)
    names = [file.path for draft in drafts for file in draft.files]
    expected = [(context.folder / name).read_bytes() for name in names]
    first = kind(made)
    first.open(context, tmp_path, None)
    for f in frames[:3]:
        first.add(f)
    saved = tmp_path / "saved"
    saved.mkdir()
    first.save(saved)
    first.add(frames[6])  # lost
    second = kind(made)
    second.open(context, tmp_path, saved)
    for f in frames[3:]:
        second.add(f)
    second.finish(complete=True)
    assert [(context.folder / name).read_bytes() for name in names] == expected
    shown = cv2.imread(str(context.folder / names[0]))
    assert shown.shape == (70, 30, 3)
    empty = tmp_path / "empty"
    empty.mkdir()
    blank = kind(made)
    blank.open(context, tmp_path, None)
    blank.save(empty)
    again = kind(made)
    again.open(context, tmp_path, empty)
    assert list(again.finish(complete=True)) == []
