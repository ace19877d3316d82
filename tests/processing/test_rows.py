"""Rows of the sky's cells, from maps whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from allsky360.processing.rows import _brightness
from allsky360.sky.brightness import SkyBrightness
from allsky360.sky.sky_cells import sky_cells

CELLS = sky_cells(7.5, 10.0)
NAN = float("nan")


def brightness(altitude: list[float], azimuth: list[float], mag: list[float]) -> SkyBrightness:
    up, round_, light = (np.array([values]) for values in (altitude, azimuth, mag))
    return SkyBrightness(16, up, round_, light, np.full_like(light, 0.1), NAN, NAN, NAN, NAN, 0)


def test_a_cell_gets_the_median_of_its_blocks() -> None:
    up, round_ = float(CELLS.altitude_deg[40]), float(CELLS.azimuth_deg[40])
    row = _brightness(brightness([up, up, up, 2.0], [round_] * 4, [20.0, 21.5, 21.0, 10.0]), CELLS)[
        "cell_brightness_mag_arcsec2"
    ]
    assert row.values[40] == pytest.approx(21.0)
    assert np.isnan(np.delete(row.values, 40)).all()  # below the cells is nobody's light


def test_an_overcast_sky_of_which_no_block_was_measured_gives_no_brightness() -> None:
    row = _brightness(brightness([45.0, 80.0], [10.0, 200.0], [NAN, NAN]), CELLS)
    assert np.isnan(row["cell_brightness_mag_arcsec2"].values).all()
