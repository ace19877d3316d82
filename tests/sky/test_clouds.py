"""Clouds against the simulator's cloud map, by night and day; what cannot be told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from allsky360.simulator.sky import SkySource
from allsky360.sky.cloud_texture import clouds_from_texture
from allsky360.sky.clouds import CellState, clouds_from_stars, nothing_known
from allsky360.sky.ephemeris import sun_moon
from allsky360.sky.sky_cells import sky_cells
from benchmarks.clouds import (
    clear_memory,
    cloudy_day,
    cloudy_night,
    overcast_verdicts,
    photometry_of,
)
from benchmarks.sky_frames import LA_PALMA, take

NIGHT = datetime(2026, 11, 11, 1, tzinfo=UTC)


def test_cells_cover_the_sky_once() -> None:
    cells = sky_cells(7.5, 10.0)
    whole = 2 * np.pi * (1 - np.sin(np.radians(10.0)))
    assert cells.solid_angle_sr.sum() == pytest.approx(whole)
    index = cells.index_of(cells.altitude_deg, cells.azimuth_deg)
    np.testing.assert_array_equal(index, np.arange(len(cells)))
    assert cells.index_of([90.0, 9.9, np.nan, 45.0], [400.0, 0.0, 0.0, -1e-13]).tolist()[1:3] == [
        -1,
        -1,
    ]
    with pytest.raises(ValueError, match="no cells"):
        sky_cells(0.1, 10.0)


def test_drifting_clouds_are_found() -> None:
    night = cloudy_night(11, 0.5, 1)
    assert night.decided.f1 > 0.88
    assert night.pure.f1 > 0.95
    assert max(night.unknown) < 0.25
    assert np.abs(night.fraction_error).max() < 0.08


def test_clouds_by_day_are_found_by_colour() -> None:
    day = cloudy_day(11, 0.4, 1)
    assert len(day.unknown) == 1
    assert day.pure.f1 > 0.9
    assert np.abs(day.fraction_error).max() < 0.12


def test_full_cloud_is_never_safe() -> None:
    assert set(overcast_verdicts(11, 1, remembered=True)) == {"unsafe"}
    assert set(overcast_verdicts(11, 1, remembered=False)) == {"unknown"}


def test_a_clear_night_is_clear_and_moon_and_day_are_not_told() -> None:
    prior, vignetting = clear_memory(11, NIGHT)
    source = SkySource(LA_PALMA, cloud_cover=0.0, seed=11)
    frame = take(source, NIGHT)
    p = photometry_of(source, frame, prior, vignetting)
    lights = sun_moon(source.site, frame.middle, refracted=True)
    clouds = clouds_from_stars(p, lights=lights, remembered=True)
    assert (clouds.method, clouds.reference) == ("stars", "remembered")
    assert clouds.clear > 0.95
    assert clouds.cloud_fraction < 0.03
    assert clouds.clear + clouds.cloudy + clouds.unknown == pytest.approx(1.0)
    assert clouds.state_at(60.0, 100.0) is CellState.CLEAR
    assert clouds.state_at(5.0, 100.0) is CellState.UNKNOWN
    assert abs(np.nanmedian(clouds.transparency) - 1.0) < 0.04
    moon = replace(lights, moon_altitude_deg=60.0, moon_azimuth_deg=100.0)
    assert clouds_from_stars(p, lights=moon).state_at(60.0, 100.0) is CellState.UNKNOWN
    day = clouds_from_stars(p, lights=replace(lights, sun_altitude_deg=-2.0))
    assert (day.method, day.unknown) == ("none", pytest.approx(1.0))
    dim = clouds_from_stars(replace(p, expected_flux=p.expected_flux * 3.0), remembered=True)
    assert dim.cloudy > 0.9


def test_texture_says_what_it_cannot_do() -> None:
    lens = SkySource(LA_PALMA).lens
    lights = sun_moon(LA_PALMA, NIGHT)
    even = np.full((lens.height, lens.width, 3), 0.01, np.float32)
    assert clouds_from_texture(even, lens, lights).method == "none"  # dark night
    assert nothing_known().unknown == pytest.approx(1.0)
    assert np.isnan(nothing_known().cloud_fraction)
    moon = replace(lights, moon_altitude_deg=40.0, moon_azimuth_deg=180.0, moon_illumination=0.9)
    assert clouds_from_texture(even, lens, moon).method == "none"  # clear or wholly overcast
    rough = (
        even
        * np.exp(np.random.default_rng(1).normal(0, 0.5, (lens.height // 8, lens.width // 8)))
        .astype(np.float32)
        .repeat(8, 0)
        .repeat(8, 1)[..., None]
    )
    found = clouds_from_texture(rough, lens, moon)
    assert found.method == "texture"
    assert found.cloudy > 0.5
    assert found.clear == 0.0
    grey_day = replace(lights, sun_altitude_deg=40.0, sun_azimuth_deg=180.0)
    white = even * np.array([1 / 1.35, 1.0, 1 / 1.65], np.float32)
    overcast = clouds_from_texture(white, lens, grey_day)
    assert overcast.cloudy > 0.8
    blue = clouds_from_texture(white * np.array([0.4, 0.7, 1.0], np.float32), lens, grey_day)
    assert blue.clear > 0.8
    clipped = np.full(even.shape[:2], 255, np.uint8)
    assert clouds_from_texture(white, lens, grey_day, clipped=clipped).method == "none"
    mask = np.zeros(even.shape[:2], bool)
    assert clouds_from_texture(white, lens, grey_day, mask=mask).method == "none"
