from __future__ import annotations

import numpy as np
import pytest

from allsky360.model import BAYER_PATTERNS
from allsky360.simulator.photometry import (
    COLOUR_BANDS,
    airmass,
    bands_of,
    cfa_of,
    flux,
    mag_arcsec2,
    radiance,
)


def test_five_magnitudes_are_a_factor_of_a_hundred() -> None:
    assert flux(5.0) == pytest.approx(0.01)
    assert mag_arcsec2(radiance(21.37)) == pytest.approx(21.37)
    # The whole sky has 41 253 square degrees.
    assert radiance(0.0) * 4 * np.pi == pytest.approx(41252.96 * 3600**2, rel=1e-6)


@pytest.mark.parametrize(
    ("altitude", "x"), [(90, 1.0), (60, 1.154), (30, 1.994), (10, 5.59), (0, 37.9)]
)
def test_airmass_of_the_published_table(altitude: float, x: float) -> None:
    assert airmass(altitude) == pytest.approx(x, rel=4e-3)


def test_red_stars_are_red() -> None:
    red, green, blue = (b.colour_factor(1.5) / b.colour_factor(0.0) for b in COLOUR_BANDS)
    assert red > 1.0 > green > blue


@pytest.mark.parametrize("pattern", BAYER_PATTERNS)
def test_mosaic_cells_spell_their_pattern(pattern: str) -> None:
    names = "".join(COLOUR_BANDS[k].name for k in cfa_of(pattern).ravel())
    assert names == pattern


def test_mono_has_one_band() -> None:
    assert len(bands_of(None)) == 1
    assert not cfa_of(None).any()
