"""Clouds by star and colour under the Moon, and how bright the Moon makes the air."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from allsky360.sky.cloud_moonlight import clouds_by_moonlight, moon_share
from allsky360.sky.clouds import nothing_known, summed
from allsky360.sky.ephemeris import SunMoon, sun_moon
from allsky360.sky.lens import LensModel
from allsky360.sky.moonlight import moonlit_mag
from allsky360.sky.sky_cells import sky_cells
from benchmarks.clouds import DUSK, FULL_MOON, cloudy_night, overcast_verdicts
from benchmarks.sky_frames import LA_PALMA

LENS = LensModel(540, 540, 269.5, 269.5, 172.0, "equidistant")
WHITE = (1.0, 1.0)


@pytest.fixture(scope="module")
def lights() -> SunMoon:
    when = datetime(2026, 11, 24, 23, tzinfo=UTC)
    return replace(
        sun_moon(LA_PALMA, when), moon_altitude_deg=40.0, moon_azimuth_deg=180.0,
        moon_illumination=0.97, sun_altitude_deg=-40.0,
    )  # fmt: skip


def sky(blueness: np.ndarray | float) -> np.ndarray:
    """Return an even frame of a log2 of blue over red."""
    frame = np.ones((540, 540, 3), np.float32) * np.float32(0.01)
    frame[..., 2] *= (2.0 ** np.broadcast_to(blueness, (540, 540))).astype(np.float32)
    return frame


def test_full_moon_makes_the_published_sky(lights: SunMoon) -> None:
    zenith = np.array([90.0])
    full = replace(lights, moon_altitude_deg=60.0, moon_illumination=1.0)
    # Krisciunas & Schaefer's own table: about 3.5 magnitudes brighter than a dark 21.6 zenith.
    assert 17.5 < moonlit_mag(full, zenith, np.zeros(1))[0] < 18.7
    half = replace(full, moon_illumination=0.5)
    assert (moonlit_mag(half, zenith, np.zeros(1)) - moonlit_mag(full, zenith, 0 * zenith))[0] > 2.0
    down = replace(full, moon_altitude_deg=-1.0)
    assert np.isinf(moonlit_mag(down, zenith, np.zeros(1))).all()
    assert moon_share(down, 21.0, zenith, np.zeros(1))[0] == 0.0
    assert moon_share(full, 21.0, zenith, np.zeros(1))[0] > 0.85


def test_blue_is_clear_and_white_is_cloud(lights: SunMoon) -> None:
    x = np.arange(540.0)
    frame = sky(np.where(x < 270, 0.75, 0.0)[None, :])
    found = clouds_by_moonlight(
        nothing_known(), frame, LENS, lights, white_balance=WHITE, calibrated=True
    )
    assert found.method == "stars and colour"
    assert found.unknown < 0.15
    # East is left: azimuth 90 lies on the blue side.
    assert found.state_at(50.0, 90.0) == 0
    assert found.state_at(50.0, 270.0) == 1
    assert found.state_at(40.0, 180.0) == -1  # the Moon's own glare
    assert found.cloud_fraction == pytest.approx(0.5, abs=0.07)


def test_stars_correct_a_wrong_white_balance(lights: SunMoon) -> None:
    cells = sky_cells()
    frame = sky(np.where(np.arange(540.0) < 270, 0.45, -0.3)[None, :])
    east = np.sin(np.radians(cells.azimuth_deg)) > 0.2
    west = np.sin(np.radians(cells.azimuth_deg)) < -0.2
    told = np.abs(cells.altitude_deg - 60) < 8
    chance = np.where(east, 0.02, np.where(west, 0.98, 0.5))
    nan = np.full(len(cells), np.nan)
    stars = summed(cells, "stars", "frame", nan, nan, chance, told & (east | west), 0.0)
    stars = replace(stars, raw_chance=np.where(told, chance, 0.5))
    found = clouds_by_moonlight(stars, frame, LENS, lights, white_balance=WHITE, calibrated=False)
    assert found.unknown < 0.2
    assert (found.state[east & (found.state >= 0)] == 0).all()
    assert (found.state[west & (found.state >= 0)] == 1).all()
    assert found.reference == "frame"  # colours that nobody calibrated are no reference
    again = clouds_by_moonlight(stars, frame, LENS, lights, white_balance=WHITE, calibrated=True)
    assert again.reference == "colour"


def test_colour_is_not_asked_where_the_moon_does_not_light(lights: SunMoon) -> None:
    stars = nothing_known()
    for other in (
        replace(lights, moon_altitude_deg=-3.0),
        replace(lights, moon_illumination=0.05),
        replace(lights, sun_altitude_deg=-5.0),
    ):
        same = clouds_by_moonlight(
            stars, sky(0.0), LENS, other, white_balance=WHITE, calibrated=True
        )
        assert same.unknown == pytest.approx(1.0)
    bright_town = clouds_by_moonlight(
        stars, sky(0.0), LENS, lights, dark_mag=16.0, white_balance=WHITE, calibrated=True
    )
    assert bright_town.unknown > 0.8
    mono = sky(0.0)[..., :1]
    assert (
        clouds_by_moonlight(stars, mono, LENS, lights, white_balance=WHITE, calibrated=True)
        is stars
    )


def test_a_moonlit_night_is_told_and_overcast_is_never_safe() -> None:
    night = cloudy_night(13, 0.4, 1, DUSK + FULL_MOON)
    assert night.decided.f1 > 0.9
    assert night.unknown[0] < 0.35
    assert set(overcast_verdicts(15, 1, remembered=True, start=DUSK + FULL_MOON)) == {"unsafe"}
